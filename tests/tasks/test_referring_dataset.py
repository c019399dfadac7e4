"""The dataset stage on referring data sets that share images: benchmarks, training without leaks, sources by weight."""

import json
import logging
import pickle
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from simpleseg_core.config import Config
from simpleseg_core.contract import StageResult
from simpleseg_core.data.perceptual_hash import phash
from simpleseg_core.data.records import CONVERSATIONS, DESCRIPTIONS, INGEST, PROMPTS, read_rows, write_table
from simpleseg_core.data.shards import ImageStore, write_shard
from simpleseg_core.geometry import decode_rle, polygons_mask_iou
from simpleseg_core.grammar import parse_polygons
from simpleseg_core.instructions.tokens import answer_counter
from simpleseg_core.sources._outlines import outline_rle
from tests.sources.referring.originals import (
    HEIGHT,
    WIDTH,
    instances,
    picture,
    rectangle,
    ref,
    small_refcoco,
    write_refer,
)
from tests.tasks.annotation_inputs import run_stage, write_refshapes

SQUARE = rectangle(8, 8, 40, 30)
COCO_IDS = (1, 2, 3, 4, 5)
"""Images of `small_refcoco`: 1 and 2 are for training."""


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """refCOCO, a refCOCOg that trains on refCOCO's val and tests on its train images, and a gRefCOCO."""
    root = tmp_path_factory.mktemp("sets")
    small_refcoco(root / "refcoco")
    outlines = {10: (3, SQUARE), 20: (2, SQUARE), 30: (6, SQUARE), 40: (7, SQUARE), 50: (4, [[1.0, 1.0, 2.0, 2.0]])}
    refs = [
        ref(1, 3, 10, "train", "a woman that sits"),  # refCOCO's val image
        ref(2, 2, 20, "test", "a dog on the left"),  # refCOCO's train image
        ref(3, 6, 30, "train", "a cat", "the cat"),
        ref(4, 7, 40, "train", "a bird"),
        ref(5, 4, 50, "val", "an outline of two points"),
        ref(6, 4, 50, "val", ""),
    ]
    write_refer(root / "refcocog", refs, instances(outlines), "refs(umd).p")
    copy = root / "refcocog" / "images" / "COCO_train2014_000000000007.jpg"
    copy.write_bytes(picture(5))  # the picture of refCOCO's testB under another id
    refs = [
        ref(1, 8, [10], "train", "left one", no_target=False),
        ref(2, 8, [10, 20], "train", "both", no_target=False),
        ref(3, 8, [-1], "train", "the horse", no_target=True),
        ref(4, 9, [-1], "val", "nobody", no_target=True),
    ]
    content = instances({10: (8, rectangle(2, 2, 20, 20)), 20: (8, rectangle(30, 2, 60, 20))}, images=(9,))
    write_refer(root / "grefcoco", refs, content, "grefs(unc).json")
    return root


def _config(sets: Path, *names: str, data: dict[str, Any] | None = None, **dataset: Any) -> Config:
    referring = [{"dataset": name, "root": str(sets / name)} for name in names]
    return Config.model_validate(
        {
            "data": {"referring": referring, **(data or {})},
            "dataset": {"template_variety": 1, "max_turns": 2, **dataset},
            "contour": {"tolerance": 0.02},
        }
    )


def _run(root: Path, config: Config) -> StageResult:
    if not (root / "data" / "images").is_dir():
        write_refshapes(root / "data" / "images", shards=1, per_shard=1)
        write_table([], DESCRIPTIONS, root / "data" / "descriptions" / "00000.parquet")
    return run_stage("dataset", root, config)


def _rows(root: Path, name: str) -> list[dict[str, Any]]:
    schema = CONVERSATIONS if name in ("sft", "pretrain") else PROMPTS
    return read_rows(root / "data" / "dataset" / f"{name}.parquet", schema)


def _used(root: Path, name: str) -> set[int]:
    return {int(row["image"]) for row in _rows(root, name)}


def test_splits_become_benchmarks_with_exact_masks(sets: Path, tmp_path: Path) -> None:
    result = _run(tmp_path, _config(sets, "refcoco", "refcocog", "grefcoco"))
    files = {file.stem for file in (tmp_path / "data" / "dataset" / "benchmarks").iterdir()}
    assert files == {"refcoco-val", "refcoco-testA", "refcoco-testB", "refcocog-val", "refcocog-test", "grefcoco-val"}
    rows = _rows(tmp_path, "benchmarks/refcoco-val")
    assert [(row["expression"], row["benchmark"]) for row in rows] == [
        (text, "refcoco/val") for text in sorted(("woman", "lady"), key=[row["expression"] for row in rows].index)
    ]
    mask = decode_rle({"size": [HEIGHT, WIDTH], "counts": rows[0]["rle_counts"]})
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[4:30, 4:30] = True
    np.testing.assert_array_equal(mask, expected)
    (nobody,) = _rows(tmp_path, "benchmarks/grefcoco-val")
    assert (nobody["targets"], nobody["box"], nobody["kind"]) == (0, None, "none")
    assert result.metrics["refcoco_val_rows"] == 2
    # An outline of two points holds no pixel, and an empty text asks nothing.
    assert _rows(tmp_path, "benchmarks/refcocog-val") == []


def test_each_image_is_stored_once_as_it_is(sets: Path, tmp_path: Path) -> None:
    _run(tmp_path, _config(sets, "refcoco", "refcocog"))
    (tar,) = (tmp_path / "data" / "dataset" / "images").glob("referring-*.tar")
    store = ImageStore(tmp_path / "data")
    assert sorted(store.keys("dataset/images/" + tar.name)) == [f"{index:012d}" for index in range(1, 8)]
    row = _rows(tmp_path, "benchmarks/refcoco-val")[0]
    assert store.read_bytes(row["shard"], row["image"]) == picture(3)


def test_no_training_image_is_in_a_split_of_any_set(sets: Path, tmp_path: Path) -> None:
    result = _run(tmp_path, _config(sets, "refcoco", "refcocog"))
    # 2 is tested by refCOCOg, 3 validates refCOCO, 7 is a copy of refCOCO's 5.
    assert _used(tmp_path, "sft") == _used(tmp_path, "rl") == {1, 6}
    assert result.metrics["leaked_images"] == 3
    assert list(result.tables["leakage"]) == [
        {"source": "refcoco", "split": "refcocog/test", "by": "key", "images": 1, "training": "dropped"},
        {"source": "refcocog", "split": "refcoco/testB", "by": "phash", "images": 1, "training": "dropped"},
        {"source": "refcocog", "split": "refcoco/val", "by": "key", "images": 1, "training": "dropped"},
    ]


def test_a_split_that_is_no_benchmark_is_kept_out_of_training_too(sets: Path, tmp_path: Path) -> None:
    config = _config(sets, "refcoco", "refcocog")
    only = [each.model_copy(update={"benchmarks": ("val",)}) for each in config.data.referring]
    config = config.model_copy(update={"data": config.data.model_copy(update={"referring": tuple(only)})})
    _run(tmp_path, config)
    files = {file.stem for file in (tmp_path / "data" / "dataset" / "benchmarks").iterdir()}
    assert files == {"refcoco-val", "refcocog-val"}
    assert _used(tmp_path, "sft") == {1, 6}


def test_the_published_composition_is_an_option_and_tells_what_leaks(sets: Path, tmp_path: Path) -> None:
    result = _run(tmp_path, _config(sets, "refcoco", "refcocog", leakage_filter=False, passes=2))
    assert _used(tmp_path, "sft") == {1, 2, 3, 6, 7}
    assert result.metrics["leaked_images"] == 3
    assert {row["training"] for row in result.tables["leakage"]} == {"kept"}
    asked = [turn["question"] for row in _rows(tmp_path, "sft") for turn in row["turns"]]
    assert asked.count("outline of left man") == asked.count("outline of a bird") == 2


def test_answers_outline_what_is_meant(sets: Path, tmp_path: Path) -> None:
    _run(tmp_path, _config(sets, "grefcoco"))
    said = {turn["question"]: turn["answer"] for row in _rows(tmp_path, "sft") for turn in row["turns"]}
    parts = {question: len(parse_polygons(text, strict=True).polygons) for question, text in said.items()}
    assert parts == {"outline of left one": 1, "outline of both": 2, "outline of the horse": 0}
    assert {row["source"] for row in _rows(tmp_path, "sft")} == {"grefcoco"}


def test_sources_are_mixed_by_weight(sets: Path, tmp_path: Path) -> None:
    data = {"train_images": 4, "rl_images": 3, "benchmark_queries": {"val": 2}}
    weights = {"refshapes": 0.5, "refcoco": 3, "grefcoco": 0}
    config = _config(sets, "refcoco", "grefcoco", data=data, source_weights=weights)
    result = _run(tmp_path, config)
    rows = _rows(tmp_path, "sft")
    samples = [row["sample"] for row in rows]
    assert len(set(samples)) == len(samples)
    asked = [turn["question"] for row in rows if row["source"] == "refcoco" for turn in row["turns"]]
    assert sorted({asked.count(each) for each in asked}) == [3]
    assert {row["source"] for row in rows} <= {"refcoco", "refshapes"}
    assert 0 < len({row["image"] for row in rows if row["source"] == "refshapes"}) < 4
    prompts = _rows(tmp_path, "rl")
    assert len({row["sample"] for row in prompts}) == len(prompts)
    table = [row for row in result.tables["composition"] if row["table"] == "sft"]
    assert sum(float(str(row["share"])) for row in table) == pytest.approx(1, abs=1e-3)
    assert {row["source"] for row in result.tables["composition"]} == {"refcoco", "refshapes", "grefcoco"}


def test_rl_takes_as_many_random_images_as_asked_for(sets: Path, tmp_path: Path) -> None:
    names = ("refcoco", "refcocog", "grefcoco")
    drawn = set()
    for seed in range(6):
        config = _config(sets, *names, data={"rl_images": 2}).model_copy(update={"seed": seed})
        _run(tmp_path, config)
        used = _used(tmp_path, "rl")
        assert len(used) == 2 and used < {1, 6, 8}
        drawn |= used
    assert drawn == {1, 6, 8}


def test_the_same_configuration_gives_the_same_files(sets: Path, tmp_path: Path) -> None:
    config = _config(sets, "refcoco", "refcocog", "grefcoco")

    def contents() -> dict[str, bytes]:
        _run(tmp_path, config)
        return {path.name: path.read_bytes() for path in sorted((tmp_path / "data" / "dataset").rglob("*.*"))}

    first = contents()
    assert contents() == first
    assert "referring-00000.tar" in first


def test_the_composition_is_printed_stored_and_says_whose_tokens_it_counts(
    sets: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, repository: Path
) -> None:
    model = {"model": {"base": str(repository / "checkpoints" / "nano-base")}}
    config = Config.model_validate(_config(sets, "refcoco").model_dump() | model)
    with caplog.at_level(logging.INFO):
        _run(tmp_path, config)
    assert "table" in caplog.text and "refcoco  text->mask" in caplog.text
    stored = json.loads((tmp_path / "data" / "dataset" / "composition.json").read_text())
    assert stored["tokenizer"].startswith("tokenizer of ") and stored["tokenizer"].endswith("nano-base")
    assert stored["settings"]["passes"] == 1 and stored["answer_tokens"]["sft"]["over_limit"] == 0


def test_coco_and_our_own_annotations_are_kept_clean_of_referring_splits(sets: Path, tmp_path: Path) -> None:
    outline = outline_rle(SQUARE, WIDTH, HEIGHT, Path("x"), 1)
    assert outline is not None
    box = [8 / WIDTH, 8 / HEIGHT, 40 / WIDTH, 30 / HEIGHT]
    entry = {"phrase": "dog", "box": box, "rle_counts": outline["counts"], "crowd": False}
    image = {"shard": "images/00000.tar", "width": WIDTH, "height": HEIGHT, "phash": ""}
    numbers = (3, *range(20, 40))  # 3 validates refCOCO
    ingested = [
        {"row_id": f"{n}", "url": f"coco:{n}", "status": "ok", "image": f"{n:012d}", **image}
        | {"annotations": json.dumps([entry])}
        for n in numbers
    ]
    copy = phash(Image.open(BytesIO(picture(4))))  # of refCOCO's testA, under another name
    described = [{"image": key, **image, "phrase": "dog", "description": "a dog", "box": box, "point": [0.4, 0.4]}
                 | {"rle_counts": outline["counts"], "polygons": [[[0.1, 0.1], [0.5, 0.1], [0.5, 0.5]]]}
                 for key in ("web1", "web2")]  # fmt: skip
    ingested += [{**ingested[0], "image": "web1", "annotations": "", "phash": copy}]
    ingested += [{**ingested[0], "image": "web2", "annotations": "", "phash": f"{int(copy, 16) ^ 0xFFFFFF:016x}"}]
    bodies = ((f"{row['image']}.jpg", picture(number)) for number, row in enumerate(ingested))
    write_shard(bodies, tmp_path / "data" / "images" / "00000.tar")
    write_table(ingested, INGEST, tmp_path / "data" / "images" / "00000.parquet")
    write_table(described, DESCRIPTIONS, tmp_path / "data" / "descriptions" / "00000.parquet")
    data = {"source": "coco", "coco": {"root": "."}}
    config = _config(
        sets, "refcoco", data=data, source_weights={"coco": 1}, sft_weights={"bbox->mask": 1, "text->mask": 1}
    )
    result = _run(tmp_path, config)
    trained = {row["image"] for row in _rows(tmp_path, "sft") if row["source"] == "coco"}
    validated = {row["image"] for row in _rows(tmp_path, "benchmarks/coco-val")}
    assert trained and validated and not trained & validated
    assert "000000000003" not in trained
    assert {row["image"] for row in _rows(tmp_path, "pretrain")} == {"web2"}
    assert {
        "source": "annotations",
        "split": "refcoco/testA",
        "by": "phash",
        "images": 1,
        "training": "dropped",
    } in list(result.tables["leakage"])


def test_what_is_missing_is_said_before_anything_is_written(sets: Path, tmp_path: Path) -> None:
    small_refcoco(tmp_path / "broken" / "refcoco")
    for index in COCO_IDS[1:3]:
        (tmp_path / "broken" / "refcoco" / "images" / f"COCO_train2014_{index:012d}.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"000002\.jpg: no such image; 2 of 5 images .* `simpleseg data check`"):
        _run(tmp_path, _config(tmp_path / "broken", "refcoco"))
    assert not (tmp_path / "data" / "dataset").exists()
    with pytest.raises(ValueError, match=r"names refcocog, did you mean `refcoco`\?: the sources are annotations"):
        _run(tmp_path, _config(sets, "refcoco", source_weights={"refcocog": 2}))


def test_images_of_another_size_than_annotated_are_refused(tmp_path: Path) -> None:
    root = small_refcoco(tmp_path / "sets" / "refcoco")
    content = json.loads((root / "instances.json").read_text())
    for image in content["images"]:
        image["width"] = 80
    (root / "instances.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="64 x 48 pixels, but refcoco annotates it in 80 x 48"):
        _run(tmp_path, _config(tmp_path / "sets", "refcoco"))


@pytest.fixture(scope="module")
def photographs(coco_tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real photographs with their COCO outlines as a refCOCO of two training images and one to validate on."""
    root = tmp_path_factory.mktemp("photographs") / "refcoco"
    content = json.loads((coco_tiny / "instances.json").read_text())
    objects = [each for each in content["annotations"] if not each.get("iscrowd") and each["area"] > 4000]
    images = list(dict.fromkeys(each["image_id"] for each in objects))[:3]
    split = dict(zip(images, ("train", "train", "val"), strict=True))
    chosen = [each for each in objects if each["image_id"] in split]
    refs = [
        ref(n, each["image_id"], each["id"], split[each["image_id"]], f"thing {n}") for n, each in enumerate(chosen)
    ]
    root.mkdir()
    (root / "refs(unc).p").write_bytes(pickle.dumps(refs, 2))
    (root / "instances.json").write_text(json.dumps(content))
    (root / "images").symlink_to(coco_tiny / "images")
    return root


@pytest.mark.parametrize("limit", [90, 1024])
def test_photographs_are_outlined_within_the_limit_of_the_models_own_tokens(
    photographs: Path, tmp_path: Path, repository: Path, limit: int
) -> None:
    base = str(repository / "checkpoints" / "nano-base")
    config = _config(photographs.parent, "refcoco", max_answer_tokens=limit).model_dump()
    config |= {"contour": {"tolerance": 0.005}, "model": {"base": base}}
    _run(tmp_path, Config.model_validate(config))
    content = json.loads((photographs / "instances.json").read_text())
    truth = {f"{each['image_id']:012d}": [] for each in content["annotations"]}
    for each in content["annotations"]:
        truth[f"{each['image_id']:012d}"].append(each)
    tokens = answer_counter(Config.model_validate(config).model)
    turns = [(row, turn) for row in _rows(tmp_path, "sft") for turn in row["turns"]]
    assert turns
    for row, turn in turns:
        parsed = parse_polygons(turn["answer"], strict=True)
        assert parsed.error is None
        best = max(polygons_mask_iou(parsed.polygons, _annotated(each, row)) for each in truth[row["image"]])
        assert best > (0.7 if limit == 90 else 0.94)
        assert tokens.count(turn["answer"]) <= limit
    stored = json.loads((tmp_path / "data" / "dataset" / "composition.json").read_text())
    assert stored["answer_tokens"]["sft"]["max"] == max(tokens.count(turn["answer"]) for _, turn in turns)


def _annotated(annotation: dict[str, Any], row: dict[str, Any]) -> np.ndarray:
    rle = outline_rle(annotation["segmentation"], row["width"], row["height"], Path("instances.json"), annotation["id"])
    return np.zeros((row["height"], row["width"]), bool) if rle is None else decode_rle(rle)
