"""The benchmark of detect + segment on models too small to say anything about speed: both ways do the same work."""

import numpy as np
import pytest

from benchmarks.annotate import Peer, compare, main, ours, pictures_of
from simpleseg_core.annotate.grounding_dino import TransformersGroundingDino
from simpleseg_core.annotate.sam import TransformersSam
from simpleseg_core.config import DetectConfig, SegmentConfig
from tests.annotate import tiny_models

MODELS = (*tiny_models.grounding_dino(), *tiny_models.sam())


def test_both_ways_make_a_mask_for_every_box() -> None:
    pictures, boxes = pictures_of(2)
    assert len(boxes[0]) == 8
    assert all((np.array(some)[:, :2] <= np.array(some)[:, 2:]).all() for some in boxes)
    detector = TransformersGroundingDino(*MODELS[:2], DetectConfig(device="cpu"))
    segmenter = TransformersSam(*MODELS[2:], SegmentConfig(engine="sam", device="cpu"))
    assert ours(detector, segmenter, pictures, boxes) == Peer(MODELS, "cpu")(pictures, boxes) == 16


def test_the_table_compares_with_the_peers_way(capsys: pytest.CaptureFixture[str]) -> None:
    compare(MODELS, "cpu", 2, lambda: None)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == [
        "| one image at a time, float32",
        "| ours, float32",
        "| ours, bfloat16",
    ]
    assert all(float(line.split(" | ")[1]) > 0 for line in lines[2:])


@pytest.mark.parametrize("shards", [("4", "4"), ("4", "2"), ("0",)])
def test_numbers_of_shards_must_grow(
    shards: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["annotate.py", "--shards", *shards])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert "--shards must grow" in capsys.readouterr().err
