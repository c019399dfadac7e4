"""COCO instances: all three forms of outlines, crowds marked, and clear errors before any work starts."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from simpleseg_core.config import CocoConfig
from simpleseg_core.data.coco import coco_rows, is_held_out, read_coco
from simpleseg_core.geometry import decode_rle

SQUARE = [2, 2, 6, 2, 6, 6, 2, 6]


def _content() -> dict[str, Any]:
    mask = np.zeros((10, 20), np.uint8)
    mask[0:5, 10:20] = 1
    compressed = coco_mask.encode(np.asfortranarray(mask))
    runs = {"size": [10, 20], "counts": [100, 5, 95]}
    return {
        "images": [
            {"id": 7, "file_name": "b.png", "width": 20, "height": 10},
            {"id": 3, "file_name": "train2017/a.png", "width": 20, "height": 10},
        ],
        "categories": [{"id": 1, "name": "Dog"}, {"id": 2, "name": "person"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 1, "segmentation": [SQUARE, [0, 0, 1, 1]], "iscrowd": 0},
            {"id": 2, "image_id": 7, "category_id": 2, "segmentation": runs, "iscrowd": 1},
            {"id": 3, "image_id": 7, "category_id": 2, "iscrowd": 0}
            | {"segmentation": {"size": [10, 20], "counts": compressed["counts"].decode()}},
            {"id": 4, "image_id": 7, "category_id": 1, "segmentation": [[1, 1, 2, 2]], "iscrowd": 0},
        ],
    }


def _write(folder: Path, content: object) -> CocoConfig:
    (folder / "images").mkdir(exist_ok=True)
    for name in ("a.png", "b.png"):
        Image.new("RGB", (20, 10)).save(folder / "images" / name)
    (folder / "instances.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return CocoConfig(root=folder)


def test_polygons_runs_and_compressed_runs_become_masks(tmp_path: Path) -> None:
    first, second = read_coco(_write(tmp_path, _content()))
    assert (first.id, first.objects) == (3, ())
    dog, crowd, person = second.objects  # the outline of two points is gone
    assert [(item.category, item.crowd) for item in second.objects] == [
        ("dog", False),
        ("person", True),
        ("person", False),
    ]
    assert dog.box == (0.1, 0.2, 0.3, 0.6)
    assert decode_rle(dog.rle)[2:6, 2:6].all()
    assert int(decode_rle(dog.rle).sum()) == 16
    assert int(decode_rle(crowd.rle).sum()) == 5
    assert person.box == (0.5, 0, 1, 0.5)


def test_rows_for_ingest_carry_the_annotations(tmp_path: Path) -> None:
    (_, _, none, _), (key, body, caption, annotations) = coco_rows(_write(tmp_path, _content()))
    assert (none, key, caption) == ("", "000000000007", "dog, person")
    assert body == (tmp_path / "images" / "b.png").read_bytes()
    dog, crowd, _ = json.loads(annotations)
    assert set(dog) == {"phrase", "box", "rle_counts", "crowd"}
    assert (dog["phrase"], dog["box"], crowd["crowd"]) == ("dog", [0.1, 0.2, 0.3, 0.6], True)


def test_as_many_images_are_read_as_asked_for(tmp_path: Path) -> None:
    config = _write(tmp_path, _content()).model_copy(update={"max_images": 1})
    assert [image.id for image in read_coco(config)] == [3]


def _without(section: str, key: str) -> dict[str, Any]:
    content = _content()
    for item in content[section]:
        item.pop(key, None)
    return content


def _with(section: str, **changes: object) -> dict[str, Any]:
    content = _content()
    content[section][0] |= changes
    return content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "not JSON"),
        ([], "no list `images`"),
        ({"images": [], "annotations": {}, "categories": []}, "no list `annotations`"),
        (_without("annotations", "image_id"), "an entry of `annotations` has no `image_id`"),
        (_without("annotations", "segmentation"), "an entry of `annotations` has no `segmentation`"),
        (_without("images", "width"), "an entry of `images` has no `width`"),
        (_with("images", height="10"), "`height` of an entry of `images` is '10'"),
        (_with("annotations", image_id=99), r"annotations name images \[99\]"),
        (_with("annotations", category_id=9), "annotation 1 has category_id 9"),
        (_with("annotations", segmentation="dog"), "annotation 1: segmentation is neither polygons nor RLE"),
        (_with("annotations", segmentation={"size": [5, 5], "counts": [25]}), "annotation 1: RLE of size"),
    ],
)
def test_a_broken_annotation_file_is_named_with_the_field(tmp_path: Path, content: object, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        read_coco(_write(tmp_path, content))
    assert "instances.json" in str(error.value)


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    config = _write(tmp_path, _content())
    (tmp_path / "images" / "b.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"images/b\.png: no such image"):
        read_coco(config)


def test_a_file_name_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(b"secret")
    root = tmp_path / "coco"
    root.mkdir()
    with pytest.raises(FileNotFoundError):
        read_coco(_write(root, _with("images", file_name="../../secret.png")))


def test_a_folder_in_a_file_name_tells_images_of_one_name_apart(tmp_path: Path) -> None:
    content = _content()
    for item, folder in zip(content["images"], ("cam1", "cam2"), strict=True):
        item["file_name"] = f"{folder}/0001.png"
    config = _write(tmp_path, content)
    (tmp_path / "images" / "cam1").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "cam2").symlink_to(tmp_path / "elsewhere")
    for file in (tmp_path / "images" / "cam1" / "0001.png", tmp_path / "elsewhere" / "0001.png"):
        Image.new("RGB", (20, 10)).save(file)
    second, first = read_coco(config)
    assert first.path == tmp_path / "images" / "cam1" / "0001.png"
    assert second.path == tmp_path / "cam2" / "0001.png"


@pytest.mark.parametrize("change", ["resized", "turned"])
def test_an_image_of_another_size_than_the_annotated_one_is_named(tmp_path: Path, change: str) -> None:
    config, exif = _write(tmp_path, _content()), Image.Exif()
    if change == "turned":
        exif[0x0112] = 6  # a quarter turn clockwise
    Image.new("RGB", (40, 20) if change == "resized" else (20, 10)).save(tmp_path / "images" / "b.png", exif=exif)
    found = "40 x 20" if change == "resized" else "10 x 20"
    with pytest.raises(ValueError, match=rf"b\.png: {found} pixels .* 20 x 10: give the images that were annotated"):
        list(coco_rows(config))


def test_an_image_that_cannot_be_opened_is_left_to_ingest(tmp_path: Path) -> None:
    config = _write(tmp_path, _content())
    (tmp_path / "images" / "b.png").write_text("no image")
    assert [body for _, body, _, _ in coco_rows(config)][1] == b"no image"


def test_the_held_out_images_are_a_fixed_share_whatever_else_there_is() -> None:
    keys = [f"{index:012d}" for index in range(2000)]
    held = [key for key in keys if is_held_out(key, 0, 0.2)]
    assert 0.15 < len(held) / len(keys) < 0.25
    assert held != [key for key in keys if is_held_out(key, 1, 0.2)]
    assert {key for key in keys if is_held_out(key, 0, 0.1)} <= set(held)
