"""A body is an image or has a reason why not; what is kept has the size it says."""

from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from simpleseg_core.config import IngestConfig
from simpleseg_core.fetch._images import inspect
from simpleseg_core.fetch._status import Refused
from tests.fetch.images import encode, gif_bomb, picture, png_bomb, text_bomb, tiff_bomb, webp_bomb

LIMITS = IngestConfig()


def reason(body: bytes, limits: IngestConfig = LIMITS) -> str:
    with pytest.raises(Refused) as caught:
        inspect(body, limits)
    return caught.value.status


def stored(body: bytes, limits: IngestConfig = LIMITS) -> Image.Image:
    return Image.open(BytesIO(inspect(body, limits).data))


def test_a_plain_jpeg_is_kept_as_served() -> None:
    body = encode(picture(), "JPEG")
    kept = inspect(body, LIMITS)
    assert (kept.data, kept.width, kept.height) == (body, 64, 48)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_other_formats_become_jpeg(kind: str) -> None:
    image = stored(encode(picture(), kind))
    assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (64, 48))
    assert np.abs(np.asarray(image, int) - np.asarray(picture(), int)).mean() < 12


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "I;16", "CMYK", "1"])
def test_every_colour_mode_becomes_rgb(mode: str) -> None:
    image = Image.new(mode, (50, 40)) if mode == "I;16" else picture((50, 40)).convert(mode)
    assert stored(encode(image, "TIFF")).mode == "RGB"


def test_transparency_is_laid_over_white() -> None:
    image = stored(encode(Image.new("RGBA", (40, 40), (255, 0, 0, 0)), "PNG"))
    assert np.asarray(image).min() > 250


def test_exif_rotation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    kept = inspect(encode(picture((64, 48)), "JPEG", exif=exif), LIMITS)
    assert (kept.width, kept.height, kept.original_width, kept.original_height) == (48, 64, 64, 48)


@pytest.mark.parametrize(
    ("resize", "size", "expected"),
    [
        ("keep", (300, 200), (300, 200)),
        ("longest", (300, 200), (96, 64)),
        ("longest", (60, 40), (60, 40)),
        ("border", (300, 200), (96, 96)),
        ("border", (60, 40), (96, 96)),
    ],
)
def test_resize_modes(resize: str, size: tuple[int, int], expected: tuple[int, int]) -> None:
    limits = IngestConfig(resize=resize, image_size=96)  # type: ignore[arg-type]
    kept = inspect(encode(picture(size), "JPEG"), limits)
    assert (kept.width, kept.height) == expected
    assert (kept.original_width, kept.original_height) == size
    assert Image.open(BytesIO(kept.data)).size == expected


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_shrunk_picture_looks_like_the_whole_one(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    whole = picture((640, 480))
    limits = IngestConfig(resize="longest", image_size=100)
    shrunk = stored(encode(whole, kind, exif=exif), limits)
    expected = whole.resize((100, 75), Image.Resampling.LANCZOS)
    if orientation == 6:
        expected = expected.transpose(Image.Transpose.ROTATE_270)
    assert shrunk.size == expected.size
    assert np.abs(np.asarray(shrunk, int) - np.asarray(expected, int)).mean() < 2


@pytest.mark.parametrize(
    "body",
    [png_bomb(60_000, 60_000), gif_bomb(65_000, 65_000), webp_bomb(), tiff_bomb(100_000, 100_000)],
    ids=["png", "gif", "webp", "tiff"],
)
def test_pixel_bombs_are_refused_by_their_header(body: bytes) -> None:
    assert reason(body) == "too_many_pixels"


def test_a_header_that_lies_about_its_data_is_broken() -> None:
    assert reason(png_bomb(100, 100)) == "broken_image"


def test_a_text_chunk_that_explodes_is_not_inflated() -> None:
    assert reason(text_bomb()) in ("not_an_image", "broken_image")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_cut_images_are_broken(kind: str, share: float) -> None:
    body = encode(picture((200, 150)), kind)
    assert reason(body[: int(len(body) * share)]) in ("broken_image", "not_an_image")


@pytest.mark.parametrize(
    "body",
    [
        b"<!doctype html><html>",
        b"",
        b"\x00" * 100,
        b"%PDF-1.4",
        b"%!PS-Adobe-3.0 EPSF-3.0",
        b"<svg xmlns=''/>",
        b"\xff\xd8",
    ],
)
def test_other_things_are_not_images(body: bytes) -> None:
    assert reason(body) == "not_an_image"


def test_small_and_narrow_images_are_refused() -> None:
    assert reason(encode(picture((31, 200)), "JPEG")) == "too_small"
    assert reason(encode(picture((40, 200)), "JPEG")) == "aspect"


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=300), st.sampled_from(["JPEG", "PNG", "WEBP", "GIF", "TIFF"]), st.integers(0, 2000))
def test_damage_never_raises_anything_else(noise: bytes, kind: str, position: int) -> None:
    body = bytearray(encode(picture(), kind))
    body[position : position + len(noise)] = noise
    try:
        kept = inspect(bytes(body), LIMITS)
    except Refused:
        return
    assert Image.open(BytesIO(kept.data)).size == (kept.width, kept.height)


@pytest.mark.parametrize("seed", range(8))
def test_the_perceptual_hash_survives_compression_and_scaling(seed: int) -> None:
    image = picture((320, 240), seed)
    copies = [encode(image, "JPEG", quality=60), encode(image.resize((160, 120)), "PNG")]
    reference = int(inspect(encode(image, "PNG"), LIMITS).phash, 16)
    for copy in copies:
        assert (int(inspect(copy, LIMITS).phash, 16) ^ reference).bit_count() <= 4
