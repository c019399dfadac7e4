"""Our own annotations as a source of the dataset."""

import numpy as np

from simpleseg_core.config import Config
from simpleseg_core.geometry import encode_rle
from simpleseg_core.instructions.compose import pretrain_rows
from simpleseg_core.sources.annotations import described_images


def test_descriptions_are_asked_about_unless_they_are_ambiguous() -> None:
    mask = np.ones((4, 4), bool)
    row: dict[str, object] = {"image": "a", "shard": "images/00000.tar", "width": 4, "height": 4}
    row |= {"phrase": "dog", "description": "big dog", "description_source": "caption"}
    row |= {"box": [0.0, 0.0, 1.0, 1.0], "point": [0.5, 0.5], "rle_counts": encode_rle(mask)["counts"]}
    row |= {"polygons": [[[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]]}
    (item,) = described_images([row, row | {"description": "dog", "description_source": "ambiguous"}], {"a": "ff"})
    assert [reference.expression for reference in item.labels.references] == ["big dog"]
    assert [target.phrase for target in item.labels.targets] == ["dog", "dog"]
    assert item.phash == "ff"
    rows = list(pretrain_rows([item], Config()))
    assert len(rows) == 2
    assert {row["source"] for row in rows} == {"annotations"}
