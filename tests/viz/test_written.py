"""What a model wrote is drawn where it wrote it, and so is what it was asked."""

import numpy as np

from simpleseg_core.viz import PREDICTION_COLOUR, TRUTH_COLOUR, draw_written

GREY = np.full((100, 200, 3), 128, np.uint8)
POLYGON = np.array([(0.1, 0.2), (0.5, 0.2), (0.5, 0.8)])


def _is_near(picture: np.ndarray, x: float, y: float, colour: tuple[int, int, int]) -> bool:
    pixel = picture[int(y * picture.shape[0]), int(x * picture.shape[1])].astype(int)
    return float(np.abs(pixel - colour).sum()) < 60


def test_every_vertex_is_marked_and_the_inside_is_tinted() -> None:
    drawn = draw_written(GREY, [POLYGON])
    assert drawn.shape == (200, 400, 3)
    assert all(_is_near(drawn, x, y, PREDICTION_COLOUR) for x, y in POLYGON)
    assert not _is_near(drawn, 0.4, 0.4, (128, 128, 128))
    assert _is_near(drawn, 0.8, 0.5, (128, 128, 128))
    assert (GREY == 128).all()


def test_the_asked_point_and_box_are_drawn() -> None:
    assert _is_near(draw_written(GREY, [], point=(0.25, 0.75)), 0.25, 0.75, TRUTH_COLOUR)
    boxed = draw_written(GREY, [], box=(0.2, 0.1, 0.6, 0.9))
    assert all(_is_near(boxed, x, y, TRUTH_COLOUR) for x, y in ((0.2, 0.5), (0.6, 0.5), (0.4, 0.1), (0.4, 0.9)))


def test_a_title_stands_above() -> None:
    assert draw_written(GREY, [], title="all dogs").shape[0] > draw_written(GREY, []).shape[0]
