"""Small referring data sets written in the layouts of the published ones."""

import json
import pickle
import struct
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

WIDTH, HEIGHT = 64, 48


def rectangle(left: int, top: int, right: int, bottom: int) -> list[list[float]]:
    """A COCO segmentation of one rectangle."""
    return [[float(side) for side in (left, top, right, top, right, bottom, left, bottom)]]


def picture(seed: int, suffix: str = ".jpg") -> bytes:
    """A picture of coarse random blocks: those of different seeds have different perceptual hashes."""
    blocks = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    buffer = BytesIO()
    Image.fromarray(blocks.repeat(8, 0).repeat(8, 1)).save(buffer, "PNG" if suffix == ".png" else "JPEG", quality=95)
    return buffer.getvalue()


def broken_png() -> bytes:
    """A PNG whose header is sound; what Pillow says of the chunk behind its first pixels is a SyntaxError."""
    data = picture(0, ".png")
    start = data.index(b"IDAT") + 4
    pixels = data[start : start + 40]
    return (
        data[: start - 8]
        + struct.pack(">I", 40)
        + b"IDAT"
        + pixels
        + struct.pack(">I", crc32(b"IDAT" + pixels))
        + b"\1" * 40
    )


def ref(identifier: int, image: int, ann: Any, split: str, *sentences: str, **more: Any) -> dict[str, Any]:
    """A reference as the toolbox stores it."""
    return {
        "ref_id": identifier,
        "ann_id": ann,
        "category_id": 1,
        "image_id": image,
        "file_name": f"COCO_train2014_{image:012d}_{identifier}.jpg",
        "split": split,
        "sent_ids": list(range(len(sentences))),
        "sentences": [
            {"sent": text, "raw": text, "tokens": text.split(), "sent_id": number}
            for number, text in enumerate(sentences)
        ],
        **more,
    }


def instances(annotations: Mapping[int, tuple[int, Any]], images: Sequence[int] = ()) -> dict[str, Any]:
    """`instances.json`: annotation id -> (image id, segmentation)."""
    named = dict.fromkeys([*images, *(image for image, _ in annotations.values())])
    return {
        "images": [
            {"id": image, "file_name": f"COCO_train2014_{image:012d}.jpg", "width": WIDTH, "height": HEIGHT}
            for image in named
        ],
        "annotations": [
            {"id": key, "image_id": image, "category_id": 1, "segmentation": outline, "bbox": [4, 4, 20, 12]}
            for key, (image, outline) in annotations.items()
        ],
        "categories": [{"id": 1, "name": "Person"}],
    }


def write_refer(
    root: Path, refs: Any, content: Mapping[str, Any], name: str = "refs(unc).p", *, protocol: int = 2, pixels: int = 0
) -> Path:
    """A folder in the layout of the toolbox, with a picture for each image (its seed: image id + `pixels`)."""
    (root / "images").mkdir(parents=True, exist_ok=True)
    if name.endswith(".json"):
        (root / name).write_text(json.dumps(refs))
    else:
        (root / name).write_bytes(pickle.dumps(refs, protocol))
    (root / "instances.json").write_text(json.dumps(content))
    for image in content["images"]:
        (root / "images" / image["file_name"]).write_bytes(picture(image["id"] + pixels))
    return root


def small_refcoco(root: Path, *, protocol: int = 2, pixels: int = 0) -> Path:
    """Train images 1 and 2, one image each in val, testA and testB; two objects in image 1."""
    outlines = {10: (1, rectangle(4, 4, 24, 20)), 11: (1, rectangle(30, 10, 60, 40)), 20: (2, rectangle(8, 8, 40, 30))}
    outlines |= {30: (3, rectangle(4, 4, 30, 30)), 40: (4, rectangle(2, 2, 50, 20)), 50: (5, rectangle(6, 6, 20, 44))}
    refs = [
        ref(1, 1, 10, "train", "left man", "guy in red"),
        ref(2, 1, 11, "train", "right man"),
        ref(3, 2, 20, "train", "dog"),
        ref(4, 3, 30, "val", "woman", "lady"),
        ref(5, 4, 40, "testA", "man in hat"),
        ref(6, 5, 50, "testB", "tall vase"),
    ]
    return write_refer(root, refs, instances(outlines), protocol=protocol, pixels=pixels)


def write_refcocom(root: Path, rows: Sequence[Mapping[str, Any]], row_group_size: int = 2) -> Path:
    """`data/validation-00000-of-00001.parquet` with the columns of the publisher."""
    mask = pa.struct([("counts", pa.string()), ("size", pa.list_(pa.int32()))])
    texts, box = pa.list_(pa.string()), pa.list_(pa.float32())
    sample = pa.struct(
        [("id", pa.int64()), ("category", pa.string()), ("sentences", texts), ("bbox", box), ("mask", mask)]
    )
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema([("image", image), ("image_id", pa.int64()), ("samples", pa.list_(sample))])
    (root / "data").mkdir(parents=True)
    table = pa.Table.from_pylist([dict(row) for row in rows], schema=schema)
    pq.write_table(table, root / "data" / "validation-00000-of-00001.parquet", row_group_size=row_group_size)
    return root
