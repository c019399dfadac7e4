"""Pixels are those that people see: upright whatever EXIF says, eight bits whatever the file holds."""

import re
import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from simpleseg_core.config import IngestConfig
from simpleseg_core.data.pixels import read_rgb, read_size
from simpleseg_core.fetch import Refused, inspect

UPRIGHT = np.zeros((40, 64, 3), np.uint8)
UPRIGHT[:20, :32] = (220, 30, 30)
UPRIGHT[20:, :32] = (30, 30, 220)
UPRIGHT[:20, 32:] = (30, 200, 30)
"""Three corners of one colour each, so that every turn and flip shows."""
STORED = {
    1: UPRIGHT, 2: UPRIGHT[:, ::-1], 3: UPRIGHT[::-1, ::-1], 4: UPRIGHT[::-1], 5: UPRIGHT.transpose(1, 0, 2),
    6: np.rot90(UPRIGHT), 7: UPRIGHT[::-1, ::-1].transpose(1, 0, 2), 8: np.rot90(UPRIGHT, -1),
}  # fmt: skip
"""Pixels of a file with an EXIF orientation that shows them as `UPRIGHT`."""


def _encoded(pixels: np.ndarray, format_: str, orientation: Any = None) -> bytes:
    buffer, exif = BytesIO(), Image.Exif()
    options: dict[str, Any] = {"quality": 95, "subsampling": 0} if format_ in ("JPEG", "MPO") else {}
    if orientation is not None:
        exif[0x0112] = orientation
        options["exif"] = exif
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, format_, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("format_", ["JPEG", "MPO", "PNG", "TIFF", "WEBP", "AVIF"])
def test_every_orientation_is_shown_upright(format_: str, orientation: int) -> None:
    body = _encoded(STORED[orientation], format_, orientation)
    limits = IngestConfig(min_side=2)
    stored = inspect(body, limits)
    assert read_size(body) == (stored.width, stored.height) == (64, 40)
    for pixels in (read_rgb(body), Image.open(BytesIO(stored.data))):
        np.testing.assert_allclose(np.asarray(pixels, np.int16)[5:15, 5:25], UPRIGHT[5:15, 5:25], atol=40)
        np.testing.assert_allclose(np.asarray(pixels, np.int16)[25:35, 5:25], UPRIGHT[25:35, 5:25], atol=40)
        np.testing.assert_allclose(np.asarray(pixels, np.int16)[5:15, 40:60], UPRIGHT[5:15, 40:60], atol=40)


@pytest.mark.parametrize("orientation", STORED)
def test_a_sideways_photograph_may_be_shrunk_on_the_way(orientation: int) -> None:
    body = _encoded(np.kron(STORED[orientation], np.ones((8, 8, 1), np.uint8)), "JPEG", orientation)
    stored = inspect(body, IngestConfig(resize="longest", image_size=64))
    assert (stored.width, stored.height) == (64, 40)
    np.testing.assert_allclose(np.asarray(read_rgb(stored.data), np.int16)[5:15, 5:25], UPRIGHT[5:15, 5:25], atol=40)


def test_opencv_agrees_about_what_is_upright() -> None:
    for orientation, stored in STORED.items():
        body = np.frombuffer(_encoded(stored, "JPEG", orientation), np.uint8)
        seen = cv2.imdecode(body, cv2.IMREAD_COLOR)[:, :, ::-1].astype(np.int16)
        np.testing.assert_allclose(seen, np.asarray(read_rgb(body.tobytes()), np.int16), atol=3)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
@pytest.mark.parametrize("format_", ["JPEG", "PNG", "TIFF"])
def test_any_other_orientation_means_upright(format_: str, orientation: int) -> None:
    body = _encoded(UPRIGHT, format_, orientation)
    assert read_size(body) == read_rgb(body).size == (64, 40)
    stored = inspect(body, IngestConfig(min_side=2))
    assert (stored.width, stored.height) == (64, 40)


XMP = b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/>'


@pytest.mark.parametrize(
    ("format_", "options"),
    [
        ("JPEG", {"xmp": XMP}),
        ("JPEG", {"xmp": XMP, "exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"}),
        ("WEBP", {"xmp": XMP}),
        ("AVIF", {"xmp": XMP}),
        ("TIFF", {"tiffinfo": {700: XMP}}),
    ],
)
def test_xmp_turns_nothing(format_: str, options: dict[str, Any]) -> None:
    buffer = BytesIO()
    Image.fromarray(UPRIGHT).save(buffer, format_, **options)
    body = buffer.getvalue()
    assert b"tiff:Orientation" in body
    assert read_size(body) == read_rgb(body).size == (64, 40)
    stored = inspect(body, IngestConfig(min_side=2))
    assert (stored.width, stored.height) == (64, 40)


def test_damaged_exif_means_upright() -> None:
    body = _encoded(UPRIGHT, "JPEG", 6)
    damaged = body.replace(b"II*\x00\x08\x00\x00\x00", b"II*\x00\xff\xff\xff\x00").replace(
        b"MM\x00*\x00\x00\x00\x08", b"MM\x00*\x00\xff\xff\xff"
    )
    assert damaged != body
    assert read_rgb(damaged).size == read_size(damaged) == (64, 40)


RAMP = np.tile(np.linspace(0, 1, 64), (40, 1))


@pytest.mark.parametrize("format_", ["PNG", "TIFF"])
@pytest.mark.parametrize("kind", ["<u2", ">u2"])
def test_sixteen_bits_become_eight(format_: str, kind: str) -> None:
    buffer = BytesIO()
    Image.fromarray((RAMP * 65535).astype(kind)).save(buffer, format_)
    np.testing.assert_allclose(np.asarray(read_rgb(buffer.getvalue()))[..., 0], RAMP * 255, atol=1)
    stored = inspect(buffer.getvalue(), IngestConfig(min_side=2))
    np.testing.assert_allclose(np.asarray(read_rgb(stored.data), np.int16)[..., 0], RAMP * 255, atol=8)


def test_a_sixteen_bit_tiff_whose_zero_is_white_is_no_negative() -> None:
    buffer = BytesIO()
    Image.fromarray((65535 - RAMP * 65535).astype(np.uint16)).save(buffer, "TIFF", tiffinfo={262: 0})
    np.testing.assert_allclose(np.asarray(read_rgb(buffer.getvalue()))[..., 0], RAMP * 255, atol=1)


def test_floats_up_to_one_become_eight_bits_and_others_are_refused() -> None:
    buffer = BytesIO()
    Image.fromarray(RAMP.astype(np.float32)).save(buffer, "TIFF")
    np.testing.assert_allclose(np.asarray(read_rgb(buffer.getvalue()))[..., 1], RAMP * 255, atol=1)
    for values in (RAMP * 300, RAMP - 0.5, np.where(RAMP > 0.5, np.nan, RAMP)):
        buffer = BytesIO()
        Image.fromarray(values.astype(np.float32)).save(buffer, "TIFF")
        with pytest.raises(ValueError, match=r"floats outside 0\.\.1"):
            read_rgb(buffer.getvalue())


def _tiff(pixels: bytes, bits: int, zero_is_white: bool = False, sample_format: int = 1) -> bytes:
    """A grey TIFF of 64 x 40 as other programs write it; `sample_format` 1: integers, 2: with a sign, 3: floats."""
    tags = {256: 64, 257: 40, 258: bits, 259: 1, 262: 1 - zero_is_white, 273: 8, 277: 1, 278: 40, 279: len(pixels)}
    entries = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in (tags | {339: sample_format}).items()]
    header = b"II*\0" + struct.pack("<I", 8 + len(pixels))
    return header + pixels + struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)


def _packed_in_twelve_bits(values: np.ndarray) -> bytes:
    first, second = values[:, ::2], values[:, 1::2]
    return np.dstack([first >> 4, (first & 15) << 4 | second >> 8, second & 255]).astype(np.uint8).tobytes()


def test_twelve_bits_and_floats_of_a_tiff_have_their_own_white() -> None:
    for body, shown in (
        (_tiff(_packed_in_twelve_bits((RAMP * 4095).astype(np.uint16)), 12), RAMP),
        (_tiff(RAMP.astype("<f4").tobytes(), 32, sample_format=3), RAMP),
        (_tiff(RAMP.astype("<f4").tobytes(), 32, zero_is_white=True, sample_format=3), 1 - RAMP),
    ):
        np.testing.assert_allclose(np.asarray(read_rgb(body))[..., 0], shown * 255, atol=1)


@pytest.mark.parametrize(("bits", "kind"), [(8, "i1"), (16, "<i2"), (32, "<i4"), (32, "<u4")])
def test_integers_with_a_sign_or_of_thirty_two_bits_are_refused_with_the_cure(bits: int, kind: str) -> None:
    body = _tiff((RAMP * 100).astype(kind).tobytes(), bits, sample_format=2 if "i" in kind else 1)
    with pytest.raises(ValueError, match="save it with 8 or 16 bits"):
        read_rgb(body)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"P5 1 1 255\n0", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"]
)
def test_other_kinds_of_images_are_refused_everywhere_alike(body: bytes) -> None:
    for read in (read_rgb, read_size):
        with pytest.raises(ValueError, match=r"photo\.x: not a readable image \(damaged, or of another kind than JPEG"):
            read(body, "photo.x")
    with pytest.raises(Refused):
        inspect(body, IngestConfig())


def test_sideways_in_sixteen_bits_is_both_turned_and_scaled() -> None:
    for format_ in ("PNG", "TIFF"):
        buffer, exif = BytesIO(), Image.Exif()
        exif[0x0112] = 6
        Image.fromarray(np.rot90(RAMP * 65535).astype(np.uint16)).save(buffer, format_, exif=exif)
        np.testing.assert_allclose(np.asarray(read_rgb(buffer.getvalue()))[..., 2], RAMP * 255, atol=1)


def _png(pixels: np.ndarray, kind: int, *chunks: bytes) -> bytes:
    """A PNG of 16 bits a channel, whose kind is 0 (grey), 2 (RGB), 4 (grey with alpha) or 6 (RGBA)."""
    lines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, kind, 0, 0, 0))
    body = header + b"".join(chunks) + _chunk(b"IDAT", zlib.compress(lines)) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def test_transparency_of_sixteen_bits_is_white() -> None:
    grey = np.zeros((4, 4))
    half = np.full((4, 4), 32768)
    for body, shown in (
        (_png(grey, 0, _chunk(b"tRNS", bytes(2))), 255),
        (_png(np.dstack([grey] * 3), 2, _chunk(b"tRNS", bytes(6))), 255),
        (_png(np.dstack([grey, half]), 4), 127),
        (_png(np.dstack([grey, grey, grey, half]), 6), 127),
    ):
        assert np.asarray(read_rgb(body)).min() == np.asarray(read_rgb(body)).max() == shown


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr"])
def test_every_mode_shows_the_colours_that_it_holds(mode: str) -> None:
    buffer = BytesIO()
    grey = Image.fromarray(np.where(RAMP > 0.5, 255, 0).astype(np.uint8))
    image = grey.convert("RGB").convert(mode)
    image.save(buffer, "TIFF" if mode in ("CMYK", "YCbCr") else "PNG")
    np.testing.assert_allclose(np.asarray(read_rgb(buffer.getvalue()))[..., 1], np.asarray(grey), atol=2)


OUR_OWN = {
    "simpleseg_core/export/_annotations.py",
    "simpleseg_core/export/formats/sheets.py",
    "simpleseg_core/training/events.py",
    "simpleseg_core/viz/_data_plots.py",
    "tasks/runs/tracking/delivery.py",
}
"""Where pictures that we have written ourselves are opened."""


def test_pictures_of_others_are_opened_in_one_place(repository: Path) -> None:
    opening = re.compile(r"\bImage\.open\(|\bimread\(|\bimdecode\(|\bread_image\(|\bdecode_image\(")
    files = [file for room in ("simpleseg_core", "tasks", "flows") for file in (repository / room).rglob("*.py")]
    found = {file.relative_to(repository).as_posix() for file in files if opening.search(file.read_text("utf-8"))}
    assert found - OUR_OWN == {"simpleseg_core/data/pixels.py"}


def test_what_is_transparent_is_white() -> None:
    buffer = BytesIO()
    Image.fromarray(np.dstack([UPRIGHT, np.zeros((40, 64), np.uint8)])).save(buffer, "PNG")
    assert np.asarray(read_rgb(buffer.getvalue())).min() == 255
