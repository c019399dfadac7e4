"""Pixels as people see them: the one place where an image is opened, turned upright and made 8-bit RGB."""

import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, TiffImagePlugin, UnidentifiedImageError
from PIL.ExifTags import Base

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = (5, 6, 7, 8)
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
"""Raster formats whose decoders are part of Pillow's core; nothing that starts another program or reads other files."""
SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .jif .jfi .pjpeg .pjp .png .apng .webp .gif .bmp .dib .tif .tiff .avif".split()
)
"""Of their files, in small letters."""
_SIGNED = 2
"""TIFF's code for integers below zero."""


def read_rgb(source: Path | bytes, name: object = None) -> Image.Image:
    """An image file, or its bytes, upright and in 8-bit RGB, transparency over white.

    Args:
        name: what errors call it; unset: the path.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no image, a damaged one, or values of no known range; names the file.
    """
    try:
        with open_image(source) as image:
            return upright_rgb(image)
    except FileNotFoundError:
        raise
    except Exception as error:  # Pillow's plugins raise whatever damage leads them to
        raise ValueError(f"{_called(source, name)}: not a readable image ({error})") from error


def read_size(source: Path | bytes, name: object = None) -> tuple[int, int]:
    """Width and height in pixels of the upright image, from the header.

    Raises:
        FileNotFoundError, ValueError: as `read_rgb`.
    """
    try:
        with open_image(source) as image:
            return upright_size(image)
    except FileNotFoundError:
        raise
    except Exception as error:  # as above
        raise ValueError(f"{_called(source, name)}: not a readable image ({error})") from error


def open_image(source: Path | bytes) -> Image.Image:
    """An image file, or its bytes, of one of `FORMATS`, unread.

    Raises:
        Exception: whatever damage leads Pillow's plugins to.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # damage that matters raises
            image = Image.open(BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS)
            image.info.pop("xmp", None)  # by which Pillow would turn TIFF
            return image
    except UnidentifiedImageError:  # its message is the address of the bytes
        raise ValueError(f"damaged, or of another kind than {', '.join(FORMATS)}") from None


def orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 (upright) for anything else, and where EXIF is missing or damaged."""
    try:
        with warnings.catch_warnings(action="ignore"):  # as below: damage means upright
            value = _exif_orientation(image)
    except Exception:  # damaged EXIF; the pixels may be sound
        return 1
    return value if isinstance(value, int) and value in _TURNS else 1


def _exif_orientation(image: Image.Image) -> object:
    """What EXIF says. Pillow asks XMP too where EXIF is silent; viewers and the loaders of data sets do not."""
    if image.format == "TIFF":
        return image.tag_v2.get(Base.Orientation)  # type: ignore[attr-defined]
    image.getexif()  # EXIF of a PNG may stand behind its pixels: this reads as far
    exif = Image.Exif()
    exif.load(image.info.get("exif", b""))
    return exif.get(Base.Orientation)


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Width and height in pixels after turning, of an image that may be unread."""
    return image.size[::-1] if is_sideways(image) else image.size


def is_sideways(image: Image.Image) -> bool:
    """Whether turning will swap the sides that `image.size` says now; Pillow gives those of TIFF as turned."""
    return image.format != "TIFF" and orientation(image) in _SIDEWAYS


def upright_rgb(image: Image.Image) -> Image.Image:
    """The pixels, upright and in 8-bit RGB: transparency over white, 16 bits by their upper eight, floats from 0..1.

    Raises:
        ValueError: floats outside 0..1, or integers of 32 bits, whose white nobody knows.
    """
    turn = None if image.format == "TIFF" else _TURNS.get(orientation(image))  # Pillow turns TIFF when it reads it
    image.load()
    eight = _over_white(_in_eight_bits(image))
    return eight if turn is None else eight.transpose(turn)


def _called(source: Path | bytes, name: object) -> object:
    return name if name is not None else source if isinstance(source, Path) else "the image"


def _in_eight_bits(image: Image.Image) -> Image.Image:
    if image.mode == "I" or _SIGNED in _tag(image, TiffImagePlugin.SAMPLEFORMAT):
        raise ValueError("its pixels are integers of 32 bits, or below zero: save it with 8 or 16 bits, without a sign")
    if image.mode.startswith("I;16"):
        values = np.asarray(image)
        (bits, *_) = _tag(image, TiffImagePlugin.BITSPERSAMPLE) or (16,)
        eight = Image.fromarray((values >> (bits - 8)).astype(np.uint8))
        hidden = image.info.get("transparency")
    elif image.mode == "F":
        values = np.asarray(image)
        if not (values.min() >= 0 and values.max() <= 1):  # false for NaN
            raise ValueError("its pixels are floats outside 0..1, whose range is not known: save it with 8 or 16 bits")
        eight, hidden = Image.fromarray(np.rint(values * 255).astype(np.uint8)), None
    else:
        return image
    if _tag(image, TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == (0,):  # zero is white: Pillow minds it with 8 bits
        eight = ImageOps.invert(eight)
    if hidden is not None:
        eight.putalpha(Image.fromarray(np.where(values == hidden, 0, 255).astype(np.uint8)))
    return eight


def _tag(image: Image.Image, number: int) -> tuple[int, ...]:
    """What a TIFF says of its pixels; nothing for other formats."""
    value = image.tag_v2.get(number, ()) if image.format == "TIFF" else ()  # type: ignore[attr-defined]
    return value if isinstance(value, tuple) else (value,)


def _over_white(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image if image.mode == "RGB" else image.convert("RGB")
    layered = image.convert("RGBA")
    flat = Image.new("RGB", layered.size, "white")
    flat.paste(layered, mask=layered)
    return flat
