"""Plots about data: they say in words what they show, and they need something to show."""

import numpy as np
import pytest

from simpleseg_core.viz import funnel_picture, funnel_svg, histogram_svg

ROWS = [
    {"filter": "detected", "dropped": 0, "kept": 900},
    {"filter": "predicted_iou", "dropped": 150, "kept": 750},
    {"filter": "<cap>", "dropped": 750, "kept": 0},
]


def test_the_funnel_names_every_filter_with_its_numbers() -> None:
    svg = funnel_svg(ROWS)
    for text in ("predicted iou", "750", "−150 (16.7%)", "predicted_iou 750 kept, 150 dropped"):
        assert text in svg
    assert "<cap>" not in svg, "text of the data cannot become markup"


def test_the_funnel_as_a_picture_shows_both_colours() -> None:
    picture = funnel_picture(ROWS).astype(int)
    blue = (picture[:, :, 2] > picture[:, :, 0] + 80).sum()
    pink = (picture[:, :, 0] > picture[:, :, 1] + 80).sum()
    assert 1.4 < blue / pink < 2.4, "1650 are kept and 900 dropped, over all filters"
    assert funnel_picture(ROWS).dtype == np.uint8


def test_nothing_dropped_and_nothing_detected_are_funnels_too() -> None:
    assert "detected 0 kept, 0 dropped" in funnel_svg([{"filter": "detected", "dropped": 0, "kept": 0}])


def test_a_histogram_names_its_series_axis_and_marker() -> None:
    svg = histogram_svg([0, 8, 16], {"sft": [3, 1], "pretrain": [0, 0]}, "Lengths", "tokens", "answers", (12, "limit"))
    for text in ("sft", "pretrain", "Lengths", "tokens", "% of answers", "limit"):
        assert text in svg


def test_plots_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one row"):
        funnel_svg([])
    with pytest.raises(ValueError, match="no series"):
        histogram_svg([0, 1], {}, "Lengths", "tokens")
