"""Many small pictures on one page: contact sheets, and probes (image, truth, prediction side by side)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simpleseg_core.viz._overlay import RgbImage, add_title, draw_overlay, upscale

_GAP = 12
_PAPER = 250


@dataclass(frozen=True, slots=True)
class Probe:
    """One query to look at while a model learns."""

    image: RgbImage
    """uint8 (H, W, 3) RGB."""
    truth: NDArray[np.bool_]
    """bool (H, W)."""
    prediction: NDArray[np.bool_]
    """bool (H, W); all false where the model answered nothing, or nothing that parses."""
    title: str
    """What stands above the row, such as the expression and the IoU."""


def contact_sheet(pictures: Sequence[RgbImage], columns: int) -> RgbImage:
    """Pictures in rows of `columns`, each in a cell as large as the largest, on a light page.

    Raises:
        ValueError: no pictures, or `columns` below 1.
    """
    if not pictures or columns < 1:
        raise ValueError(f"a contact sheet needs pictures and at least one column, got {len(pictures)} and {columns}")
    height = max(picture.shape[0] for picture in pictures) + _GAP
    width = max(picture.shape[1] for picture in pictures) + _GAP
    rows = -(-len(pictures) // columns)
    page = np.full((rows * height + _GAP, min(columns, len(pictures)) * width + _GAP, 3), _PAPER, np.uint8)
    for index, picture in enumerate(pictures):
        top, left = _GAP + index // columns * height, _GAP + index % columns * width
        page[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return page


def probe_sheet(probes: Sequence[Probe], columns: int = 2) -> RgbImage:
    """A page of probes, each with its title above the image, the truth (cyan) and the prediction (magenta).

    Raises:
        ValueError: no probes, or masks whose shape differs from their image's.
    """
    return contact_sheet([_triptych(probe) for probe in probes], columns)


def _triptych(probe: Probe) -> RgbImage:
    panels = (
        upscale(probe.image),
        draw_overlay(probe.image, truth=probe.truth),
        draw_overlay(probe.image, prediction=probe.prediction),
    )
    gap = np.full((panels[0].shape[0], _GAP // 3, 3), _PAPER, np.uint8)
    return add_title(np.concatenate([panels[0], gap, panels[1], gap, panels[2]], axis=1), probe.title)
