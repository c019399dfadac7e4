"""What a body must pass to count as an image, and what is kept of it: header checks, decoding, hashes, resizing."""

import hashlib
import warnings
from dataclasses import dataclass, fields
from io import BytesIO

from PIL import Image, ImageOps

from simpleseg_core.config import IngestConfig
from simpleseg_core.data.perceptual_hash import draft, phash
from simpleseg_core.data.pixels import is_sideways, open_image, orientation, upright_rgb
from simpleseg_core.fetch._status import Refused, Status

_KEPT_AS_SERVED = {"JPEG": ("RGB", "L")}


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """An image that passed: bytes to store (JPEG), their size in pixels, the size as served, and its hashes."""

    data: bytes
    width: int
    height: int
    original_width: int
    original_height: int
    sha256: str
    """Of the body as served."""
    phash: str

    @property
    def columns(self) -> dict[str, int | str]:
        """What INGEST rows say of it: all but the bytes."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "data"}


def inspect(body: bytes, limits: IngestConfig) -> DecodedImage:
    """Check, decode and, where needed, convert one image.

    Pixels are counted from the header, before anything is decoded. A plain JPEG that keeps its size is stored as
    served; everything else (other formats, rotated by EXIF, with transparency, resized) becomes a JPEG.

    Raises:
        Refused: `not_an_image`, `too_many_pixels`, `too_small`, `aspect` or `broken_image`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = _open(body)
        width, height = _check_header(image, limits)
        try:
            return _convert(image, body, width, height, limits)
        except Exception as error:
            raise Refused(Status.BROKEN_IMAGE, f"{type(error).__name__}: {error}"[:200]) from error


def _open(body: bytes) -> Image.Image:
    try:
        return open_image(body)
    except Image.DecompressionBombError as error:
        raise Refused(Status.TOO_MANY_PIXELS, str(error)[:200]) from error
    except Exception as error:  # Pillow's plugins raise whatever damaged headers lead them to
        raise Refused(Status.NOT_AN_IMAGE, f"starts with {body[:12]!r}") from error


def _check_header(image: Image.Image, limits: IngestConfig) -> tuple[int, int]:
    width, height = image.size
    if width * height > limits.max_pixels:
        raise Refused(Status.TOO_MANY_PIXELS, f"{width} x {height}, the limit is {limits.max_pixels} pixels")
    if min(width, height) < limits.min_side:
        raise Refused(Status.TOO_SMALL, f"{width} x {height}, the shorter side must have {limits.min_side}")
    if max(width, height) > limits.max_aspect * min(width, height):
        raise Refused(Status.ASPECT, f"{width} x {height}, the longest aspect is {limits.max_aspect:g}")
    return width, height


def _convert(image: Image.Image, body: bytes, width: int, height: int, limits: IngestConfig) -> DecodedImage:
    sha256 = hashlib.sha256(body).hexdigest()
    if _fits_as_served(image, limits):
        draft(image)  # a cut file is found nevertheless
        return DecodedImage(body, width, height, width, height, sha256, phash(image))
    sideways = is_sideways(image)
    size = _stored_size(width, height, limits)
    image.draft("RGB", size)  # a JPEG comes out of its decoder at half the size or less where that is enough
    small = _resize(upright_rgb(image), size[::-1] if sideways else size)
    side = limits.image_size
    stored = ImageOps.pad(small, (side, side), color="white") if limits.resize == "border" else small
    buffer = BytesIO()
    stored.save(buffer, format="JPEG", quality=limits.jpeg_quality)
    return DecodedImage(buffer.getvalue(), *stored.size, width, height, sha256, phash(small))


def _fits_as_served(image: Image.Image, limits: IngestConfig) -> bool:
    plain = image.mode in _KEPT_AS_SERVED.get(str(image.format), ()) and orientation(image) == 1
    fits = limits.resize == "keep" or (limits.resize == "longest" and max(image.size) <= limits.image_size)
    return plain and fits


def _stored_size(width: int, height: int, limits: IngestConfig) -> tuple[int, int]:
    """Pixels of the picture to store, without a border."""
    scale = 1.0 if limits.resize == "keep" else min(1.0, limits.image_size / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _resize(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    # Hamming's window: as quick as averaging areas, and sharper.
    return image if image.size == size else image.resize(size, Image.Resampling.HAMMING)
