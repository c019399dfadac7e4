"""`simpleseg data check`: counts against the published ones, missing files, empty and broken outlines, stray boxes."""

import json
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from flows.cli.app import app
from simpleseg_core.config import ReferringConfig
from simpleseg_core.sources.referring import check_referring, find_sets
from simpleseg_core.sources.referring._published import _PUBLISHED, Published, Sizes
from tests.sources.referring.originals import instances, rectangle, ref, small_refcoco, write_refer

SMALL = Published(Sizes(5, 6, 8), {"train": Sizes(2, 3, 4), "val": Sizes(1, 1, 2), "testA": Sizes(1, 1, 1)})


def _check(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["data", "check", *map(str, arguments)])


@pytest.mark.parametrize("key", [key for key, known in _PUBLISHED.items() if known.splits])
def test_the_published_splits_add_up_to_the_published_totals(key: tuple[str, str | None]) -> None:
    known = _PUBLISHED[key]
    for name in ("refs", "expressions"):
        parts = [getattr(split, name) for split in known.splits.values()]
        if None not in parts:
            assert sum(parts) == getattr(known.total, name)
    if key[1] in ("unc", "umd"):  # these divide images, the others objects
        assert sum(split.images or 0 for split in known.splits.values()) == known.total.images


def test_a_small_set_is_a_part_and_sound(tmp_path: Path) -> None:
    report = check_referring(ReferringConfig(dataset="refcoco", root=small_refcoco(tmp_path)))
    assert report.partial and report.ok and not report.differs
    assert {split.split: split.found for split in report.splits} == {
        "train": Sizes(2, 3, 4), "val": Sizes(1, 1, 2), "testA": Sizes(1, 1, 1), "testB": Sizes(1, 1, 1),
        "all": Sizes(5, 6, 8),
    }  # fmt: skip


def test_a_whole_set_must_have_the_published_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(_PUBLISHED, ("refcoco", "unc"), SMALL)
    root = small_refcoco(tmp_path / "refcoco")
    result = _check(root)
    assert result.exit_code == 0, result.output
    assert result.output.count("the same") == 4
    write_refer(
        root, [ref(1, 1, 10, "train", "man", "men", "boy", "he")], json.loads((root / "instances.json").read_text())
    )
    result = _check(root)
    assert result.exit_code == 1
    assert "differs: images: 1, published 2; refs: 1, published 3" in " ".join(result.output.split())
    config = ReferringConfig(dataset="refcoco", root=root, max_images=1)
    assert check_referring(config).partial


def test_what_is_wrong_inside_is_found(tmp_path: Path) -> None:
    outlines: dict[int, tuple[int, Any]] = {
        1: (1, rectangle(4, 4, 20, 20)),
        2: (1, [[1.0, 1.0, 2.0, 2.0]]),
        3: (2, {"size": [48, 64], "counts": [3]}),
        4: (3, rectangle(4, 4, 20, 20)),
    }
    content = instances(outlines)
    content["annotations"][0]["bbox"] = [50, 4, 20, 12]
    refs = [ref(key, image, key, "val", "dog") for key, (image, _) in outlines.items()]
    refs[0]["sentences"].append({"sent": " "})
    root = write_refer(tmp_path / "refcoco", refs, content)
    (root / "images" / "COCO_train2014_000000000003.jpg").unlink()
    report = check_referring(ReferringConfig(dataset="refcoco", root=root))
    assert report.outside == ["image 000000000001, object 0 (person): 50, 4, 70, 16"]
    assert report.empty == ["image 000000000001, object 1 (person)"]
    assert report.wordless == ["image 000000000001, ref 1"]
    assert ["do not add up" in each for each in report.broken] == [True]
    assert [Path(each).name for each in report.missing] == ["COCO_train2014_000000000003.jpg"]
    assert not report.ok
    result = _check(root)
    assert result.exit_code == 1
    for words in ("missing images", "cannot be used", "empty outlines", "without words", "outside their image"):
        assert re.search(f"{words}.*: 1\n", result.output)


def test_images_that_do_not_fit_their_annotations_are_found(tmp_path: Path) -> None:
    root = small_refcoco(tmp_path / "refcoco")
    resized, broken = (root / "images" / f"COCO_train2014_{image:012d}.jpg" for image in (1, 2))
    Image.new("RGB", (32, 24)).save(resized)
    broken.write_text("no image")
    report = check_referring(ReferringConfig(dataset="refcoco", root=root))
    assert not report.ok
    first, second = report.broken
    assert first.startswith(f"{resized}: 32 x 24 pixels, but annotated in 64 x 48")
    assert second.startswith(f"{broken}: not a readable image")
    result = _check(root)
    assert result.exit_code == 1
    assert "images and outlines that cannot be used: 2" in result.output


def test_every_set_and_division_of_a_folder_is_found(tmp_path: Path) -> None:
    small_refcoco(tmp_path / "refcoco")
    refs = [ref(1, 7, 1, "train", "dog")]
    content = instances({1: (7, rectangle(2, 2, 9, 9))})
    for name in ("refs(umd).p", "refs(google).p"):
        write_refer(tmp_path / "refcocog", refs, content, name)
    write_refer(tmp_path / "grefcoco", refs, content, "grefs(unc).json")
    assert [config.name for config in find_sets(tmp_path)] == ["grefcoco", "refcoco", "refcocog", "refcocog-google"]
    assert [config.name for config in find_sets(tmp_path / "grefcoco")] == ["grefcoco"]
    result = _check(tmp_path)
    assert result.exit_code == 0, result.output
    assert result.output.count("a part of it") >= 4


def test_a_set_is_known_by_its_files_or_by_name(tmp_path: Path) -> None:
    root = small_refcoco(tmp_path / "downloads")
    with pytest.raises(FileNotFoundError, match=r"no referring data set here.* or give --dataset"):
        find_sets(root)
    assert find_sets(root, "refcoco")[0].root == root
    (root / "refs(unc).p").rename(root / "refs(umd).p")
    assert [config.name for config in find_sets(root)] == ["refcocog"]
    result = _check(root, "--dataset", "refcocoplus")
    assert result.exit_code == 2
    assert "choose one of refcoco, refcoco+" in result.output


def test_without_a_folder_the_configured_sets_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    (tmp_path / "params.yaml").write_text("seed: 1\n")
    monkeypatch.chdir(tmp_path)
    result = _check()
    assert result.exit_code == 2
    assert "data.referring is empty" in result.output
    small_refcoco(tmp_path / "rc")
    small_refcoco(tmp_path / "plus")
    sets = "[{dataset: refcoco, root: rc}, {dataset: refcoco+, root: plus}]"
    (tmp_path / "params.yaml").write_text(f"data: {{referring: {sets}}}\n")
    result = _check()
    assert result.exit_code == 0, result.output
    assert "refcoco, split by unc: rc" in result.output and "refcoco+, split by unc: plus" in result.output


def test_a_broken_set_is_one_clear_error(tmp_path: Path) -> None:
    root = small_refcoco(tmp_path / "refcoco")
    (root / "refs(unc).p").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    result = _check(root)
    assert result.exit_code == 2
    assert "it asks for os.system" in " ".join(result.output.split())
    assert "Traceback" not in result.output
    assert _check(tmp_path / "nowhere").exit_code == 2


def test_photographs_with_coco_outlines_are_sound(coco_tiny: Path, tmp_path: Path) -> None:
    content = json.loads((coco_tiny / "instances.json").read_text())
    objects = [each for each in content["annotations"] if not each.get("iscrowd")][:20]
    refs = [ref(n, each["image_id"], each["id"], "val", "thing") for n, each in enumerate(objects)]
    (tmp_path / "refs(unc).p").write_bytes(pickle.dumps(refs, 2))
    (tmp_path / "instances.json").write_text(json.dumps(content))
    report = check_referring(ReferringConfig(dataset="refcoco", root=tmp_path, images=coco_tiny / "images"))
    assert report.ok and report.splits[-1].found.expressions == 20
    assert not report.outside and not report.empty
