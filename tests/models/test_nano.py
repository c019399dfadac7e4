"""The nano model is an ordinary Hugging Face checkpoint."""

from pathlib import Path

import torch
from PIL import Image

from simpleseg_core.models.chat import chat_prompt
from simpleseg_core.models.loading import load_model, load_processor
from simpleseg_core.models.nano import build_nano
from tests.tiny import TINY


def test_a_saved_model_answers_as_before(tiny_checkpoint: Path) -> None:
    built, _ = build_nano(TINY, seed=0)
    loaded, processor = load_model(tiny_checkpoint, TINY), load_processor(tiny_checkpoint, TINY)
    inputs = processor(
        text=[chat_prompt(processor, "outline of red circle")],
        images=[Image.new("RGB", (96, 96), "red")],
        return_tensors="pt",
    )
    with torch.inference_mode():
        torch.testing.assert_close(loaded.eval()(**inputs).logits, built.eval()(**inputs).logits)


def test_the_seed_decides_the_weights() -> None:
    first, second, other = (build_nano(TINY, seed=seed)[0].lm_head.weight for seed in (0, 0, 1))
    assert torch.equal(first, second) and not torch.equal(first, other)


def test_the_default_nano_model_has_a_few_million_parameters() -> None:
    model, _ = build_nano(TINY.model_copy(update={"nano": type(TINY.nano)()}), seed=0)
    assert 2e6 <= sum(parameter.numel() for parameter in model.parameters()) <= 8e6


def test_the_processor_scales_every_image_to_the_configured_area(tiny_checkpoint: Path) -> None:
    processor = load_processor(tiny_checkpoint, TINY)
    for size in ((32, 32), (640, 480), (96, 96)):
        grid = processor.image_processor([Image.new("RGB", size)], return_tensors="pt")["image_grid_thw"][0]
        assert TINY.max_pixels * 0.6 <= int(grid[1] * grid[2]) * TINY.nano.patch_size**2 <= TINY.max_pixels


def test_a_conversation_opens_with_the_image(tiny_checkpoint: Path) -> None:
    processor = load_processor(tiny_checkpoint, TINY)
    assert chat_prompt(processor, "q") == (
        "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>q<|im_end|>\n<|im_start|>assistant\n"
    )
