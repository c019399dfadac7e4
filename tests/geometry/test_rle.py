"""Run-length encodings are those of pycocotools, both ways."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco

from simpleseg_core.geometry import Mask, decode_rle, encode_rle
from tests.geometry.shapes_zoo import awkward, masks


@settings(max_examples=80, deadline=None)
@given(masks(), st.booleans())
def test_encoding_is_that_of_pycocotools_and_decoding_undoes_it(mask: Mask, by_column: bool) -> None:
    encoded = encode_rle(np.asfortranarray(mask) if by_column else mask)
    assert encoded["counts"] == coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
    assert encoded["size"] == list(mask.shape)
    assert np.array_equal(decode_rle(encoded), mask)


@pytest.mark.parametrize("name", awkward())
def test_awkward_masks_survive(name: str) -> None:
    mask = awkward()[name]
    assert np.array_equal(decode_rle(encode_rle(mask)), mask)


def test_long_runs_survive() -> None:
    mask = np.zeros((3000, 2000), bool)
    mask[:, 700:1500] = True
    assert encode_rle(mask)["counts"] == coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
    assert np.array_equal(decode_rle(encode_rle(mask)), mask)


@pytest.mark.parametrize(
    ("rle", "complaint"),
    [
        ({"counts": "04"}, "size"),
        ({"size": [2], "counts": "04"}, "size"),
        ({"size": [-2, 2], "counts": "04"}, "negative"),
        ({"size": [2, 2]}, "not text"),
        ({"size": [2, 2], "counts": [0, 4]}, "not text"),
        ({"size": [2, 2], "counts": "05"}, "add up"),
        ({"size": [2, 2], "counts": "03"}, "add up"),
        ({"size": [2, 2], "counts": "0o"}, "add up"),
        ({"size": [2, 2], "counts": "é~"}, "add up"),
        ({"size": [2, 2], "counts": ""}, "add up"),
    ],
)
def test_what_is_no_rle_is_refused_with_a_reason(rle: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        decode_rle(rle)  # type: ignore[arg-type]


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=40), st.integers(0, 30), st.integers(0, 30))
def test_any_text_decodes_or_is_refused(counts: str, height: int, width: int) -> None:
    try:
        mask = decode_rle({"size": [height, width], "counts": counts})
    except ValueError:
        return
    assert mask.shape == (height, width)
