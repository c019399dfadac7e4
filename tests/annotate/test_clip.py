"""CLIP: the cosines of transformers called by hand, whatever the batch."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from simpleseg_core.annotate import build_clip
from simpleseg_core.annotate.clip import Clip
from simpleseg_core.config import Config, SegmentConfig
from tests.annotate import tiny_models

BOXES = [(0.0, 0.0, 0.5, 0.5), (0.25, 0.25, 1.0, 0.75), (0.5, 0.0, 0.5, 0.0)]
CROPS = [(0, 0, 30, 20), (15, 10, 60, 30), (30, 0, 31, 1)]
PHRASES = ["red circle", "blue star " * 40, "green square"]


@pytest.mark.parametrize("batch_size", [1, 16])
def test_similarities_are_the_models_own(image: np.ndarray, batch_size: int) -> None:
    model, processor = tiny_models.clip()
    found = Clip(model, processor, "cpu", batch_size).similarities(image, BOXES, PHRASES)
    for crop, phrase, similarity in zip(CROPS, PHRASES, found, strict=True):
        shown = Image.fromarray(image).crop(crop)
        inputs = processor(text=[f"a photo of {phrase}"], images=shown, truncation=True, return_tensors="pt")
        with torch.no_grad():
            cosine = model(**inputs).logits_per_image / model.logit_scale.exp()
        assert similarity == pytest.approx(float(cosine), abs=1e-5)
    assert len(set(found)) == 3


def test_no_boxes_have_no_similarities(image: np.ndarray) -> None:
    assert Clip(*tiny_models.clip(), "cpu", 4).similarities(image, [], []) == []


def test_it_is_built_from_a_folder_where_one_is_named(tmp_path: Path, image: np.ndarray) -> None:
    assert build_clip(SegmentConfig()) is None
    for part in tiny_models.clip():
        part.save_pretrained(tmp_path)
    built = build_clip(SegmentConfig(clip=str(tmp_path), device="cpu"))
    assert built is not None
    expected = Clip(*tiny_models.clip(), "cpu", 1).similarities(image, BOXES, PHRASES)
    assert built.similarities(image, BOXES, PHRASES) == pytest.approx(expected, abs=1e-5)


def test_a_bound_that_nothing_measures_is_refused() -> None:
    with pytest.raises(ValueError, match=r"contour\.min_similarity: nothing measures it: name a CLIP in segment\.clip"):
        Config.model_validate({"contour": {"min_similarity": 0.2}})
