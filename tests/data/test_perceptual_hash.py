"""Our perceptual hash is the usual one, and decoding less for it changes little."""

from io import BytesIO

import imagehash
import pytest
from PIL import Image

from simpleseg_core.data.perceptual_hash import draft, phash
from tests.fetch.images import encode, picture


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "CMYK"])
@pytest.mark.parametrize("size", [(320, 240), (33, 500), (8, 8)])
def test_it_is_the_usual_one(mode: str, size: tuple[int, int]) -> None:
    for seed in range(4):
        image = picture(size, seed).convert(mode)
        assert phash(image) == str(imagehash.phash(image))


@pytest.mark.parametrize("seed", range(4))
def test_a_drafted_jpeg_has_about_the_same(seed: int) -> None:
    body = encode(picture((640, 480), seed), "JPEG")
    with Image.open(BytesIO(body)) as whole, Image.open(BytesIO(body)) as drafted:
        draft(drafted)
        assert drafted.size[0] < whole.size[0]
        assert (int(phash(drafted), 16) ^ int(phash(whole), 16)).bit_count() <= 2
