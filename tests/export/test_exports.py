"""Exports: what other tools read back is what the annotation tables hold."""

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from simpleseg_core.data.outlines import row_mask, row_polygons
from simpleseg_core.data.records import DESCRIPTIONS, INGEST, POLYGONS, read_rows, write_table
from simpleseg_core.data.shards import ImageStore
from simpleseg_core.export import (
    Annotations,
    Segmentation,
    copy_images,
    export_coco,
    export_hugging_face,
    export_labelme,
)
from simpleseg_core.geometry import encode_rle, mask_to_polygons, polygons_to_mask
from tests.export.annotated import Row, write_annotations


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_annotations(folder)
    licensed = folder / "images" / "00000.parquet"
    write_table([row | {"license": "CC-BY"} for row in read_rows(licensed, INGEST)], INGEST, licensed)
    return folder


@pytest.fixture(scope="module")
def rows(data: Path) -> list[Row]:
    return read_rows(data / "descriptions", DESCRIPTIONS)


def coco_file(data: Path, folder: Path, segmentation: Segmentation = "polygons") -> Path:
    file = folder / "instances.json"
    export_coco(Annotations.open(data), file, copy_images(ImageStore(data), folder, "images"), segmentation)
    return file


@pytest.mark.parametrize("segmentation", ["polygons", "rle"])
def test_pycocotools_reads_the_same_masks_areas_and_boxes(
    data: Path, rows: list[Row], tmp_path: Path, segmentation: Segmentation
) -> None:
    coco = COCO(str(coco_file(data, tmp_path, segmentation)))
    found = coco.loadAnns(coco.getAnnIds())
    assert [item["instance"] for item in found] == [row["instance"] for row in rows]
    for item, row in zip(found, rows, strict=True):
        polygons = polygons_to_mask(row_polygons(row), row["height"], row["width"])
        mask = coco.annToMask(item).astype(bool)
        assert np.array_equal(mask, polygons if segmentation == "polygons" else row_mask(row))
        assert item["area"] == coco_mask.area(coco.annToRLE(item)) == mask.sum()
        assert item["bbox"] == coco_mask.toBbox(coco.annToRLE(item)).tolist()
        assert coco.cats[item["category_id"]]["name"] == row["phrase"]
        assert coco.imgs[item["image_id"]]["file_name"] == f"images/{row['image']}.jpg"


def test_a_coco_image_is_the_stored_one_with_its_origin_and_licence(data: Path, tmp_path: Path) -> None:
    document = json.loads(coco_file(data, tmp_path).read_text())
    store = ImageStore(data)
    assert len(document["images"]) == 8
    for number, image in enumerate(document["images"]):
        key = Path(image["file_name"]).stem
        file = tmp_path / image["file_name"]
        assert file.read_bytes() == store.read_bytes(f"images/{number // 4:05d}.tar", key)
        assert Image.open(file).size == (image["width"], image["height"])
        assert image["coco_url"] == f"http://shapes.test/{number}.jpg"
    [license_] = document["licenses"]
    assert license_["name"] == "CC-BY"
    assert [image.get("license") for image in document["images"]] == [license_["id"]] * 4 + [None] * 4


def test_the_same_tables_give_the_same_bytes(data: Path, tmp_path: Path) -> None:
    first, second = coco_file(data, tmp_path / "first"), coco_file(data, tmp_path / "second")
    assert first.read_bytes() == second.read_bytes()


def test_shards_without_instances_are_an_empty_but_valid_document(data: Path, tmp_path: Path) -> None:
    write_table([], DESCRIPTIONS, tmp_path / "descriptions" / "00000.parquet")
    coco = COCO(str(coco_file(tmp_path, tmp_path / "out")))
    assert coco.getAnnIds() == coco.getCatIds() == []


def test_only_one_shard_is_held_at_a_time(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    whole = Annotations.read
    monkeypatch.setattr(Annotations, "read", lambda self, table: asked.append(table.stem) or whole(self, table))
    stream = Annotations.open(data).images()
    next(stream)
    assert asked == ["00000"]
    assert len(list(stream)) == 7
    assert asked == ["00000", "00001"]


def test_images_in_which_nothing_was_kept_are_there_on_request(data: Path, rows: list[Row], tmp_path: Path) -> None:
    for shard in ("00000", "00001"):
        said = [row | {"text": "cats &amp; dogs"} for row in read_rows(data / "images" / f"{shard}.parquet", INGEST)]
        write_table(said, INGEST, tmp_path / "images" / f"{shard}.parquet")
    kept = next(row for row in rows if row["image"] == "00000002")
    write_table([kept], DESCRIPTIONS, tmp_path / "descriptions" / "00000.parquet")
    write_table([], DESCRIPTIONS, tmp_path / "descriptions" / "00001.parquet")
    assert [image.key for image in Annotations.open(tmp_path).images()] == ["00000002"]
    images = list(Annotations.open(tmp_path, all_images=True).images())
    assert [image.key for image in images] == [f"{index:08d}" for index in range(8)]
    assert [len(image.instances) for image in images] == [0, 0, 1, 0, 0, 0, 0, 0]
    assert (images[7].width, images[7].shard, images[7].caption) == (96, "images/00001.tar", "cats & dogs")


@pytest.mark.parametrize("key", ["../outside", "/outside", "a/../../outside"])
def test_a_name_that_leads_out_of_the_folder_is_refused(rows: list[Row], tmp_path: Path, key: str) -> None:
    write_table([rows[0] | {"image": key}], DESCRIPTIONS, tmp_path / "descriptions" / "00000.parquet")
    with pytest.raises(ValueError, match="no name of a file"):
        list(Annotations.open(tmp_path).images())


def test_labelme_shapes_rebuild_the_masks(data: Path, rows: list[Row], tmp_path: Path) -> None:
    counts = export_labelme(Annotations.open(data), tmp_path, copy_images(ImageStore(data), tmp_path))
    documents = {path.stem: json.loads(path.read_text()) for path in tmp_path.glob("*.json")}
    assert len(documents) == counts["images"] == 8
    assert sum(len(document["shapes"]) for document in documents.values()) == counts["shapes"]
    assert counts["shapes"] == sum(len(row["polygons"]) for row in rows) > len(rows), "some have several parts"
    for key, document in documents.items():
        # What labelme's own loader asks for.
        assert document.keys() == {
            "version", "flags", "shapes", "imagePath", "imageData", "imageHeight", "imageWidth",
        }  # fmt: skip
        assert document["imageData"] is None
        assert Image.open(tmp_path / document["imagePath"]).size == (document["imageWidth"], document["imageHeight"])
        for number, row in enumerate(row for row in rows if row["image"] == key):
            shapes = [shape for shape in document["shapes"] if shape["group_id"] == number]
            polygons = [np.array(shape["points"]) / 96 for shape in shapes]
            assert np.array_equal(polygons_to_mask(polygons, 96, 96), polygons_to_mask(row_polygons(row), 96, 96))
            assert {(shape["label"], shape["shape_type"]) for shape in shapes} == {(row["phrase"], "polygon")}
            assert {shape["description"] for shape in shapes} == {row["description"]}


def test_hugging_face_parquet_holds_images_and_every_column(data: Path, rows: list[Row], tmp_path: Path) -> None:
    assert export_hugging_face(Annotations.open(data), tmp_path, ImageStore(data)) == {
        "images": 8,
        "objects": len(rows),
    }
    files = sorted((tmp_path / "data").glob("*.parquet"))
    assert [file.name for file in files] == ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet"]
    images = [image for file in files for image in pq.read_table(file).to_pylist()]
    objects = [item for image in images for item in image["objects"]]
    for item, row in zip(objects, rows, strict=True):
        assert item == {name: row[name] for name in item}
    for image in images:
        assert Image.open(BytesIO(image["image"]["bytes"])).size == (image["width"], image["height"])
    assert set(DESCRIPTIONS.names) - set(objects[0]) == {"image", "shard", "width", "height", "url", "caption"}


def test_hugging_face_features_agree_with_the_columns(data: Path, tmp_path: Path) -> None:
    export_hugging_face(Annotations.open(data), tmp_path, ImageStore(data))
    schema = pq.read_schema(tmp_path / "data" / "train-00000-of-00002.parquet")
    features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    assert list(features) == schema.names
    assert features["image"] == {"_type": "Image"}
    [item] = features["objects"]
    assert item["polygons"] == [[[{"dtype": "float64", "_type": "Value"}]]]
    assert item["score"] == {"dtype": "float32", "_type": "Value"}
    card = (tmp_path / "README.md").read_text()
    assert "| CC-BY | 4 |" in card
    assert "| not stated | 4 |" in card


def test_polygons_will_do_where_nothing_is_described(data: Path, rows: list[Row], tmp_path: Path) -> None:
    write_table(rows, POLYGONS, tmp_path / "polygons" / "00000.parquet")
    found: list[dict[str, Any]] = [row for image in Annotations.open(tmp_path).images() for row in image.instances]
    assert [row["instance"] for row in found] == [row["instance"] for row in rows]
    assert "description" not in found[0]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (None, "until describe"),
        ("polygons", "until contour"),
        ("boxes", "choose one of"),
        ("polygon", "did you mean `polygons`"),
    ],
)
def test_without_annotations_the_stage_that_makes_them_is_named(tmp_path: Path, source: str | None, said: str) -> None:
    with pytest.raises((FileNotFoundError, ValueError), match=said):
        Annotations.open(tmp_path, source)


def test_no_export_holds_a_path_of_this_machine(data: Path, rows: list[Row], tmp_path: Path) -> None:
    own = tmp_path / "own"
    (own / "images").mkdir(parents=True)
    for file in (data / "images").iterdir():
        (own / "images" / file.name).write_bytes(file.read_bytes())
    table = own / "images" / "00000.parquet"
    unknown = {"final_url": None, "source": f"web:{data}/rows.parquet"}
    write_table([row | unknown for row in read_rows(table, INGEST)], INGEST, table)
    engines = {"detector": f"transformers/{data}/dino", "segmenter": f"sam2/{data}/sam"}
    here = [row | engines | {"url": f"{data}/photos/{row['image']}.jpg"} for row in rows]
    for shard in ("00000", "00001"):
        part = [row for row in here if row["shard"].endswith(f"{shard}.tar")]
        write_table(part, DESCRIPTIONS, own / "descriptions" / f"{shard}.parquet")
    annotations, store = Annotations.open(own), ImageStore(own)
    export_coco(annotations, tmp_path / "instances.json", copy_images(store, tmp_path, "images"))
    images = json.loads((tmp_path / "instances.json").read_text())["images"]
    assert not any("coco_url" in image for image in images[:4])
    export_labelme(annotations, tmp_path / "labelme", copy_images(store, tmp_path / "labelme"))
    export_hugging_face(annotations, tmp_path / "hf", store)
    files = [pq.read_table(file) for file in sorted((tmp_path / "hf" / "data").glob("*.parquet"))]
    assert {image["source"] for image in files[0].to_pylist()} == {"web:rows.parquet"}
    assert files[0].to_pylist()[0]["objects"][0]["detector"] == "transformers/dino"
    texts = [file.read_text() for file in tmp_path.rglob("*.json")] + [str(table.to_pylist()) for table in files]
    assert not any(str(data) in text for text in texts)


def test_a_line_one_pixel_wide_survives_in_a_large_photograph(rows: list[Row], tmp_path: Path) -> None:
    mask = np.zeros((3000, 4000), bool)
    mask[1501, 100:3900] = True
    mask[200:2800, 2223] = True
    row = rows[0] | {"height": 3000, "width": 4000, "rle_counts": encode_rle(mask)["counts"]}
    row["polygons"] = [polygon.tolist() for polygon in mask_to_polygons(mask)]
    write_table([row], DESCRIPTIONS, tmp_path / "descriptions" / "00000.parquet")
    annotations = Annotations.open(tmp_path)
    export_coco(annotations, tmp_path / "instances.json", lambda image: image.key)
    [item] = (coco := COCO(str(tmp_path / "instances.json"))).loadAnns(coco.getAnnIds())
    assert np.array_equal(coco.annToMask(item), mask)
    assert item["area"] == mask.sum()
    export_labelme(annotations, tmp_path, lambda image: image.key)
    shapes = json.loads((tmp_path / f"{row['image']}.json").read_text())["shapes"]
    outlines = [np.array(shape["points"]) / (4000, 3000) for shape in shapes]
    assert np.array_equal(polygons_to_mask(outlines, 3000, 4000), mask)
