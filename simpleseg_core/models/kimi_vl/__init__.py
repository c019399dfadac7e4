"""Kimi-VL on transformers' parts: a MoonViT tower, a projector, and the DeepSeek-V3 decoder.

Modules and weights are named as in the published checkpoints (moonshotai/Kimi-VL-A3B), whose own code is not needed.
The report: arXiv 2504.07491.
"""
