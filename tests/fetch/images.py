"""Bodies that are images, and bodies that only pretend."""

import struct
import zlib
from io import BytesIO

import numpy as np
from PIL import Image


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def picture(size: tuple[int, int] = (64, 48), seed: int = 0, mode: str = "RGB") -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).convert(mode)


def png_bomb(width: int, height: int) -> bytes:
    """A valid PNG header that announces width x height pixels, with next to no data behind it."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", zlib.compress(bytes(1000)))
        + _chunk(b"IEND", b"")
    )


def gif_bomb(width: int, height: int) -> bytes:
    """A GIF whose screen and first frame are width x height, with next to no data behind them."""
    screen = struct.pack("<HH", width, height) + b"\x80\x00\x00" + bytes(6)
    frame = b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x4c\x01\x00"
    return b"GIF89a" + screen + frame + b";"


def webp_bomb() -> bytes:
    """A WebP container that announces a canvas of 16383 x 16383 pixels."""
    extended = b"VP8X" + struct.pack("<I", 10) + bytes(4) + struct.pack("<I", 16382)[:3] + struct.pack("<I", 16382)[:3]
    inner = b"WEBP" + extended
    return b"RIFF" + struct.pack("<I", len(inner)) + inner


def tiff_bomb(width: int, height: int) -> bytes:
    """A TIFF directory that announces width x height pixels."""
    tags = [(256, width), (257, height), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, height), (279, 1)]
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\x00" + struct.pack("<I", 8) + struct.pack("<H", len(tags)) + directory + struct.pack("<I", 0)


def text_bomb() -> bytes:
    """A small PNG whose text chunk inflates to 50 MB."""
    plain = encode(picture(), "PNG")
    text = _chunk(b"zTXt", b"note\x00\x00" + zlib.compress(bytes(50_000_000), 9))
    return plain[:33] + text + plain[33:]


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
