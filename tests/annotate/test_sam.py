"""SAM engines: the masks of the libraries called by hand, box by box, whatever the batch."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from PIL import Image
from segment_anything import SamPredictor

from simpleseg_core.annotate import Prompt, Segment
from simpleseg_core.annotate.sam import SegmentAnything, TransformersSam
from simpleseg_core.config import SegmentConfig
from tests.annotate import tiny_models

Box = tuple[float, float, float, float]
Kind = Literal["box", "point", "box+point", "box+mask"]
Engine = SegmentAnything | TransformersSam
BOXES: list[Box] = [(0.1, 0.1, 0.5, 0.6), (0.3, 0.2, 0.9, 0.9), (0.0, 0.0, 1.0, 1.0)]
PIXELS = np.array(BOXES) * [60, 40, 60, 40]


def _original(batch_size: int, prompt: Kind = "box") -> Engine:
    config = SegmentConfig(engine="segment_anything", batch_size=batch_size, device="cpu", prompt=prompt)
    return SegmentAnything(tiny_models.segment_anything(), config)


def _sam(batch_size: int, prompt: Kind = "box") -> Engine:
    config = SegmentConfig(engine="sam", batch_size=batch_size, device="cpu", prompt=prompt)
    return TransformersSam(*tiny_models.sam(), config)


def _sam2(batch_size: int, prompt: Kind = "box") -> Engine:
    config = SegmentConfig(engine="sam2", batch_size=batch_size, device="cpu", prompt=prompt)
    return TransformersSam(*tiny_models.sam2(), config)


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
def test_batched_equals_one_by_one(image: np.ndarray, build: Callable[..., Engine]) -> None:
    for one, many in zip(build(1).segment(image, BOXES), build(16).segment(image, BOXES), strict=True):
        np.testing.assert_array_equal(one.mask, many.mask)
        assert one.predicted_iou == pytest.approx(many.predicted_iou, abs=1e-5)
        assert one.stability == pytest.approx(many.stability, abs=1e-5)


@pytest.mark.parametrize("build", [_original, _sam, _sam2])
def test_an_image_is_embedded_once(
    image: np.ndarray, build: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
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
    image: np.ndarray, build: Callable[..., Engine]
) -> None:
    for segment in build(2).segment(image, BOXES):
        assert segment.mask.shape == (40, 60)
        assert segment.mask.dtype == bool
        assert 0 <= segment.stability <= 1
        assert 0 <= segment.predicted_iou <= 1


MASK = np.zeros((40, 60), bool)
MASK[12:30, 20:40] = True
POINTS, OUTSIDE = ((0.4, 0.5), (0.5, 0.6)), ((0.1, 0.1),)
PROMPTS = [
    Prompt(BOXES[0]),
    Prompt(points=POINTS),
    Prompt(points=POINTS, outside=OUTSIDE),
    Prompt(BOXES[1], POINTS, OUTSIDE),
    Prompt(BOXES[1], mask=MASK),
    Prompt(points=POINTS, mask=MASK),
    Prompt(mask=MASK),
]
IN_PIXELS = np.array([*POINTS, *OUTSIDE]) * [60, 40]
LABELS = np.array([1, 1, 0])


def _low_resolution(rows: int, columns: int) -> np.ndarray:
    """MASK at a quarter of the 64 pixels that the tiny models see, of which the image fills `rows` x `columns`."""
    logits = np.full((16, 16), -10, np.float32)
    small = Image.fromarray(MASK.astype(np.float32)).resize((columns, rows), Image.Resampling.BOX)
    logits[:rows, :columns] = 20 * np.asarray(small) - 10
    return logits


def _given(prompt: Prompt) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """Box, points and labels of a prompt in pixels."""
    count = len(prompt.points) + len(prompt.outside)
    box = None if prompt.box is None else np.array(prompt.box) * [60, 40, 60, 40]
    return box, IN_PIXELS[:count] if count else None, LABELS[:count] if count else None


@pytest.mark.parametrize("prompt", PROMPTS)
def test_the_original_takes_points_and_masks_as_its_predictor_does(image: np.ndarray, prompt: Prompt) -> None:
    predictor = SamPredictor(tiny_models.segment_anything())
    predictor.set_image(image)
    box, points, labels = _given(prompt)
    mask = None if prompt.mask is None else _low_resolution(11, 16)[None]
    masks, scores, _ = predictor.predict(points, labels, box, mask)
    (segment,) = _original(1).segment_prompts(image, [prompt])
    np.testing.assert_array_equal(segment.mask, masks[scores.argmax()])
    assert segment.predicted_iou == pytest.approx(float(np.clip(scores.max(), 0, 1)), abs=1e-5)


def _by_hand(parts: Callable[[], Any], image: np.ndarray, prompt: Prompt) -> tuple[np.ndarray, float]:
    """The best mask of transformers' model and its score; its own processor scales the prompts."""
    model, processor = parts()
    box, points, labels = _given(prompt)
    prompts: dict[str, Any] = {} if box is None else {"input_boxes": [[box.tolist()]]}
    if points is not None and labels is not None:
        prompts |= {"input_points": [[points.tolist()]], "input_labels": [[labels.tolist()]]}
    inputs = processor(images=image, **prompts, return_tensors="pt")
    sizes = [inputs.pop(key) for key in ("original_sizes", "reshaped_input_sizes") if key in inputs]
    floats = {key: value if key == "input_labels" else value.float() for key, value in inputs.items()}
    if prompt.mask is not None:
        floats["input_masks"] = torch.from_numpy(_low_resolution(11 if len(sizes) == 2 else 16, 16))[None, None]
    with torch.no_grad():
        outputs = model(**floats)
    masks = processor.post_process_masks(outputs.pred_masks, *sizes)[0][0]
    scores = outputs.iou_scores[0, 0]
    return masks[scores.argmax()].numpy(), float(scores.max().clamp(0, 1))


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize(("build", "parts"), [(_sam, tiny_models.sam), (_sam2, tiny_models.sam2)])
def test_transformers_takes_points_and_masks_as_its_model_does(
    image: np.ndarray, build: Callable[..., Engine], parts: Callable[[], Any], prompt: Prompt
) -> None:
    mask, score = _by_hand(parts, image, prompt)
    (segment,) = build(1).segment_prompts(image, [prompt])
    np.testing.assert_array_equal(segment.mask, mask)
    assert segment.predicted_iou == pytest.approx(score, abs=1e-5)


def _assert_same(first: Sequence[Segment], second: Sequence[Segment]) -> None:
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.mask, other.mask)
        assert one.predicted_iou == pytest.approx(other.predicted_iou, abs=1e-5)


@pytest.mark.parametrize("build", [_original, _sam, _sam2])
def test_prompts_of_all_kinds_may_be_mixed(image: np.ndarray, build: Callable[..., Engine]) -> None:
    engine = build(16)
    mixed = [prompt for _ in range(2) for prompt in PROMPTS]
    _assert_same(engine.segment_prompts(image, mixed), [engine.segment_prompts(image, [one])[0] for one in mixed])


@pytest.mark.parametrize("build", [_original, _sam, _sam2])
def test_a_detection_becomes_the_prompt_that_is_configured(image: np.ndarray, build: Callable[..., Engine]) -> None:
    middles = [((box[0] + box[2]) / 2, (box[1] + box[3]) / 2) for box in BOXES]
    asked = {
        "point": [Prompt(points=(middle,)) for middle in middles],
        "box+point": [Prompt(box, (middle,)) for box, middle in zip(BOXES, middles, strict=True)],
    }
    for kind, prompts in asked.items():
        _assert_same(build(2, kind).segment(image, BOXES), build(2).segment_prompts(image, prompts))
    boxes = [Prompt(box) for box in BOXES]
    _assert_same(build(2, "box+mask").segment(image, BOXES), build(2).segment_prompts(image, boxes, rounds=2))


def test_a_second_round_is_given_the_mask_of_the_first(image: np.ndarray) -> None:
    predictor = SamPredictor(tiny_models.segment_anything())
    predictor.set_image(image)
    for box, segment in zip(PIXELS, _original(2, "box+mask").segment(image, BOXES), strict=True):
        _, scores, logits = predictor.predict(box=box)
        masks, scores, _ = predictor.predict(box=box, mask_input=logits[scores.argmax()][None])
        np.testing.assert_array_equal(segment.mask, masks[scores.argmax()])


@pytest.mark.parametrize(("build", "parts"), [(_sam, tiny_models.sam), (_sam2, tiny_models.sam2)])
def test_half_the_digits_give_about_the_same_confidence(
    image: np.ndarray, build: Callable[..., Engine], parts: Callable[[], Any]
) -> None:
    rough = TransformersSam(*parts(), SegmentConfig(engine="sam", device="cpu", dtype="bfloat16"))
    for exact, segment in zip(build(16).segment(image, BOXES), rough.segment(image, BOXES), strict=True):
        assert segment.predicted_iou == pytest.approx(exact.predicted_iou, abs=0.02)
        assert segment.predicted_iou != exact.predicted_iou


@pytest.mark.parametrize(
    ("prompt", "message"),
    [(Prompt(), "an empty prompt"), (Prompt(mask=np.ones((8, 8), bool)), r"has the shape \(8, 8\), but the image")],
)
def test_a_prompt_that_says_nothing_or_fits_no_image_is_refused(
    image: np.ndarray, prompt: Prompt, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        _sam(1).segment_prompts(image, [prompt])


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
