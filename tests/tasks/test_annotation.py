"""detect, segment, contour and describe on RefShapes, one after the other: what they write, measure and skip."""

import json
from pathlib import Path

import numpy as np
import pytest

from simpleseg_core.config import Config, RefShapesConfig
from simpleseg_core.contract import StageResult
from simpleseg_core.data.records import BOXES, DESCRIPTIONS, INGEST, MASKS, POLYGONS, read_rows, write_table
from simpleseg_core.geometry import decode_rle, mask_box, polygons_mask_iou
from simpleseg_core.refshapes import phrase, scene
from tests.tasks.annotation_inputs import CHAIN, run_stage, write_refshapes

CONFIG = Config.model_validate({"contour": {"tolerance": 0.02}})


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pipeline")
    write_refshapes(folder / "data" / "images")
    return folder


@pytest.fixture(scope="module")
def results(root: Path) -> dict[str, StageResult]:
    return {name: run_stage(name, root, CONFIG) for name in CHAIN}


def _bytes(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for role in ("boxes", "masks", "polygons", "descriptions")
        for path in sorted((root / "data" / role).iterdir())
    }


def test_every_shard_has_a_table_in_every_stage(root: Path, results: dict[str, StageResult]) -> None:
    names = {"00000.parquet", "00001.parquet", "summary.json"}
    assert all(
        {path.name for path in (root / "data" / role).iterdir()} == names for role in ("boxes", "masks", "polygons")
    )


def test_boxes_name_their_instance_image_and_phrase(root: Path, results: dict[str, StageResult]) -> None:
    rows = read_rows(root / "data" / "boxes", BOXES)
    assert results["detect"].metrics["boxes"] == len(rows) > 8
    assert results["detect"].metrics["images"] == 8
    assert len({row["instance"] for row in rows}) == len(rows)
    assert {row["detector"] for row in rows} == {"embedded/shapes"}
    assert all(row["shard"].startswith("images/") and row["url"].startswith("http://") for row in rows)


def test_masks_are_measured_against_the_exact_ones(root: Path, results: dict[str, StageResult]) -> None:
    metrics = results["segment"].metrics
    assert metrics["mask_iou"] > 0.85
    assert metrics["matched_share"] > 0.95
    assert metrics["masks"] == len(read_rows(root / "data" / "masks", MASKS)) == results["detect"].metrics["boxes"]


def test_polygons_describe_the_masks_and_the_funnel_adds_up(root: Path, results: dict[str, StageResult]) -> None:
    rows = read_rows(root / "data" / "polygons", POLYGONS)
    funnel = results["contour"].tables["funnel"]
    assert funnel[0]["kept"] == results["segment"].metrics["masks"]
    assert funnel[-1]["kept"] == len(rows) == results["contour"].metrics["kept"]
    for row in rows:
        mask = decode_rle({"size": [row["height"], row["width"]], "counts": row["rle_counts"]})
        polygons = [np.array(polygon) for polygon in row["polygons"]]
        assert polygons_mask_iou(polygons, mask) == pytest.approx(row["roundtrip_iou"], abs=1e-6)
        assert row["points"] == sum(map(len, polygons))
        assert mask[int(row["point"][1] * 96), int(row["point"][0] * 96)]
        assert mask_box(mask) is not None


def test_every_instance_is_described(root: Path, results: dict[str, StageResult]) -> None:
    rows = read_rows(root / "data" / "descriptions", DESCRIPTIONS)
    assert results["describe"].metrics["described"] == len(rows) == results["contour"].metrics["kept"]
    for row in rows:
        assert row["phrase"] in row["description"]
        assert row["description_source"] in ("caption", "ambiguous")


def test_a_second_run_writes_nothing_and_reports_the_same(root: Path, results: dict[str, StageResult]) -> None:
    tables = sorted((root / "data").glob("*/*.parquet"))
    before = {path: path.stat().st_mtime_ns for path in tables}
    assert {name: run_stage(name, root, CONFIG) for name in CHAIN} == results
    assert {path: path.stat().st_mtime_ns for path in tables} == before


def test_who_does_the_work_and_how_fast_makes_no_shard_again(root: Path, results: dict[str, StageResult]) -> None:
    """`runner: ray` would start a Ray here if there were anything to do."""
    who = {"runner": "ray", "workers": 3, "device_hour_price": 9.0}
    sections: dict[str, dict[str, object]] = {name: who | {"batch_size": 2} for name in CHAIN}
    sections["contour"] = who | {"tolerance": CONFIG.contour.tolerance}
    tables = sorted((root / "data").glob("*/*.parquet"))
    before = {path: path.stat().st_mtime_ns for path in tables}
    for name in CHAIN:
        run_stage(name, root, Config.model_validate(sections))
    assert {path: path.stat().st_mtime_ns for path in tables} == before


def test_a_lost_shard_is_made_again_byte_for_byte(root: Path, results: dict[str, StageResult]) -> None:
    before = _bytes(root)
    for role in ("boxes", "masks", "polygons", "descriptions"):
        (root / "data" / role / "00001.parquet").write_bytes(b"half a table")
        (root / "data" / role / "00007.parquet").write_bytes(b"of an earlier, bigger run")
        (root / "data" / role / "00000.parquet.tmp").write_bytes(b"of a killed one")
    for name in CHAIN:
        run_stage(name, root, CONFIG)
    assert _bytes(root) == before


def test_a_new_tolerance_changes_polygons_and_nothing_before_them(root: Path, results: dict[str, StageResult]) -> None:
    coarse = Config.model_validate({"contour": {"tolerance": 0.05}})
    masks = sorted((root / "data" / "masks").glob("*.parquet"))
    before = {path: path.stat().st_mtime_ns for path in masks}
    run_stage("segment", root, coarse)
    assert {path: path.stat().st_mtime_ns for path in masks} == before
    changed = run_stage("contour", root, coarse).metrics["points"]
    assert changed < results["contour"].metrics["points"]
    run_stage("contour", root, CONFIG)


def test_without_its_input_a_stage_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no shard here; run the stage that writes it first"):
        run_stage("segment", tmp_path, CONFIG)


def test_captions_say_what_html_entities_stand_for(tmp_path: Path) -> None:
    write_refshapes(tmp_path / "data" / "images", shards=1)
    table = tmp_path / "data" / "images" / "00000.parquet"
    rows = [
        row | {"text": row["text"] and f"&quot;Q&amp;A&#39;s&quot; {row['text']}"} for row in read_rows(table, INGEST)
    ]
    write_table(rows, INGEST, table)
    run_stage("detect", tmp_path, CONFIG)
    boxes = read_rows(tmp_path / "data" / "boxes", BOXES)
    assert boxes
    for row in boxes:
        assert row["caption"].startswith('"Q&A\'s" ')
        said = row["caption"][row["span_start"] : row["span_end"]].lower()
        assert row["span_start"] < 0 or said.startswith(row["phrase"]), "its plural, if anything"
    assert any(row["span_start"] > 0 for row in boxes)


def test_an_annotated_object_without_an_outline_takes_its_name_all_the_same(tmp_path: Path) -> None:
    write_refshapes(tmp_path / "data" / "images", shards=1, per_shard=1)
    table = tmp_path / "data" / "images" / "00000.parquet"
    drawn = scene(RefShapesConfig(), 2, "train", 0)
    shape = {"phrase": phrase(drawn.objects[0]), "box": list(drawn.objects[0].box)}
    found = {}
    for crowd in ([], [{"phrase": shape["phrase"], "box": [0, 0, 0, 0], "crowd": True}]):
        annotated = {"annotations": json.dumps([shape, *crowd])}
        write_table([row | annotated for row in read_rows(table, INGEST)], INGEST, table)
        for name in CHAIN:
            run_stage(name, tmp_path, CONFIG)
        (row,) = read_rows(tmp_path / "data" / "descriptions", DESCRIPTIONS)
        found[len(crowd)] = row["description_source"]
    assert found == {0: "caption", 1: "ambiguous"}
