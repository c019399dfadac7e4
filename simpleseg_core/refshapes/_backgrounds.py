"""Backgrounds of RefShapes: plain, textured or cut from photographs, always far from the colours of the objects."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from simpleseg_core.config.refshapes import RefShapesConfig
from simpleseg_core.data.pixels import read_rgb

MIN_CONTRAST = 55.0
"""Least RGB distance between any background pixel and the colour of any object, as painted and as in `PALETTE`."""

_TEXTURE_SWING = 30.0
_PHOTO_SWING = 70.0
_PHOTO_SIDE = 512
Image = NDArray[np.float32]


def background(
    config: RefShapesConfig, colors: Sequence[tuple[float, float, float]], rng: np.random.Generator
) -> Image:
    """A float32 RGB background (side, side, 3), nowhere closer to one of `colors` than `MIN_CONTRAST`."""
    kind = _kind(config, rng)
    base, room = _base(np.array(colors, np.float32), rng, demanding=kind == "photo")
    side = config.image_size
    if kind == "plain":
        return np.full((side, side, 3), base, np.float32)
    if kind == "photo" and config.photo_dir is not None:
        return base + np.clip(_photo(config.photo_dir, side, rng), -1, 1) * min(room, _PHOTO_SWING)
    return base + _texture(side, rng) * min(room, _TEXTURE_SWING)


def _kind(config: RefShapesConfig, rng: np.random.Generator) -> str:
    draw = rng.random()
    if config.backgrounds != "mixed":
        return config.backgrounds
    if config.photo_dir is not None and draw < 0.5:
        return "photo"
    return "plain" if draw * 4 % 1 < 0.5 else "texture"


def _base(colors: Image, rng: np.random.Generator, demanding: bool, wanted: float = 95.0) -> tuple[Image, float]:
    """A muted colour, and how far each of its channels may swing.

    It is the first of the draws that is `wanted` away from each of `colors` (N, 3), or the farthest if `demanding`.
    """
    draws = (rng.uniform(70, 195, (24, 1)) + rng.uniform(-28, 28, (24, 3))).astype(np.float32)
    distances = np.sqrt(((draws[:, None] - colors[None]) ** 2).sum(axis=2)).min(axis=1)
    enough = np.flatnonzero(distances >= wanted)
    chosen = int(distances.argmax()) if demanding or not len(enough) else int(enough[0])
    base = draws[chosen]
    # Inside this cube no pixel comes closer than MIN_CONTRAST to a colour, nor leaves [0, 255].
    room = (float(distances[chosen]) - MIN_CONTRAST) / 3**0.5
    return base, max(0.0, min(room, float(base.min()), 255 - float(base.max())))


def _texture(side: int, rng: np.random.Generator) -> Image:
    """A pattern in [-1, 1], (side, side, 1 or 3)."""
    match int(rng.integers(4)):
        case 0:
            return _gradient(side, rng)
        case 1:
            return _blotches(side, rng)
        case 2:
            return _stripes(side, rng)
        case _:
            return _speckle(side, rng)


def _ramp(side: int, rng: np.random.Generator) -> Image:
    """Position along a random direction, over the image side, (side, side)."""
    angle = rng.uniform(0, 2 * np.pi)
    line = np.arange(side, dtype=np.float32) / side
    return np.asarray(np.cos(angle) * line[None, :] + np.sin(angle) * line[:, None], np.float32)


def _gradient(side: int, rng: np.random.Generator) -> Image:
    ramp = _ramp(side, rng)
    low, high = ramp.min(), ramp.max()
    return np.asarray((ramp - low) * (2 / (high - low)) - 1, np.float32)[:, :, None]


def _stripes(side: int, rng: np.random.Generator) -> Image:
    waves = rng.uniform(3, 9)
    return np.asarray(np.sin(_ramp(side, rng) * (waves * 2 * np.pi)), np.float32)[:, :, None]


def _blotches(side: int, rng: np.random.Generator) -> Image:
    cells = int(rng.integers(3, 10))
    grid = rng.uniform(-1, 1, (cells, cells, 3)).astype(np.float32)
    return np.asarray(cv2.resize(grid, (side, side), interpolation=cv2.INTER_LINEAR), np.float32)


def _speckle(side: int, rng: np.random.Generator) -> Image:
    grain = rng.integers(0, 255, (side // 2, side // 2, 1), np.uint8, endpoint=True)
    fine = np.asarray(cv2.resize(grain, (side, side), interpolation=cv2.INTER_NEAREST), np.float32)
    return fine[:, :, None] / np.float32(127.5) - 1


def _photo(folder: Path, side: int, rng: np.random.Generator) -> Image:
    """A random square crop, centred on its mean and scaled so that most of it lies in [-1, 1], (side, side, 3)."""
    files = _photo_files(folder)
    photo = _read_photo(files[int(rng.integers(len(files)))])
    height, width = photo.shape[:2]
    edge = int(min(height, width) * rng.uniform(0.5, 1))
    top, left = int(rng.integers(height - edge + 1)), int(rng.integers(width - edge + 1))
    crop = cv2.resize(photo[top : top + edge, left : left + edge], (side, side), interpolation=cv2.INTER_AREA)
    centred = crop.astype(np.float32) - crop.mean(axis=(0, 1), dtype=np.float32)
    return np.asarray(centred / max(1.0, 2 * float(centred.std())), np.float32)


@lru_cache(maxsize=8)
def _photo_files(folder: Path) -> tuple[Path, ...]:
    files = sorted(
        path for path in folder.rglob("*") if path.suffix.lower() in {".jpg", ".jpeg", ".jpe", ".jfif", ".png"}
    )
    if not files:
        raise ValueError(
            f"data.refshapes.photo_dir: {folder} holds no JPEG or PNG files; name a folder that does, or unset it"
        )
    return tuple(files)


@lru_cache(maxsize=256)
def _read_photo(path: Path) -> NDArray[np.uint8]:
    """An RGB photograph whose longer side is at most 512 pixels."""
    try:
        pixels = np.asarray(read_rgb(path))
    except ValueError as error:
        raise ValueError(f"data.refshapes.photo_dir: {error}; remove it") from error
    scale = min(1.0, _PHOTO_SIDE / max(pixels.shape[:2]))
    small = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)
