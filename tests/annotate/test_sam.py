"""SAM engines: the masks of the libraries called by hand, box by box, whatever the batch."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from segment_anything import SamPredictor

from simpleseg_core.annotate import Segmenter
from simpleseg_core.annotate.sam import SegmentAnything, TransformersSam
from simpleseg_core.config import SegmentConfig
from tests.annotate import tiny_models

Box = tuple[float, float, float, float]
BOXES: list[Box] = [(0.1, 0.1, 0.5, 0.6), (0.3, 0.2, 0.9, 0.9), (0.0, 0.0, 1.0, 1.0)]
PIXELS = np.array(BOXES) * [60, 40, 60, 40]


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)


def _original(batch_size: int) -> Segmenter:
    config = SegmentConfig(engine="segment_anything", batch_size=batch_size, device="cpu")
    return SegmentAnything(tiny_models.segment_anything(), config)


def _sam(batch_size: int) -> Segmenter:
    return TransformersSam(*tiny_models.sam(), SegmentConfig(engine="sam", batch_size=batch_size, device="cpu"))


def _sam2(batch_size: int) -> Segmenter:
    return TransformersSam(*tiny_models.sam2(), SegmentConfig(engine="sam2", batch_size=batch_size, device="cpu"))


def test_the_original_gives_what_its_predictor_gives(image: np.ndarray) -> None:
    predictor = SamPredictor(tiny_models.segment_anything())
    predictor.set_image(image)
    for box, segment in zip(PIXELS, _original(2).segment(image, BOXES), strict=True):
        masks, scores, _ = predictor.predict(box=box)
        np.testing.assert_array_equal(segment.mask, masks[scores.argmax()])
        assert segment.predicted_iou == pytest.approx(float(np.clip(scores.max(), 0, 1)), abs=1e-5)


@pytest.mark.parametrize("parts", [tiny_models.sam, tiny_models.sam2])
def test_transformers_gives_what_its_model_gives(image: np.ndarray, parts: Callable) -> None:  # type: ignore[type-arg]
    model, processor = parts()
    for box, segment in zip(
        PIXELS, TransformersSam(model, processor, SegmentConfig()).segment(image, BOXES), strict=True
    ):
        inputs = processor(images=image, input_boxes=[[box.tolist()]], return_tensors="pt")
        with torch.no_grad():
            outputs = model(pixel_values=inputs["pixel_values"], input_boxes=inputs["input_boxes"].float())
        sizes = [inputs[key] for key in ("original_sizes", "reshaped_input_sizes") if key in inputs]
        masks = processor.post_process_masks(outputs.pred_masks, *sizes)[0][0]
        np.testing.assert_array_equal(segment.mask, masks[outputs.iou_scores[0, 0].argmax()].numpy())


@pytest.mark.parametrize("build", [_original, _sam, _sam2])
def test_batched_equals_one_by_one(image: np.ndarray, build: Callable[[int], Segmenter]) -> None:
    for one, many in zip(build(1).segment(image, BOXES), build(16).segment(image, BOXES), strict=True):
        np.testing.assert_array_equal(one.mask, many.mask)
        assert one.predicted_iou == pytest.approx(many.predicted_iou, abs=1e-5)
        assert one.stability == pytest.approx(many.stability, abs=1e-5)


@pytest.mark.parametrize("build", [_original, _sam, _sam2])
def test_an_image_is_embedded_once(
    image: np.ndarray, build: Callable[[int], Segmenter], monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = build(1)
    model = segmenter._model  # type: ignore[attr-defined]
    encoder = getattr(model, "image_encoder", None) or model.vision_encoder
    calls: list[int] = []
    encoder.register_forward_hook(lambda *_: calls.append(1))
    assert len(segmenter.segment(image, BOXES)) == 3
    assert len(calls) == 1
    assert segmenter.segment(image, []) == []


@pytest.mark.parametrize("build", [_original, _sam, _sam2])
def test_masks_have_the_size_of_the_image_and_scores_lie_in_the_unit_interval(
    image: np.ndarray, build: Callable[[int], Segmenter]
) -> None:
    for segment in build(2).segment(image, BOXES):
        assert segment.mask.shape == (40, 60)
        assert segment.mask.dtype == bool
        assert 0 <= segment.stability <= 1
        assert 0 <= segment.predicted_iou <= 1


def test_checkpoints_load_from_folders(tmp_path: Path, image: np.ndarray) -> None:
    model, processor = tiny_models.sam()
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    loaded = TransformersSam.load(SegmentConfig(engine="sam", model=str(tmp_path), device="cpu"))
    expected = TransformersSam(model, processor, SegmentConfig(device="cpu"))
    np.testing.assert_array_equal(loaded.segment(image, BOXES)[0].mask, expected.segment(image, BOXES)[0].mask)
    assert loaded.name == f"sam/{tmp_path}"


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"segment\.model: no checkpoint file .*nothing\.pth"):
        SegmentAnything.load(SegmentConfig(engine="segment_anything", model=str(tmp_path / "nothing.pth")))
