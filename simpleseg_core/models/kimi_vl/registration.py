"""Kimi-VL among the models that transformers' Auto classes know."""

from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageTextToText, AutoProcessor, AutoTokenizer

from simpleseg_core.models.kimi_vl.configuration import KimiVLConfig
from simpleseg_core.models.kimi_vl.modeling import KimiVLForConditionalGeneration
from simpleseg_core.models.kimi_vl.processing import KimiVLImageProcessor, KimiVLProcessor
from simpleseg_core.models.kimi_vl.tokenizer import TikTokenTokenizer


def register() -> None:
    """Make it known; again where vLLM has put its own configuration in the place of ours."""
    AutoConfig.register("kimi_vl", KimiVLConfig, exist_ok=True)
    AutoModelForImageTextToText.register(KimiVLConfig, KimiVLForConditionalGeneration, exist_ok=True)
    AutoProcessor.register(KimiVLConfig, KimiVLProcessor, exist_ok=True)
    AutoImageProcessor.register(
        KimiVLConfig,
        image_processor_classes={"pil": KimiVLImageProcessor, "torchvision": KimiVLImageProcessor},
        exist_ok=True,
    )
    AutoTokenizer.register(KimiVLConfig, TikTokenTokenizer, exist_ok=True)
