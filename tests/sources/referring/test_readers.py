"""Every published layout becomes the same form, and what is wrong with a file is said with its name and the cure."""

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from simpleseg_core.config import ReferringConfig
from simpleseg_core.data.shards import ImageStore
from simpleseg_core.geometry import decode_rle, encode_rle
from simpleseg_core.sources.referring import (
    ReferringImage,
    ReferringSet,
    check_referring,
    pack_pictures,
    read_referring,
)
from tests.sources.referring.originals import (
    HEIGHT,
    WIDTH,
    instances,
    picture,
    rectangle,
    ref,
    small_refcoco,
    write_refcocom,
    write_refer,
)


def _mask(image: ReferringImage, segment: int = 0) -> np.ndarray:
    rle = image.segments[segment].rle()
    assert rle is not None
    return decode_rle(rle)


def _texts(images: tuple[ReferringImage, ...]) -> list[tuple[str, str, tuple[int, ...]]]:
    return [(image.key, each.text, each.segments) for image in images for each in image.utterances]


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_the_refcoco_family_is_read_by_split(tmp_path: Path, protocol: int) -> None:
    found = read_referring(ReferringConfig(dataset="refcoco", root=small_refcoco(tmp_path, protocol=protocol)))
    assert (found.name, set(found.splits)) == ("refcoco", {"train", "val", "testA", "testB"})
    first, second = found.splits["train"]
    assert _texts((first,)) == [
        ("000000000001", "left man", (0,)),
        ("000000000001", "guy in red", (0,)),
        ("000000000001", "right man", (1,)),
    ]
    assert [each.ref for each in first.utterances] == ["1", "1", "2"]
    assert (second.width, second.height, second.segments[0].name) == (WIDTH, HEIGHT, "person")
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[10:40, 30:60] = True
    np.testing.assert_array_equal(_mask(first, 1), expected)
    assert first.segments[0].box == (4, 4, 24, 16)
    assert Image.open(BytesIO(first.picture.read())).size == (WIDTH, HEIGHT)


@pytest.mark.parametrize(
    ("dataset", "split_by", "name", "called"),
    [
        ("refcoco+", None, "refs(unc).p", "refcoco+"),
        ("refcocog", None, "refs(umd).p", "refcocog"),
        ("refcocog", "google", "refs(google).p", "refcocog-google"),
        ("refclef", "berkeley", "refs(berkeley).p", "refclef-berkeley"),
    ],
)
def test_each_division_has_its_file_and_its_name(
    tmp_path: Path, dataset: Any, split_by: Any, name: str, called: str
) -> None:
    refs = [ref(1, 7, 1, "train", "dog"), ref(2, 7, 2, "val", "cat")]
    write_refer(tmp_path, refs, instances({1: (7, rectangle(2, 2, 9, 9)), 2: (7, rectangle(20, 2, 40, 9))}), name)
    found = read_referring(ReferringConfig(dataset=dataset, root=tmp_path, split_by=split_by))
    assert found.name == called
    assert found.splits["train"][0].key == found.splits["val"][0].key  # this division is by object


def test_refclef_has_other_images_runs_for_masks_and_splits_that_overlap(tmp_path: Path) -> None:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[5:10, 5:30] = 1
    runs = coco_mask.encode(np.asfortranarray(mask))
    outline = [{"size": runs["size"], "counts": runs["counts"].decode()}]
    refs = [ref(1, 9, "9_1", "testAB", "sky"), ref(2, 9, "9_1", "testC", "blue sky")]
    content = instances({"9_1": (9, outline)})  # type: ignore[dict-item]
    content["images"][0]["file_name"] = "9.jpg"
    write_refer(tmp_path / "refclef", refs, content)
    (tmp_path / "images").mkdir()
    (tmp_path / "refclef" / "images").rename(tmp_path / "images" / "saiapr_tc-12")
    found = read_referring(ReferringConfig(dataset="refclef", root=tmp_path / "refclef"))
    assert {split: len(images) for split, images in found.splits.items()} == {"testA": 1, "testB": 1, "testC": 1}
    image = found.splits["testA"][0]
    assert image.key == "saiapr-000000000009"  # never taken for COCO's image 9
    np.testing.assert_array_equal(_mask(image), mask.astype(bool))
    assert image.picture.exists()


@pytest.mark.parametrize("name", ["grefs(unc).json", "grefs(unc).p"])
def test_grefcoco_means_nothing_one_or_several(tmp_path: Path, name: str) -> None:
    refs = [
        ref(1, 3, [1], "val", "left dog", no_target=False),
        ref(2, 3, [1, 2], "val", "both dogs", no_target=False),
        ref(3, 3, [-1], "val", "the cat", no_target=True),
    ]
    write_refer(tmp_path, refs, instances({1: (3, rectangle(2, 2, 9, 9)), 2: (3, rectangle(20, 2, 40, 9))}), name)
    (image,) = read_referring(ReferringConfig(dataset="grefcoco", root=tmp_path)).splits["val"]
    found = [(each.text, each.segments, each.kind) for each in image.utterances]
    assert found == [
        ("left dog", (0,), "referring"),
        ("both dogs", (0, 1), "multiple"),
        ("the cat", (), "none"),
    ]


def _sample(identifier: int, mask: np.ndarray, *sentences: str) -> dict[str, Any]:
    return {"id": identifier, "category": "Cat", "sentences": list(sentences), "bbox": [0, 0, 1, 1]} | {
        "mask": dict(encode_rle(mask))
    }


def test_refcoco_m_is_read_from_the_publishers_parquet(tmp_path: Path) -> None:
    masks = np.zeros((3, HEIGHT, WIDTH), bool)
    for index, mask in enumerate(masks):
        mask[index + 3 : 20, 8:30] = True
    rows = [
        {"image_id": 50 - index, "image": {"bytes": picture(index), "path": "x.jpg"}}
        | {"samples": [_sample(index, masks[index], "cat", "the cat")]}
        for index in range(3)
    ]
    found = read_referring(ReferringConfig(dataset="refcocom", root=write_refcocom(tmp_path, rows)))
    images = found.splits["val"]
    assert [image.key for image in images] == ["000000000050", "000000000049", "000000000048"]
    for index in (2, 0, 1):
        assert images[index].picture.read() == picture(index)
        np.testing.assert_array_equal(_mask(images[index]), masks[index])
        assert [each.text for each in images[index].utterances] == ["cat", "the cat"]


def _reasonseg(root: Path, content: object, encoding: str = "utf-8") -> ReferringSet:
    (root / "val").mkdir(parents=True, exist_ok=True)
    (root / "val" / "a.jpg").write_bytes(picture(0))
    (root / "val" / "a.json").write_text(json.dumps(content, ensure_ascii=False), encoding=encoding)
    return read_referring(ReferringConfig(dataset="reasonseg", root=root))


def _shape(label: str, *corners: int) -> dict[str, Any]:
    left, top, right, bottom = corners
    return {"label": label, "points": [[left, top], [right, top], [right, bottom], [left, bottom]]}


def test_reasonseg_draws_large_shapes_first_and_ignores_what_is_not_the_target(tmp_path: Path) -> None:
    shapes = [
        _shape("ignore", 12, 12, 20, 20),
        _shape("target", 5, 5, 40, 30),
        _shape("target", 14, 14, 16, 16),
        _shape("flag", 0, 0, 63, 47),
    ]
    content = {"shapes": shapes, "text": ["where would the café keep it"], "is_sentence": True}
    for encoding in ("utf-8", "cp1252"):
        (image,) = _reasonseg(tmp_path, content, encoding).splits["val"]
        assert (image.key, image.width, image.height) == ("reasonseg-val-a", WIDTH, HEIGHT)
        assert [(each.text, each.kind) for each in image.utterances] == [("where would the café keep it", "sentence")]
        mask = _mask(image)
        assert mask.sum() == 26 * 36 - 9 * 9 + 3 * 3
        assert mask[15, 15] and not mask[13, 13] and not mask[0, 0]


def test_the_outline_of_a_sideways_photograph_lies_on_the_upright_picture(tmp_path: Path) -> None:
    _reasonseg(tmp_path, {"shapes": [_shape("target", 20, 30, 40, 50)], "text": "box"})
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "val" / "a.jpg", exif=exif)
    config = ReferringConfig(dataset="reasonseg", root=tmp_path)
    (image,) = read_referring(config).splits["val"]
    assert (image.width, image.height) == (HEIGHT, WIDTH)
    assert _mask(image).sum() == 21 * 21
    assert check_referring(config).broken == []
    packed = pack_pictures([image], tmp_path / "dataset")[image.key]
    assert (packed.width, packed.height) == (HEIGHT, WIDTH)
    assert ImageStore(tmp_path).read(packed.shard, image.key).size == (HEIGHT, WIDTH)


def test_images_of_one_name_in_two_splits_of_reasonseg_are_two(tmp_path: Path) -> None:
    content = {"shapes": [_shape("target", 5, 5, 40, 30)], "text": "cup"}
    _reasonseg(tmp_path, content)
    (tmp_path / "val").rename(tmp_path / "train")
    found = _reasonseg(tmp_path, content)
    assert {image.key for images in found.splits.values() for image in images} == {
        "reasonseg-train-a",
        "reasonseg-val-a",
    }


def test_a_row_of_refcoco_m_without_samples_is_left_out(tmp_path: Path) -> None:
    mask = np.ones((HEIGHT, WIDTH), bool)
    rows = [
        {"image_id": index, "image": {"bytes": picture(index), "path": "x.jpg"}}
        | {"samples": [_sample(index, mask, "cat")] if index == 2 else []}
        for index in range(3)
    ]
    (image,) = read_referring(ReferringConfig(dataset="refcocom", root=write_refcocom(tmp_path, rows))).splits["val"]
    assert image.picture.read() == picture(2)


@pytest.mark.parametrize("size", [None, [HEIGHT], [HEIGHT, None], [1, HEIGHT, WIDTH]])
def test_a_mask_of_refcoco_m_without_its_two_sides_is_named(tmp_path: Path, size: Any) -> None:
    sample = _sample(7, np.ones((HEIGHT, WIDTH), bool), "cat")
    sample["mask"]["size"] = size
    root = write_refcocom(tmp_path, [{"image_id": 1, "image": {"bytes": picture(1)}, "samples": [sample]}])
    with pytest.raises(ValueError, match=r"validation-.*\.parquet: `samples\.0\.mask\.size"):
        read_referring(ReferringConfig(dataset="refcocom", root=root))


def test_images_and_samples_of_refcoco_m_are_told_apart_by_their_ids(tmp_path: Path) -> None:
    mask = np.ones((HEIGHT, WIDTH), bool)
    row = {"image_id": 1, "image": {"bytes": picture(1)}, "samples": [_sample(7, mask, "cat")]}
    root = write_refcocom(tmp_path / "images", [row, row])
    with pytest.raises(ValueError, match="two entries of `rows` have the image_id"):
        read_referring(ReferringConfig(dataset="refcocom", root=root))
    root = write_refcocom(tmp_path / "samples", [row | {"samples": [_sample(7, mask, "cat"), _sample(7, mask, "dog")]}])
    with pytest.raises(ValueError, match="two entries of `samples of image 1` have the id 7"):
        read_referring(ReferringConfig(dataset="refcocom", root=root))


def test_nulls_of_refcoco_m_are_named(tmp_path: Path) -> None:
    mask = np.ones((HEIGHT, WIDTH), bool)
    row = {"image_id": 1, "image": None, "samples": [_sample(7, mask, "cat")]}
    report = check_referring(ReferringConfig(dataset="refcocom", root=write_refcocom(tmp_path / "image", [row])))
    assert len(report.broken) == 1 and "row 0 of row group 0: no image in it" in report.broken[0]
    for number, sentences in enumerate((None, ["cat", None])):
        sample = _sample(7, mask, "cat") | {"sentences": sentences}
        root = write_refcocom(tmp_path / str(number), [row | {"samples": [sample]}])
        with pytest.raises(ValueError, match=r"`samples\.0\.sentences"):
            read_referring(ReferringConfig(dataset="refcocom", root=root))


@pytest.mark.parametrize(
    ("kind", "points", "pixels"),
    [("rectangle", [[10, 5], [50, 30]], 41 * 26), ("rectangle", [[50, 30], [10, 5]], 41 * 26),
     ("circle", [[30, 20], [40, 20]], 349), ("polygon", [[10, 5], [50, 30]], 0), (None, [[1, 1], [4, 1], [4, 4]], 10)],
)  # fmt: skip
def test_shapes_of_labelme_are_drawn_as_what_they_are(
    tmp_path: Path, kind: str | None, points: list[list[int]], pixels: int
) -> None:
    shape = {"label": "target", "points": points, "shape_type": kind}
    (image,) = _reasonseg(tmp_path, {"shapes": [shape], "text": "it"}).splits["val"]
    rle = image.segments[0].rle()
    assert (0 if rle is None else decode_rle(rle).sum()) == pytest.approx(pixels, rel=0.05)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shape_type": "mask"}, "`shapes.0.shape_type` of `annotation` is 'mask'"),
        ({"shape_type": "linestrip"}, "`shapes.0.shape_type` of `annotation` is 'linestrip'"),
        ({"shape_type": "rectangle"}, "shape 0 is a rectangle of 4 points: it must have two"),
        ({"points": [1, 2, 3, 4, 5, 6]}, "`shapes.0.points.0` of `annotation` is 1"),
        ({"points": [[1, 2, 3], [4, 5, 6]]}, "`shapes.0.points.0` of `annotation`"),
        ({"points": [[1, 2], [3, float("nan")], [5, 6]]}, "`shapes.0.points.1.1` of `annotation` is nan"),
        ({"points": [["1", "2"], [3, 4], [5, 6]]}, "`shapes.0.points.0.0` of `annotation` is '1'"),
        ({"points": [[True, 2], [3, 4], [5, 6]]}, "`shapes.0.points.0.0` of `annotation` is True"),
        ({"label": None}, "`shapes.0.label` of `annotation` is None"),
        ({"label": " "}, "`shapes.0.label` of `annotation` is ' ': it must not be empty"),
        ({"points": [[1, 2], [5, 6]], "mask": "iVBORw0KGgo="}, "`shapes.0.mask` of `annotation` is 'iVBORw0KGgo='"),
    ],
)
def test_what_is_no_shape_is_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        _reasonseg(tmp_path, {"shapes": [_shape("target", 5, 5, 40, 30) | changes], "text": "it"})
    assert "a.json" in str(error.value)


@pytest.mark.parametrize(
    ("width", "height", "ok"), [(WIDTH, HEIGHT, True), (2 * WIDTH, HEIGHT, False), (None, None, True)]
)
def test_the_size_that_labelme_writes_must_be_that_of_the_image(
    tmp_path: Path, width: int | None, height: int | None, ok: bool
) -> None:
    content = {"shapes": [_shape("target", 5, 5, 40, 30)], "text": "it", "imageWidth": width, "imageHeight": height}
    found = _reasonseg(tmp_path, content)
    assert (found.splits["val"][0].width, found.splits["val"][0].height) == (width or WIDTH, height or HEIGHT)
    report = check_referring(ReferringConfig(dataset="reasonseg", root=tmp_path))
    assert report.ok == ok
    assert ok or "64 x 48 pixels, but annotated in 128 x 48" in report.broken[0]


@pytest.mark.parametrize("name", ["a.JPG", "a.Jpeg", "a.jpe", "a.png", "a.WebP", "a.tif", "a.bmp"])
def test_images_of_reasonseg_may_be_of_every_kind_that_is_read(tmp_path: Path, name: str) -> None:
    _reasonseg(tmp_path, {"shapes": [_shape("target", 5, 5, 40, 30)], "text": "it"})
    (tmp_path / "val" / "a.jpg").rename(tmp_path / "val" / name)
    (tmp_path / "val" / "a.json").rename(tmp_path / "val" / "a.JSON")
    config = ReferringConfig(dataset="reasonseg", root=tmp_path)
    assert read_referring(config).splits["val"][0].width == WIDTH
    assert check_referring(config).ok


def test_images_that_no_json_file_or_two_names_belong_to_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "val").mkdir()
    (tmp_path / "val" / "b.png").write_bytes(picture(1))
    content = {"shapes": [_shape("target", 5, 5, 40, 30)], "text": "it"}
    assert len(_reasonseg(tmp_path, content).splits["val"]) == 1
    assert "1 images without a JSON file are passed over, such as b" in caplog.text
    (tmp_path / "val" / "a.png").write_bytes(picture(2))
    with pytest.raises(ValueError, match=r"a\.jpg and a\.png have one name"):
        _reasonseg(tmp_path, content)


@pytest.mark.parametrize("nothing", [[], [[]], [[2, 2, 9, 9]], [[[2, 2], [9, 9]]]])
def test_a_referring_set_of_boxes_only_says_so(tmp_path: Path, nothing: object) -> None:
    write_refer(tmp_path, [ref(1, 1, 1, "val", "dog")], instances({1: (1, nothing), 2: (2, None)}))
    with pytest.raises(ValueError, match=r"instances\.json: no annotation has an outline in `segmentation`"):
        read_referring(ReferringConfig(dataset="refcoco", root=tmp_path))


def test_texts_and_flags_of_reasonseg_are_read_as_what_they_say(tmp_path: Path) -> None:
    shapes = [_shape("target", 5, 5, 40, 30)]
    for said, kind in (("false", "phrase"), ("0", "phrase"), ("true", "sentence"), (1, "sentence")):
        (image,) = _reasonseg(tmp_path, {"shapes": shapes, "text": "it", "is_sentence": said}).splits["val"]
        assert image.utterances[0].kind == kind
    for content in ({"text": None}, {"text": ["it", None]}, {"text": "it", "is_sentence": "perhaps"}):
        with pytest.raises(ValueError, match="of `annotation` is"):
            _reasonseg(tmp_path, {"shapes": shapes} | content)


def test_a_byte_order_mark_of_reasonseg_is_no_fault(tmp_path: Path) -> None:
    content = {"shapes": [_shape("target", 5, 5, 40, 30)], "text": ["le café"]}
    assert _reasonseg(tmp_path, content, "utf-8-sig").splits["val"][0].utterances[0].text == "le café"


def test_images_of_the_toolbox_may_lie_in_folders(tmp_path: Path) -> None:
    outlines = {1: (1, rectangle(2, 2, 9, 9)), 2: (2, rectangle(2, 2, 9, 9))}
    content = instances(outlines)
    refs = [ref(key, key, key, "val", "dog") for key in outlines]
    root = write_refer(tmp_path, refs, content)
    for item in content["images"]:
        file = root / "images" / item["file_name"]
        item["file_name"] = f"cam{item['id']}/0001.jpg"
        (root / "images" / f"cam{item['id']}").mkdir()
        file.rename(root / "images" / item["file_name"])
    (root / "instances.json").write_text(json.dumps(content))
    first, second = read_referring(ReferringConfig(dataset="refcoco", root=root)).splits["val"]
    assert (first.picture.read(), second.picture.read()) == (picture(1), picture(2))


def test_images_are_found_where_loaders_expect_them_and_under_their_name_of_2017(tmp_path: Path) -> None:
    root = small_refcoco(tmp_path / "refcoco")
    places = [tmp_path / "train2014", tmp_path / "images" / "train2014"]
    places += [tmp_path / "images" / "mscoco" / "images" / "train2014", root / "images"]
    (root / "images").rename(tmp_path / "moved")
    for place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "moved").rename(place)
        image = read_referring(ReferringConfig(dataset="refcoco", root=root)).splits["val"][0]
        assert image.picture.exists()
        place.rename(tmp_path / "moved")
    (tmp_path / "moved" / "COCO_train2014_000000000003.jpg").rename(tmp_path / "moved" / "000000000003.jpg")
    config = ReferringConfig(dataset="refcoco", root=root, images=tmp_path / "moved")
    assert read_referring(config).splits["val"][0].picture.exists()


def test_as_many_images_of_each_split_are_read_as_asked_for(tmp_path: Path) -> None:
    found = read_referring(ReferringConfig(dataset="refcoco", root=small_refcoco(tmp_path), max_images=1))
    assert {split: len(images) for split, images in found.splits.items()} == dict.fromkeys(found.splits, 1)


OUTLINES = {1: (1, rectangle(2, 2, 9, 9)), 2: (2, rectangle(2, 2, 9, 9))}


@pytest.mark.parametrize(
    ("refs", "message"),
    [
        ({"a": 1}, "expected a list of references, found a dict"),
        ([3], "entry 0 of `refs` is 3: it must be an object"),
        ([{"ref_id": 1}], "entry 0 of `refs` has no `image_id`"),
        ([ref(1, 1, 1, "train", "a") | {"image_id": "1"}], "`image_id` of entry 0 of `refs` is '1'"),
        ([ref(1, 8, 1, "train", "a")], "`image_id` 8 is not among the `images`"),
        ([ref(1, 1, 9, "train", "a")], "`ann_id` 9 is not among the `annotations`"),
        ([ref(1, 1, None, "train", "a")], "`ann_id` of entry 0 of `refs` is None"),
        ([ref(1, 1, 1, "train") | {"sentences": "a"}], "`sentences` of entry 0 of `refs` is 'a'"),
        ([ref(1, 1, 1, "train") | {"sentences": [{"raw": "a"}]}], "entry 0 of `refs` has no `sentences.0.sent`"),
        ([ref(1, 1, 1, "train") | {"sentences": [{"sent": None}]}], "`sentences.0.sent` of entry 0 of `refs` is None"),
        ([ref(1, 1, 1, "train", "a"), ref(1, 1, 1, "val", "b")], "two entries of `refs` have the ref_id 1"),
        ([ref(1, 1, 1, "train", "a"), ref("2", 1, 1, "val", "b")], "`ref_id` of `refs` is a number here and a text"),
        ([ref(1, 1, 2, "train", "a")], "ref 1 is about image 1, but its `ann_id` 2 is of image 2"),
        ([ref(1, 1, True, "train", "a")], "`ann_id` of entry 0 of `refs` is True"),
        ([ref(1, 1, [], "train", "a")], r"ref 1 says that something is meant, but its `ann_id` is \[\]"),
        ([ref(1, 1, [-1, 1], "train", "a")], r"ref 1 says that nothing is meant, but its `ann_id` is \[-1, 1\]"),
        ([ref(1, 1, 1, "train", "a", no_target="true")], "ref 1 says that nothing is meant, but its `ann_id` is 1"),
        ([ref(1, 1, 1, "train", "a", no_target="maybe")], "`no_target` of entry 0 of `refs` is 'maybe'"),
        ([ref(1, 1, 1, "train") | {"sentences": [{"sent": "a"}] * 3000}] * 3000, "the file is not genuine"),
    ],
)
def test_broken_references_are_named_with_file_and_field(tmp_path: Path, refs: Any, message: str) -> None:
    write_refer(tmp_path, refs, instances(OUTLINES))
    with pytest.raises(ValueError, match=message) as error:
        read_referring(ReferringConfig(dataset="refcoco", root=tmp_path))
    assert "refs(unc).p" in str(error.value)


@pytest.mark.parametrize(
    ("outline", "message"),
    [
        ("dog", "annotation 1: segmentation is neither polygons nor RLE"),
        ([[0.0, 0.0, 1e9, 0.0, 5.0, 5.0]], "more than 256 pixels outside the image"),
        ([[0.0, 0.0, float("nan"), 0.0, 5.0, 5.0]], "more than 256 pixels outside the image"),
        ({"size": [HEIGHT, WIDTH], "counts": [5, 9]}, "do not add up"),
        ({"size": [HEIGHT, WIDTH], "counts": "zzzz"}, "do not add up"),
        ([{"size": [HEIGHT, WIDTH], "counts": "zzzz"}], "do not add up"),
        ({"size": [3, 3], "counts": [9]}, "RLE of size"),
        ([[5.0, 5.0, 25.0, 5.0, 25.0]], "a polygon has 5 numbers"),
        ([[5, 5, 25, 5, 25, None]], "a coordinate is not a number"),
        ([rectangle(2, 2, 9, 9)[0], {"size": [HEIGHT, WIDTH], "counts": [5]}], "a polygon is a dict"),
        ([5, 5, 25, 5, 25, 20], "a polygon is a int"),
    ],
)
def test_a_broken_outline_is_named_when_it_is_decoded(tmp_path: Path, outline: Any, message: str) -> None:
    write_refer(tmp_path, [ref(1, 1, 1, "val", "dog")], instances({1: (1, outline)}))
    (image,) = read_referring(ReferringConfig(dataset="refcoco", root=tmp_path)).splits["val"]
    with pytest.raises(ValueError, match=message) as error:
        image.segments[0].rle()
    assert "instances.json" in str(error.value)


@pytest.mark.parametrize(
    ("dataset", "missing"),
    [
        ("refcoco", r"refs\(unc\)\.p"),
        ("refcocog", r"refs\(umd\)\.p"),
        ("grefcoco", r"grefs\(unc\)\.json"),
        ("refcocom", r"validation-\*\.parquet"),
        ("reasonseg", "no folder train, val or test"),
    ],
)
def test_a_missing_file_is_named_with_the_cure(tmp_path: Path, dataset: Any, missing: str) -> None:
    with pytest.raises(FileNotFoundError, match=missing) as error:
        read_referring(ReferringConfig(dataset=dataset, root=tmp_path))
    assert "docs/datasets.md" in str(error.value) and "data.referring" in str(error.value)
    with pytest.raises(FileNotFoundError, match=r"no such folder; data\.referring: set `root`"):
        read_referring(ReferringConfig(dataset=dataset, root=tmp_path / "nowhere"))


def test_a_missing_annotation_file_is_named(tmp_path: Path) -> None:
    root = small_refcoco(tmp_path)
    (root / "instances.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"instances\.json: no such file; data\.referring: `root` of refcoco"):
        read_referring(ReferringConfig(dataset="refcoco", root=root))


def test_a_split_that_is_not_there_cannot_be_evaluated_on(tmp_path: Path) -> None:
    config = ReferringConfig(dataset="refcoco", root=small_refcoco(tmp_path), benchmarks=("val", "test"))
    with pytest.raises(
        ValueError,
        match=r"refcoco has no split test to evaluate on, did you mean `testA` or `testB`.: .* testA, testB, train",
    ):
        read_referring(config)
    with pytest.raises(ValueError, match="did you mean `testA`"):
        read_referring(config.model_copy(update={"benchmarks": ("tetsA",)}))


@pytest.mark.parametrize(("dataset", "split_by"), [("refcoco+", "umd"), ("grefcoco", "google"), ("reasonseg", "unc")])
def test_a_division_that_does_not_exist_is_refused(tmp_path: Path, dataset: Any, split_by: Any) -> None:
    with pytest.raises(ValueError, match=f"has no split by {split_by}: set split_by to"):
        ReferringConfig(dataset=dataset, root=tmp_path, split_by=split_by)
