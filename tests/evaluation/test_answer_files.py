"""Answers of other people's models, from the files that they write."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from simpleseg_core.config.evaluation import AnswerStyle
from simpleseg_core.evaluation.answer_files import FileAnswers
from simpleseg_core.evaluation.answers import answer_prompts
from simpleseg_core.geometry import encode_rle

RING = np.zeros((40, 60), bool)
RING[5:25, 10:50] = True
RING[10:15, 20:30] = False
BOX = np.zeros((40, 60), bool)
BOX[5:25, 10:50] = True


def query(sample: str, mask: np.ndarray, benchmark: str = "val") -> dict[str, Any]:
    return {
        "sample": sample, "benchmark": benchmark, "height": 40, "width": 60, "rle_counts": encode_rle(mask)["counts"],
    }  # fmt: skip


def written(folder: Path, *rows: dict[str, Any], suffix: str = ".jsonl") -> Path:
    file = folder / f"theirs{suffix}"
    match suffix:
        case ".jsonl":
            file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        case ".json":
            file.write_text(json.dumps(rows))
        case _:
            columns = sorted({name for row in rows for name in row})
            pq.write_table(pa.table({name: [row.get(name) for row in rows] for name in columns}), file)
    return file


def ious(file: Path, *queries: dict[str, Any], style: AnswerStyle | None = None) -> list[float]:
    rows = answer_prompts(FileAnswers(file, style), "theirs", queries, style="permille")
    return [row["iou"] for row in rows]


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".parquet"])
def test_masks_are_scored_to_the_pixel_with_their_holes(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(RING).save(tmp_path / "ring.png")
    file = written(
        tmp_path, {"sample": "a", "rle": dict(encode_rle(RING))}, {"sample": "7", "mask": "ring.png"}, suffix=suffix
    )
    assert ious(file, query("a", RING), query("7", RING)) == [1, 1]
    scored = answer_prompts(FileAnswers(file, None), "theirs", [query("a", RING)])[0]
    assert (scored["parts"], scored["tokens"], scored["box_iou"], scored["boundary_iou"]) == (1, None, 1, 1)


@pytest.mark.parametrize(
    ("style", "scale", "digits"), [("pixel", (1, 1), 0), ("unit", (60, 40), 3), ("permille", (0.06, 0.04), 0)]
)
def test_polygons_are_read_in_the_style_that_is_named(
    tmp_path: Path, style: AnswerStyle, scale: tuple[float, float], digits: int
) -> None:
    corners = (np.array([[10, 5], [50, 5], [50, 25], [10, 25]]) / scale).round(digits)
    flat = {"sample": "flat", "polygons": [corners.ravel().tolist()]}
    nested = {"sample": "nested", "polygons": [corners.tolist()]}
    text = {"sample": "text", "answer": f"Here: {json.dumps([corners.tolist()])}", "tokens": 21}
    file = written(tmp_path, flat, nested, text)
    asked = [query(name, BOX) for name in ("flat", "nested", "text")]
    assert ious(file, *asked, style=style) == [1, 1, 1]
    assert FileAnswers(file, style).answer(asked)[2].tokens == 21


def test_an_unreadable_answer_is_kept_and_scores_nothing(tmp_path: Path) -> None:
    file = written(tmp_path, {"sample": "a", "answer": "no idea"}, {"sample": "b", "answer": "[]"})
    rows = answer_prompts(FileAnswers(file, "pixel"), "theirs", [query("a", BOX), query("b", BOX & False)])
    assert [(row["answer"], row["valid"], row["iou"]) for row in rows] == [("no idea", False, 0), ("[]", True, 1)]


def test_a_benchmark_tells_apart_queries_of_one_name(tmp_path: Path) -> None:
    ours = {"sample": "a", "benchmark": "val", "rle": dict(encode_rle(BOX))}
    others = ours | {"benchmark": "testA", "rle": dict(encode_rle(~BOX))}
    file = written(tmp_path, ours, others)
    assert ious(file, query("a", BOX), query("a", ~BOX, "testA")) == [1, 1]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"sample": "b", "answer": "[]"}], "no answer to a: every query"),
        ([{"sample": "a"}], r"entry 0 of `answers` \(sample a\): it has none of"),
        ([{"sample": "a", "answer": "[]", "mask": "m.png"}], "it has answer and mask of"),
        (
            [{"sample": "a", "answer": "[]"}, {"sample": "a", "answer": "[]"}],
            "two entries of `answers` have the sample",
        ),
        ([{"sample": "a", "rle": dict(encode_rle(BOX.T))}], "has 40 x 60 pixels, its image 60 x 40"),
        ([{"sample": "a", "rle": {"size": [40, 60], "counts": "%"}}], "the mask of a cannot be read"),
        ([{"sample": "a", "mask": "nowhere.png"}], "the mask of a cannot be read"),
        ([{"sample": "a", "polygons": [[1, 2, float("nan")]]}], "`answers`"),
        ([{"answer": "[]"}], "entry 0 of `answers` has no `sample`"),
    ],
)
def test_what_makes_no_sense_is_named(tmp_path: Path, rows: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ious(written(tmp_path, *rows), query("a", BOX))


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "theirs.jsonl").write_text("{")
    with pytest.raises(ValueError, match=r"theirs\.jsonl: damaged .* evaluate\.models"):
        FileAnswers(tmp_path / "theirs.jsonl", None)
    with pytest.raises(FileNotFoundError, match=r"evaluate\.models"):
        FileAnswers(tmp_path / "nothing.json", None)
