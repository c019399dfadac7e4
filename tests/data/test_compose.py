"""From images to tables: gold masks, composition, and no benchmark image in training."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simpleseg_core.config import Config, ContourConfig
from simpleseg_core.data.compose import Composition, pretrain_rows, prompt_rows, sft_rows, visits
from simpleseg_core.data.refshapes import scene
from simpleseg_core.data.shards import ImageStore
from simpleseg_core.data.views import ViewedImage, annotated_views, described_views, scene_views
from simpleseg_core.geometry import decode_rle, encode_rle, mask_box

CONFIG = Config.model_validate({"dataset": {"template_variety": 1, "max_turns": 2}, "contour": {"tolerance": 0.02}})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data") / "dataset"


@pytest.fixture(scope="module")
def images(folder: Path) -> list[ViewedImage]:
    return list(scene_views(CONFIG.data.refshapes, 0, "testB", range(4, 10), "refshapes-x", folder))


def test_scenes_are_written_to_shards_that_their_rows_name(folder: Path, images: list[ViewedImage]) -> None:
    store = ImageStore(folder.parent)
    for index, item in zip(range(4, 10), images, strict=True):
        expected = scene(CONFIG.data.refshapes, 0, "testB", index)
        found = np.asarray(store.read(item.shard, item.image), np.int16)
        assert (item.image, item.shard) == (f"refshapes-x-{index:07d}", "dataset/images/refshapes-x-00000.tar")
        assert np.abs(found - expected.image).mean() < 6
        assert [reference.expression for reference in item.view.references] == [q.expression for q in expected.queries]


def test_prompts_carry_the_exact_union_of_their_targets(images: list[ViewedImage]) -> None:
    rows = list(prompt_rows(images, CONFIG, benchmark="refshapes/testB"))
    truth = {
        (f"refshapes-x-{index:07d}", query.expression): query
        for index in range(4, 10)
        for query in scene(CONFIG.data.refshapes, 0, "testB", index).queries
    }
    assert len(rows) == len(truth) == len({row["sample"] for row in rows})
    assert {row["targets"] for row in rows} >= {0, 1, 2}
    for row in rows:
        query = truth[row["image"], row["expression"]]
        mask = decode_rle({"size": [row["height"], row["width"]], "counts": row["rle_counts"]})
        np.testing.assert_array_equal(mask, query.mask)
        assert (row["kind"], row["targets"]) == (query.kind, len(query.targets))
        assert row["question"] == f"outline of {query.expression}"
        box = mask_box(query.mask)
        assert row["box"] == (None if box is None else box.tolist())


def test_as_many_queries_of_an_image_are_asked_as_wanted(images: list[ViewedImage]) -> None:
    rows = list(prompt_rows(images, CONFIG, per_image=1))
    assert [row["image"] for row in rows] == [item.image for item in images]


def test_sft_visits_every_expression_in_every_pass(images: list[ViewedImage]) -> None:
    twice = CONFIG.model_copy(update={"dataset": CONFIG.dataset.model_copy(update={"passes": 2})})
    asked = [turn["question"] for row in sft_rows(images, twice) for turn in row["turns"]]
    expected = [f"outline of {reference.expression}" for item in images for reference in item.view.references]
    assert sorted(asked) == sorted(2 * expected)


def test_rows_of_an_image_do_not_depend_on_the_images_before_it(images: list[ViewedImage]) -> None:
    for build in (sft_rows, pretrain_rows, prompt_rows):
        together = {row["sample"]: row for row in build(images, CONFIG)}
        alone = {row["sample"]: row for row in build(images[3:4], CONFIG)}
        assert alone
        assert alone == {sample: together[sample] for sample in alone}


def test_the_composition_counts_turns_by_table_source_and_task(images: list[ViewedImage]) -> None:
    sft, rl = list(sft_rows(images, CONFIG)), list(prompt_rows(images, CONFIG))
    row = {"source": "refshapes", "task": "text->mask", "images": 6, "turns": len(rl), "share": 1.0}
    composition = Composition()
    assert [list(composition.watch("sft", sft)), list(composition.watch("rl", rl))] == [sft, rl]
    assert composition.table() == [{"table": "rl", **row}, {"table": "sft", **row}]
    assert composition.rows == {"sft": len(sft), "rl": len(rl)}
    assert sum(composition.lengths["sft"].values()) == len(rl)


@given(weight=st.floats(0, 4), passes=st.integers(1, 3))
def test_an_image_is_visited_as_often_as_its_source_weighs(
    images: list[ViewedImage], weight: float, passes: int
) -> None:
    dataset = CONFIG.dataset.model_copy(update={"source_weights": {"refshapes": weight}, "passes": passes})
    config = CONFIG.model_copy(update={"dataset": dataset})
    found = [visits(item, config, "sft", passes) for item in images]
    assert {math.floor(weight * passes), math.ceil(weight * passes)} >= set(found)
    assert found == [visits(item, config, "sft", passes) for item in images]


def test_a_fraction_of_a_visit_goes_to_that_share_of_the_images(images: list[ViewedImage]) -> None:
    dataset = CONFIG.dataset.model_copy(update={"source_weights": {"refshapes": 1.3}})
    config = CONFIG.model_copy(update={"dataset": dataset})
    found = [visits(replace(images[0], image=str(number)), config, "sft") for number in range(2000)]
    assert np.mean(found) == pytest.approx(1.3, abs=0.04)


def _annotated_row(annotations: list[dict[str, object]]) -> dict[str, object]:
    return {"status": "ok", "image": "a", "shard": "images/00000.tar", "width": 40, "height": 20, "phash": "0"} | {
        "annotations": json.dumps(annotations)
    }


def _entry(phrase: str, left: int, side: int, crowd: bool = False) -> dict[str, object]:
    mask = np.zeros((20, 40), bool)
    mask[2 : 2 + side, left : left + side] = True
    box = (left / 40, 0.1, (left + side) / 40, 0.1 + side / 20)
    return {"phrase": phrase, "box": box, "rle_counts": encode_rle(mask)["counts"], "crowd": crowd}


def test_photographs_are_asked_about_what_is_plain() -> None:
    entries = [_entry("dog", 2, 8), _entry("dog", 25, 8), _entry("cat", 14, 6), _entry("person", 0, 12, crowd=True)]
    row = _annotated_row([*entries, _entry("person", 34, 5), _entry("ball", 36, 1)])
    failed = row | {"status": "http_404"}
    (item,) = annotated_views([failed, row], ContourConfig(min_area=0.01))
    assert [target.phrase for target in item.view.targets] == ["dog", "dog", "cat", "person"]
    asked = {reference.expression: reference.targets for reference in item.view.references}
    # Nobody can tell the person from the crowd, and the ball is too small to outline.
    assert asked == {"leftmost dog": (0,), "rightmost dog": (1,), "cat": (2,)}


def test_descriptions_are_asked_about_unless_they_are_ambiguous() -> None:
    mask = np.ones((4, 4), bool)
    row: dict[str, object] = {"image": "a", "shard": "images/00000.tar", "width": 4, "height": 4}
    row |= {"phrase": "dog", "description": "big dog", "description_source": "caption"}
    row |= {"box": [0.0, 0.0, 1.0, 1.0], "point": [0.5, 0.5], "rle_counts": encode_rle(mask)["counts"]}
    row |= {"polygons": [[[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]]}
    (item,) = described_views([row, row | {"description": "dog", "description_source": "ambiguous"}], {"a": "ff"})
    assert [reference.expression for reference in item.view.references] == ["big dog"]
    assert [target.phrase for target in item.view.targets] == ["dog", "dog"]
    assert item.phash == "ff"
    rows = list(pretrain_rows([item], CONFIG))
    assert len(rows) == 2
    assert {row["source"] for row in rows} == {"annotations"}
