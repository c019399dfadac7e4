"""Plots: well-formed SVG that names its series, takes the page's colours, and is the same every time."""

from xml.etree import ElementTree

import numpy as np
import pytest

from simpleseg_core.viz import Curve, curves_svg, intervals_svg, success_svg

STEPS = np.arange(50.0)
CURVES = [Curve("loss", STEPS, np.exp(-STEPS / 10)), Curve("a < b & c", STEPS[:1], STEPS[:1])]
ROWS = [("refshapes/val", {"Base": (20.0, 18.0, 22.0), "SFT": (60.0, 58.0, 63.0)})]


def texts(svg: str) -> str:
    return " ".join(ElementTree.fromstring(svg).itertext())  # noqa: S314 (our own text)


def test_curves_are_named_and_escaped() -> None:
    assert "loss" in texts(curves_svg(CURVES))
    assert "a < b & c" in texts(curves_svg(CURVES))


def test_intervals_name_rows_and_series() -> None:
    found = texts(intervals_svg(ROWS, "gIoU, %"))
    assert all(name in found for name in ("refshapes/val", "Base", "SFT", "gIoU, %"))


def test_success_names_its_series() -> None:
    found = texts(success_svg({"Base": np.array([0.1, 0.5]), "SFT": np.array([1.0])}, "refshapes/val"))
    assert all(name in found for name in ("Base", "SFT", "refshapes/val"))


def test_text_and_grid_take_the_colours_of_the_page() -> None:
    svg = intervals_svg(ROWS, "gIoU")
    assert "currentColor" in svg
    assert "var(--line" in svg
    assert "#000000" not in svg


def test_the_same_data_gives_the_same_svg() -> None:
    assert curves_svg(CURVES) == curves_svg(CURVES)


def test_nothing_to_plot_is_an_error() -> None:
    with pytest.raises(ValueError, match="no curves"):
        curves_svg([])
    with pytest.raises(ValueError, match="no rows"):
        intervals_svg([], "gIoU")
    with pytest.raises(ValueError, match="at least one IoU"):
        success_svg({"Base": np.array([])}, "val")
