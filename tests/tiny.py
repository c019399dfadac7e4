"""A very small nano model that tests share."""

from simpleseg_core.config import ModelConfig, NanoConfig

TINY = ModelConfig(
    nano=NanoConfig(
        hidden_size=64, layers=2, heads=2, kv_heads=1, intermediate_size=96, vision_hidden_size=64, vision_layers=1, vision_heads=2
    )
)
"""A quarter of a million parameters: enough to memorise a handful of answers."""
