"""Grounding-DINO engines: the boxes of the libraries called by hand, and phrases by token span, not decoded text."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from simpleseg_core.annotate import CaptionedImage, Detector, _grounding
from simpleseg_core.annotate._grounding import detect, make_prompts, wanted
from simpleseg_core.annotate.grounding_dino import GroundingDinoPy, TransformersGroundingDino, build_groundingdino
from simpleseg_core.annotate.phrases import noun_phrases
from simpleseg_core.config import DetectConfig
from tests.annotate import tiny_models

CAPTION, PROMPT = "A red circle and two blue stars", "red circle. blue stars."
ALL = DetectConfig(engine="transformers", box_threshold=0, text_threshold=0, nms_iou=1, batch_size=4, device="cpu")


def _picture(seed: int, caption: str = CAPTION, shape: tuple[int, int] = (48, 64)) -> CaptionedImage:
    return CaptionedImage(np.random.default_rng(seed).integers(0, 255, (*shape, 3), np.uint8), caption)


def _offsets(text: str) -> list[tuple[int, int]]:
    offsets: list[tuple[int, int]] = tiny_models.tokenizer()(text, return_offsets_mapping=True)["offset_mapping"]
    return offsets


@pytest.fixture(scope="module")
def transformers_engine() -> TransformersGroundingDino:
    return TransformersGroundingDino(*tiny_models.grounding_dino(), ALL)


@pytest.fixture(scope="module")
def original_model(tmp_path_factory: pytest.TempPathFactory) -> torch.nn.Module:
    encoder = tiny_models.text_encoder(tmp_path_factory.mktemp("bert"))
    torch.manual_seed(0)
    model = build_groundingdino(
        "swin_t", encoder, enc_layers=1, dec_layers=1, dim_feedforward=32, num_queries=10, device="cpu"
    )
    with torch.no_grad():  # small logits: as they come, all probabilities would be 0 or 1, and which phrase wins, noise
        model.get_submodule("transformer.decoder.norm").weight.mul_(0.03)
    return model


@pytest.fixture(scope="module")
def original_engine(original_model: torch.nn.Module) -> GroundingDinoPy:
    return GroundingDinoPy(original_model, ALL, short_side=64, long_side=128)


@pytest.fixture(params=["transformers_engine", "original_engine"])
def engine(request: pytest.FixtureRequest) -> Detector:
    chosen: Detector = request.getfixturevalue(request.param)
    return chosen


def _corners(boxes: torch.Tensor) -> np.ndarray:
    centre, size = boxes[:, :2].double().numpy(), boxes[:, 2:].double().numpy()
    return np.clip(np.concatenate([centre - size / 2, centre + size / 2], axis=1), 0, 1)


def test_transformers_gives_what_its_post_processing_gives(transformers_engine: TransformersGroundingDino) -> None:
    model, processor = tiny_models.grounding_dino()
    picture = _picture(0)
    inputs = processor(images=picture.image, text=PROMPT, return_tensors="pt")
    with torch.no_grad():
        (expected,) = processor.post_process_grounded_object_detection(
            model(**inputs), inputs["input_ids"], threshold=0.0
        )
    (found,) = transformers_engine.detect([picture])
    order = np.argsort(-expected["scores"].numpy(), kind="stable")
    np.testing.assert_allclose([item.score for item in found], expected["scores"].numpy()[order], atol=1e-5)
    np.testing.assert_allclose([item.box for item in found], expected["boxes"].numpy()[order].clip(0, 1), atol=1e-5)


def test_the_original_gives_what_its_predict_gives(
    original_engine: GroundingDinoPy, original_model: torch.nn.Module
) -> None:
    from groundingdino.util.inference import predict

    picture = _picture(0)
    boxes, scores, _ = predict(
        original_model, original_engine._preprocess(picture.image), PROMPT, 0.0, 0.0, device="cpu"
    )
    (found,) = original_engine.detect([picture])
    order = np.argsort(-scores.numpy(), kind="stable")
    np.testing.assert_allclose([item.score for item in found], scores.numpy()[order], atol=1e-5)
    np.testing.assert_allclose([item.box for item in found], _corners(boxes)[order], atol=1e-5)


def test_batched_equals_one_by_one_whatever_the_shapes_and_captions(engine: Detector) -> None:
    captions = [CAPTION, "a green square", CAPTION, "nothing of it", "two blue stars and a red circle"]
    shapes = [(48, 64), (48, 64), (64, 48), (48, 64), (48, 64)]
    pictures = [_picture(index, *pair) for index, pair in enumerate(zip(captions, shapes, strict=True))]
    together = engine.detect(pictures)
    for picture, found in zip(pictures, together, strict=True):
        (alone,) = engine.detect([picture])
        assert len(found) == len(alone)
        for item in found:  # scores that are nearly equal may come in either order
            apart = [np.abs(np.subtract((*other.box, other.score), (*item.box, item.score))).max() for other in alone]
            assert min(apart) < 1e-4
            assert item.phrase in {other.phrase for other, gap in zip(alone, apart, strict=True) if gap < 1e-4}


def test_every_detection_names_a_phrase_of_the_caption_and_its_place(engine: Detector) -> None:
    (found,) = engine.detect([_picture(5)])
    assert found
    for item in found:
        assert item.phrase in {"red circle", "blue stars"}
        assert CAPTION[slice(*item.span)].lower() == item.phrase


def test_half_the_digits_give_about_the_same_scores(transformers_engine: TransformersGroundingDino) -> None:
    rough = TransformersGroundingDino(*tiny_models.grounding_dino(), ALL.model_copy(update={"dtype": "bfloat16"}))
    scores = [[item.score for item in engine.detect([_picture(0)])[0]] for engine in (transformers_engine, rough)]
    assert scores[0] != scores[1]
    assert scores[0] == pytest.approx(scores[1], abs=0.1)


def test_a_caption_without_phrases_gives_nothing(engine: Detector) -> None:
    assert engine.detect([_picture(0, caption="")]) == [[]]


def test_the_positive_map_covers_exactly_the_tokens_of_each_phrase() -> None:
    (prompt,) = make_prompts(noun_phrases(CAPTION), _offsets)
    assert prompt.text == PROMPT
    # [CLS] red circle . blue star ##s . [SEP]
    expected = [[0, 1 / 2, 1 / 2, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 1 / 3, 1 / 3, 1 / 3, 0, 0]]
    np.testing.assert_allclose(prompt.positive_map, expected)


def test_long_vocabularies_are_split_and_no_phrase_is_lost() -> None:
    phrases = noun_phrases(", ".join(f"red {'blue ' * n}circle" for n in range(6)))
    prompts = make_prompts(phrases, _offsets, limit=12)
    assert len(prompts) > 1
    assert [phrase for prompt in prompts for phrase in prompt.phrases] == phrases
    assert all(len(_offsets(prompt.text)) <= 12 for prompt in prompts)


def _vocabulary(source: str, *phrases: str) -> DetectConfig:
    return DetectConfig.model_validate({"engine": "transformers", "phrases": source, "vocabulary": phrases})


@pytest.mark.parametrize(
    ("source", "phrases"),
    [
        ("caption", [("red circle", 2, 12), ("blue stars", 21, 31)]),
        ("vocabulary", [("green  square", -1, -1), ("red circle", 2, 12)]),
        ("both", [("red circle", 2, 12), ("blue stars", 21, 31), ("green square", -1, -1)]),
    ],
)
def test_phrases_come_from_the_caption_the_vocabulary_or_both(source: str, phrases: list[tuple[str, int, int]]) -> None:
    found = wanted(_picture(0), _vocabulary(source, "Green  square", "red circle"))
    assert [(item.text, item.start, item.end) for item in found] == [(" ".join(t.split()), *s) for t, *s in phrases]


def test_a_picture_may_bring_its_own_phrases() -> None:
    asked = replace(_picture(0), phrases=("circle left of two blue stars",))
    assert [item.text for item in wanted(asked, ALL)] == ["circle left of two blue stars"]


def test_a_vocabulary_of_several_prompts_is_asked_in_parts_and_merged(
    transformers_engine: TransformersGroundingDino, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["red circle", "blue star", "green square", "red star"]
    monkeypatch.setattr(_grounding.make_prompts, "__defaults__", (8,))
    config = ALL.model_copy(update={"phrases": "vocabulary", "vocabulary": tuple(words)})
    engine = TransformersGroundingDino(*tiny_models.grounding_dino(), config)
    (merged,) = engine.detect([_picture(0)])
    apart = [
        found for pair in (words[:2], words[2:]) for found in engine.detect([replace(_picture(0), phrases=tuple(pair))])
    ]
    assert len(merged) == len(apart[0]) + len(apart[1])
    assert [item.score for item in merged] == pytest.approx(
        sorted((item.score for found in apart for item in found), reverse=True), abs=1e-5
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"engine": "transformers", "phrases": "both"}, "vocabulary: empty"),
        ({"engine": "embedded", "phrases": "both", "vocabulary": ["dog"]}, "knows no vocabulary"),
        ({"vocabulary": ["dog", " "]}, "a phrase is empty"),
    ],
)
def test_a_vocabulary_that_cannot_be_used_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DetectConfig.model_validate(settings)


def test_the_phrase_is_the_one_whose_tokens_fit_best_on_average_and_thresholds_hold() -> None:
    tokens = np.zeros((3, 9))
    tokens[0, [1, 2, 4]] = 0.6, 0.5, 0.9  # one strong token of three does not make it a blue star
    tokens[1, [4, 5, 6]] = 0.3, 0.2, 0.4  # its best token is below the box threshold
    tokens[2, 1] = 0.5  # its phrase, on average, is below the text threshold
    boxes = np.array([[0.5, 0.5, 0.2, 0.2], [0.2, 0.2, 0.2, 0.2], [0.8, 0.8, 0.1, 0.1]])
    config = DetectConfig(box_threshold=0.45, text_threshold=0.3, nms_iou=1)
    (found,) = detect([_picture(0)], _offsets, lambda jobs: [(tokens, boxes)] * len(jobs), config)
    assert [(item.phrase, item.score) for item in found] == [("red circle", 0.9)]
    np.testing.assert_allclose(found[0].box, (0.4, 0.4, 0.6, 0.6))


def test_suppression_works_across_phrases() -> None:
    tokens = np.zeros((2, 9))
    tokens[0, [1, 2]], tokens[1, [4, 5, 6]] = 0.9, 0.8
    boxes = np.array([[0.5, 0.5, 0.2, 0.2], [0.5, 0.5, 0.2, 0.21]])
    config = DetectConfig(box_threshold=0.1, text_threshold=0.1, nms_iou=0.7)
    (found,) = detect([_picture(0)], _offsets, lambda jobs: [(tokens, boxes)], config)
    assert [item.phrase for item in found] == ["red circle"]


def test_checkpoints_load_without_pickles(
    tmp_path: Path, original_model: torch.nn.Module, transformers_engine: Detector
) -> None:
    model, processor = tiny_models.grounding_dino()
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    loaded = TransformersGroundingDino.load(ALL.model_copy(update={"model": str(tmp_path)}))
    (expected,) = transformers_engine.detect([_picture(0)])
    (found,) = loaded.detect([_picture(0)])
    np.testing.assert_allclose([item.box for item in found], [item.box for item in expected], atol=1e-6)


def test_a_missing_checkpoint_and_an_unknown_architecture_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"detect\.model: no checkpoint file"):
        GroundingDinoPy.load(DetectConfig(engine="groundingdino", model=str(tmp_path / "none.pth")))
    with pytest.raises(
        ValueError, match=r"detect\.config_file: no architecture 'resnet': choose one of swin_t, swin_b"
    ):
        build_groundingdino("resnet")
    with pytest.raises(ValueError, match="did you mean `swin_t`"):
        build_groundingdino("swin-t")
