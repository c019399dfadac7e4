"""From images to tables: gold masks, composition, and no benchmark image in training."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simpleseg_core.config import Config
from simpleseg_core.data.shards import ImageStore
from simpleseg_core.geometry import decode_rle, mask_box
from simpleseg_core.instructions.compose import Composition, pretrain_rows, prompt_rows, sft_rows, visits
from simpleseg_core.instructions.labels import LabelledImage
from simpleseg_core.refshapes import scene
from simpleseg_core.sources.refshapes import scene_images

CONFIG = Config.model_validate({"dataset": {"template_variety": 1, "max_turns": 2}, "contour": {"tolerance": 0.02}})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data") / "dataset"


@pytest.fixture(scope="module")
def images(folder: Path) -> list[LabelledImage]:
    return list(scene_images(CONFIG.data.refshapes, 0, "testB", range(4, 10), "refshapes-x", folder))


def test_scenes_are_written_to_shards_that_their_rows_name(folder: Path, images: list[LabelledImage]) -> None:
    store = ImageStore(folder.parent)
    for index, item in zip(range(4, 10), images, strict=True):
        expected = scene(CONFIG.data.refshapes, 0, "testB", index)
        found = np.asarray(store.read(item.shard, item.image), np.int16)
        assert (item.image, item.shard) == (f"refshapes-x-{index:07d}", "dataset/images/refshapes-x-00000.tar")
        assert np.abs(found - expected.image).mean() < 6
        assert [reference.expression for reference in item.labels.references] == [
            q.expression for q in expected.queries
        ]


def test_prompts_carry_the_exact_union_of_their_targets(images: list[LabelledImage]) -> None:
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


def test_as_many_queries_of_an_image_are_asked_as_wanted(images: list[LabelledImage]) -> None:
    rows = list(prompt_rows(images, CONFIG, per_image=1))
    assert [row["image"] for row in rows] == [item.image for item in images]


def test_a_benchmark_asks_each_query_once_in_the_plainest_words_whatever_training_does(
    images: list[LabelledImage],
) -> None:
    """Otherwise scores of two configurations would be of two benchmarks."""
    dataset = {"template_variety": 9, "source_weights": {"refshapes": 3}}
    varied = Config.model_validate({"dataset": dataset, "contour": {"tolerance": 0.02}})
    rows = list(prompt_rows(images, varied, benchmark="refshapes/testB"))
    assert [row["question"] for row in rows] == [f"outline of {row['expression']}" for row in rows]
    assert rows == list(prompt_rows(images, CONFIG, benchmark="refshapes/testB"))
    prompts = list(prompt_rows(images, varied))
    assert len(prompts) == 3 * len(rows)
    assert any(row["question"] != f"outline of {row['expression']}" for row in prompts)


def test_sft_visits_every_expression_in_every_pass(images: list[LabelledImage]) -> None:
    twice = CONFIG.model_copy(update={"dataset": CONFIG.dataset.model_copy(update={"passes": 2})})
    asked = [turn["question"] for row in sft_rows(images, twice) for turn in row["turns"]]
    expected = [f"outline of {reference.expression}" for item in images for reference in item.labels.references]
    assert sorted(asked) == sorted(2 * expected)


def test_rows_of_an_image_do_not_depend_on_the_images_before_it(images: list[LabelledImage]) -> None:
    for build in (sft_rows, pretrain_rows, prompt_rows):
        together = {row["sample"]: row for row in build(images, CONFIG)}
        alone = {row["sample"]: row for row in build(images[3:4], CONFIG)}
        assert alone
        assert alone == {sample: together[sample] for sample in alone}


def test_the_composition_counts_turns_by_table_source_and_task(images: list[LabelledImage]) -> None:
    sft, rl = list(sft_rows(images, CONFIG)), list(prompt_rows(images, CONFIG))
    row = {"source": "refshapes", "task": "text->mask", "images": 6, "turns": len(rl), "share": 1.0}
    composition = Composition()
    assert [list(composition.watch("sft", sft)), list(composition.watch("rl", rl))] == [sft, rl]
    assert composition.table() == [{"table": "rl", **row}, {"table": "sft", **row}]
    assert composition.rows == {"sft": len(sft), "rl": len(rl)}
    assert sum(composition.lengths["sft"].values()) == len(rl)


@given(weight=st.floats(0, 4), passes=st.integers(1, 3))
def test_an_image_is_visited_as_often_as_its_source_weighs(
    images: list[LabelledImage], weight: float, passes: int
) -> None:
    dataset = CONFIG.dataset.model_copy(update={"source_weights": {"refshapes": weight}, "passes": passes})
    config = CONFIG.model_copy(update={"dataset": dataset})
    found = [visits(item, config, "sft", passes) for item in images]
    assert {math.floor(weight * passes), math.ceil(weight * passes)} >= set(found)
    assert found == [visits(item, config, "sft", passes) for item in images]


def test_a_fraction_of_a_visit_goes_to_that_share_of_the_images(images: list[LabelledImage]) -> None:
    dataset = CONFIG.dataset.model_copy(update={"source_weights": {"refshapes": 1.3}})
    config = CONFIG.model_copy(update={"dataset": dataset})
    found = [visits(replace(images[0], image=str(number)), config, "sft") for number in range(2000)]
    assert np.mean(found) == pytest.approx(1.3, abs=0.04)
