"""COCO instances: all three forms of outlines, crowds marked, and clear errors before any work starts."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from simpleseg_core.config import CocoConfig, ContourConfig
from simpleseg_core.geometry import decode_rle, encode_rle
from simpleseg_core.sources.coco import annotated_images, coco_rows, is_held_out, read_coco

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
    dog, crowd, person, line = second.objects
    assert [(item.category, item.crowd) for item in second.objects] == [
        ("dog", False),
        ("person", True),
        ("person", False),
        ("dog", False),
    ]
    assert dog.outline and crowd.outline and person.outline and line.outline is None
    assert dog.box == (0.1, 0.2, 0.3, 0.6)
    assert decode_rle(dog.outline)[2:6, 2:6].all()
    assert int(decode_rle(dog.outline).sum()) == 16
    assert int(decode_rle(crowd.outline).sum()) == 5
    assert person.box == (0.5, 0, 1, 0.5)


def test_rows_for_ingest_carry_the_annotations(tmp_path: Path) -> None:
    (_, _, none, _), (key, body, caption, annotations) = coco_rows(_write(tmp_path, _content()))
    assert (none, key, caption) == ("", "000000000007", "dog, person")
    assert body == (tmp_path / "images" / "b.png").read_bytes()
    dog, crowd, _, line = json.loads(annotations)
    # Two points hold no pixel, but there is a second dog.
    assert (line["phrase"], line["crowd"]) == ("dog", True)
    assert not decode_rle({"size": [10, 20], "counts": line["rle_counts"]}).any()
    assert set(dog) == {"phrase", "box", "rle_counts", "crowd"}
    assert (dog["phrase"], dog["box"], crowd["crowd"]) == ("dog", [0.1, 0.2, 0.3, 0.6], True)


PAIRS = [[2, 2], [6, 2], [6, 6], [2, 6]]


@pytest.mark.parametrize("outline", [[PAIRS], PAIRS, [SQUARE], [[*PAIRS, [2, 4]]]])
def test_a_polygon_may_be_written_in_pairs(tmp_path: Path, outline: object) -> None:
    _, image = read_coco(_write(tmp_path, _with("annotations", segmentation=outline)))
    assert image.objects[0].outline is not None
    assert int(decode_rle(image.objects[0].outline).sum()) == 16


@pytest.mark.parametrize(("said", "crowd"), [("0", False), ("false", False), ("1", True), (True, True), (None, False)])
def test_a_flag_is_read_as_what_it_says(tmp_path: Path, said: object, crowd: bool) -> None:
    _, image = read_coco(_write(tmp_path, _with("annotations", iscrowd=said)))
    assert image.objects[0].crowd == crowd


@pytest.mark.parametrize("outline", [None, [], [[2, 2, 6, 6]], {"size": [10, 20], "counts": [200]}])
def test_an_object_without_an_outline_still_counts_when_a_name_must_be_unique(tmp_path: Path, outline: object) -> None:
    content = _content()
    content["annotations"] = [
        {"id": 1, "image_id": 7, "category_id": 1, "segmentation": [SQUARE]},
        {"id": 2, "image_id": 7, "category_id": 1, "segmentation": outline},
        {"id": 3, "image_id": 7, "category_id": 2, "segmentation": [[10, 2, 16, 2, 16, 6, 10, 6]]},
    ]
    *_, (key, _, caption, annotations) = coco_rows(_write(tmp_path, content))
    row = {"status": "ok", "image": key, "shard": "s", "width": 20, "height": 10, "phash": ""}
    (item,) = annotated_images([row | {"annotations": annotations}], ContourConfig())
    assert caption == "dog, person"
    assert [reference.expression for reference in item.labels.references] == ["person"]


def _unpack(folder: Path, images: str, annotations: str) -> Path:
    """The folder with the files of `_write` moved to where another layout has them."""
    _write(folder, _content())
    (folder / annotations).parent.mkdir(parents=True, exist_ok=True)
    (folder / "images").rename(folder / "moved")
    (folder / images).parent.mkdir(parents=True, exist_ok=True)
    (folder / "moved").rename(folder / images)
    (folder / "instances.json").rename(folder / annotations)
    return folder


@pytest.mark.parametrize(
    ("images", "annotations", "root", "named"),
    [
        ("val2017", "annotations/instances_val2017.json", ".", "annotations/instances_val2017.json"),
        ("val2017", "annotations/instances_val2017.json", "val2017", "../annotations/instances_val2017.json"),
        ("images/val2017", "annotations/instances_val2017.json", ".", "annotations/instances_val2017.json"),
        ("images", "annotations/instances.json", ".", "annotations/instances.json"),
        ("images/default", "annotations/instances_default.json", ".", "annotations/instances_default.json"),
        ("data", "labels.json", ".", "labels.json"),
        ("train", "train/_annotations.coco.json", "train", "_annotations.coco.json"),
        ("photos", "instances.json", "photos", "../instances.json"),
    ],
)
def test_folders_may_lie_as_coco_is_unpacked(
    tmp_path: Path, images: str, annotations: str, root: str, named: str
) -> None:
    folder = _unpack(tmp_path, images, annotations)
    first, second = read_coco(CocoConfig(root=folder / root, annotations=named))
    assert {first.path.resolve(), second.path.resolve()} == {folder / images / "a.png", folder / images / "b.png"}


def test_a_missing_annotation_file_names_those_that_are_there(tmp_path: Path) -> None:
    folder = _unpack(tmp_path, "val2017", "annotations/instances_val2017.json")
    with pytest.raises(
        FileNotFoundError, match=r"instances\.json: no such file; .* annotations/instances_val2017\.json"
    ):
        read_coco(CocoConfig(root=folder))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_no_fault(tmp_path: Path, encoding: str) -> None:
    config = _write(tmp_path, _content())
    (tmp_path / "instances.json").write_text(json.dumps(_content()), encoding=encoding)
    assert len(read_coco(config)) == 2


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
        (_without("annotations", "image_id"), "entry 0 of `annotations` has no `image_id`"),
        (_without("annotations", "segmentation"), "no annotation has an outline in `segmentation`"),
        (_without("images", "width"), "entry 0 of `images` has no `width`"),
        (_with("images", height="10"), "`height` of entry 0 of `images` is '10'"),
        (_with("images", height=0), "`height` of entry 0 of `images` is 0"),
        (_with("images", width=2**70), "`width` of entry 0 of `images` is 1180591620717411303424"),
        (_with("images", id=3), "two entries of `images` have the id 3"),
        (_with("images", id=True), "`id` of entry 0 of `images` is True"),
        (_with("images", id=2**63), "`id` of entry 0 of `images` is 9223372036854775808"),
        (_with("images", file_name="train2017/a.png"), "two entries of `images` have the file_name"),
        (_with("images", file_name="val2017/a.png"), "two entries of `images` have the file .*a.png"),
        (_with("images", file_name=""), "`file_name` of entry 0 of `images` is '': it must not be empty"),
        (_with("annotations", id=2), "two entries of `annotations` have the id 2"),
        (_with("annotations", id="1"), "`id` of `annotations` is a number here and a text there"),
        (_with("annotations", image_id="7"), "`image_id` of entry 0 of `annotations` is '7'"),
        (_with("annotations", image_id=None), "`image_id` of entry 0 of `annotations` is None"),
        (_with("annotations", category_id=[1]), r"`category_id` of entry 0 of `annotations` is \[1\]"),
        (_with("annotations", category_id=None), "annotation 1 has no category_id"),
        (_with("annotations", iscrowd="some"), "`iscrowd` of entry 0 of `annotations` is 'some'"),
        (_with("annotations", bbox=["1", "2", "3", "4"]), "`bbox.0` of entry 0 of `annotations` is '1'"),
        (_with("annotations", bbox=[True, 2, 3, 4]), "`bbox.0` of entry 0 of `annotations` is True"),
        (_with("annotations", bbox=[1, 2, 3]), r"`bbox` of entry 0 of `annotations` is \[1, 2, 3\]"),
        (_with("categories", name=None), "`name` of entry 0 of `categories` is None"),
        (_with("categories", name=" "), "`name` of entry 0 of `categories` is ' ': it must not be empty"),
        (_with("categories", name="\u200b\u00a0"), "`name` of entry 0 of `categories` is .*: it must not be empty"),
        (_without("categories", "name"), "entry 0 of `categories` has no `name`"),
        (_with("categories", id=2), "two entries of `categories` have the id 2"),
        (_with("annotations", segmentation=[SQUARE[:7]]), "annotation 1: .*a polygon has 7 numbers"),
        (_with("annotations", segmentation=[[float("nan"), 2, 6, 2, 6, 6]]), "annotation 1: .*a coordinate lies more"),
        (_with("annotations", segmentation=[[10**400, 2, 6, 2, 6, 6]]), "annotation 1: .*a coordinate lies more"),
        (_with("annotations", segmentation=[["2", "2", "6", "2", "6", "6"]]), "annotation 1: .*is not a number"),
        (_with("annotations", segmentation=[[True, 2, 6, 2, 6, 6]]), "annotation 1: .*is not a number"),
        (_with("annotations", segmentation=[SQUARE, {"size": [10, 20], "counts": [200]}]), "a polygon is a dict"),
        (_with("annotations", segmentation={"size": [10, 20], "counts": [True, 199]}), "do not add up to 10 x 20"),
        (_with("annotations", segmentation={"size": [10, 20], "counts": "zz"}), "do not add up to 10 x 20"),
        (_with("annotations", segmentation={"size": [20, 10], "counts": [200]}), r"RLE of size \[20, 10\]"),
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


def test_a_file_name_may_be_written_as_windows_does(tmp_path: Path) -> None:
    _, image = read_coco(_write(tmp_path, _with("images", file_name="JPEGImages\\b.png")))
    assert image.path == tmp_path / "images" / "b.png"


def test_categories_that_differ_in_blanks_and_case_have_one_name(tmp_path: Path) -> None:
    content = _content()
    content["categories"].append({"id": 3, "name": " DOG\u00a0"})
    content["annotations"][2]["category_id"] = 3
    _, image = read_coco(_write(tmp_path, content))
    assert [item.category for item in image.objects] == ["dog", "person", "dog", "dog"]


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


def test_a_sideways_tiff_fits_annotations_of_the_upright_picture(tmp_path: Path) -> None:
    config, exif = _write(tmp_path, _with("images", file_name="b.tif")), Image.Exif()
    exif[0x0112] = 8
    Image.new("RGB", (10, 20)).save(tmp_path / "images" / "b.tif", exif=exif)
    assert len(list(coco_rows(config))) == 2


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
    (item,) = annotated_images([failed, row], ContourConfig(min_area=0.01))
    assert [target.phrase for target in item.labels.targets] == ["dog", "dog", "cat", "person"]
    asked = {reference.expression: reference.targets for reference in item.labels.references}
    # Nobody can tell the person from the crowd, and the ball is too small to outline.
    assert asked == {"leftmost dog": (0,), "rightmost dog": (1,), "cat": (2,)}


def test_a_box_without_an_outline_takes_its_name_too() -> None:
    row = _annotated_row([_entry("dog", 2, 8), {"phrase": "dog", "box": [0.8, 0.1, 0.9, 0.5]}, _entry("cat", 14, 6)])
    (item,) = annotated_images([row], ContourConfig())
    assert [reference.expression for reference in item.labels.references] == ["cat"]
