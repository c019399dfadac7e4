"""What is formatted parses back to itself; what a model writes is read as far as it makes sense; nothing raises."""

import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simpleseg_core.geometry import Polygon
from simpleseg_core.grammar import (
    PUBLISHED_ANSWERS,
    Style,
    answer_regex,
    format_box,
    format_points,
    format_polygons,
    parse_box,
    parse_polygons,
)

STYLES: tuple[Style, ...] = ("unit", "permille")
QUICK = settings(max_examples=100, deadline=None)
TRIANGLE = [[0.01, 0.02], [0.03, 0.04], [0.05, 0.06]]


def rows(width: int, least: int, most: int) -> st.SearchStrategy[np.ndarray]:
    """Arrays (N, width) on the grid of the text."""
    row = st.lists(st.integers(0, 1000), min_size=width, max_size=width)
    return st.lists(row, min_size=least, max_size=most).map(
        lambda table: np.array(table, float).reshape(-1, width) / 1000
    )


polygon_lists = st.lists(rows(2, 3, 9), max_size=4)


@QUICK
@given(polygon_lists, st.sampled_from(STYLES), st.booleans())
def test_polygons_survive(polygons: list[Polygon], style: Style, strict: bool) -> None:
    parsed = parse_polygons(format_polygons(polygons, style=style), strict=strict)
    assert parsed.error is None
    assert len(parsed.polygons) == len(polygons)
    assert all(np.array_equal(a, b) for a, b in zip(parsed.polygons, polygons, strict=True))


@QUICK
@given(rows(2, 0, 5), st.sampled_from(STYLES))
def test_points_survive(points: np.ndarray, style: Style) -> None:
    text = format_points(points, style=style)
    assert re.fullmatch(answer_regex("text->point", style), text)
    said = np.array(json.loads(text)).reshape(-1, 2) / {"permille": 1000, "unit": 1}[style]
    assert np.array_equal(said, points)


@QUICK
@given(rows(4, 0, 5), st.sampled_from(STYLES), st.booleans())
def test_boxes_survive_with_their_corners_in_order(boxes: np.ndarray, style: Style, strict: bool) -> None:
    parsed = parse_box(format_box(boxes, style=style), strict=strict)
    low, high = np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])
    assert parsed.error is None
    assert np.array_equal(parsed.boxes, np.hstack([low, high]))


def test_the_two_styles_are_written_as_documented() -> None:
    polygons = [np.array([[0.123, 0.456], [0.5, 0.25], [1, 0]])]
    assert format_polygons(polygons) == "[[[123,456],[500,250],[1000,0]]]"
    assert format_polygons(polygons, style="unit") == "[[[0.123, 0.456], [0.5, 0.25], [1.0, 0.0]]]"
    assert format_points([0.5, 0.25]) == "[500,250]"
    assert format_box([0, 0.1, 0.2, 1]) == "[0,100,200,1000]"
    assert format_polygons([]) == format_points([]) == format_box(None) == "[]"


def test_what_has_no_text_is_moved_into_the_image() -> None:
    assert format_points([-0.5, 1.5]) == "[0,1000]"
    assert format_points([np.nan, np.inf]) == "[0,1000]"


def test_an_unknown_style_is_named() -> None:
    with pytest.raises(ValueError, match="pixels"):
        format_points([0, 0], style="pixels")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        "[[[10,20],[30,40],[50,60]]]",
        "It is at [[[0.01, 0.02], [0.03, 0.04], [0.05, 0.06]]].",
        "```json\n[[[10, 20], [30, 40], [50, 60]]]\n```",
        "see [1]: [[[10,20],[30,40],[50,60]]], as asked",
        "[[[10,20],[30,40],[50,60]",
        "[[[10,20],[30,40],[50,60],[7",
        "[[[10,20],[30,40],[50,60],[70,8",
        "[[10,20],[30,40],[50,60]]",
        "[10,20],[30,40],[50,60]",
        "[[10,20,30,40,50,60]]",
        "[ [ [10 , 20] ,[30,40],\n[50,60] ] ]",
        "[[[.01,.02],[.03,.04],[.05,.06]]]",
    ],
)
def test_polygons_are_found_in_what_models_write(text: str) -> None:
    parsed = parse_polygons(text)
    assert parsed.error is None
    assert [polygon.tolist() for polygon in parsed.polygons] == [TRIANGLE]


def test_a_box_stands_for_its_polygon() -> None:
    (polygon,) = parse_polygons("[100,200,300,400]").polygons
    assert polygon.tolist() == [[0.1, 0.2], [0.3, 0.2], [0.3, 0.4], [0.1, 0.4]]


TWO = "[[[10,20],[30,40],[50,60]]]", "[[[10,20],[30,40],[50,90]]]"


@pytest.mark.parametrize(
    "text",
    [
        f"{TWO[0]} and {TWO[1]}",
        f"1. cat: {TWO[0]}\n2. dog: {TWO[1]}",
        "[10,20],[30,40],[50,60] and [10,20],[30,40],[50,90]",
        '[{"polygon": [[10,20],[30,40],[50,60]], "label": "cat"}, {"polygon": [[10,20],[30,40],[50,90]]}]',
        "[{'label': 'a [b', 'polygon': [10,20,30,40,50,60]}, {'label': 'it\\'s', 'polygon': [10,20,30,40,50,90]}]",
        '{"objects": [{"bbox_2d": [10,20,50,60], "polygon": [[10,20],[30,40],[50,60]], "score": 0.9},'
        ' {"polygon": [[10,20],[30,40],[50,90]], "bbox_2d": [10,20,50,90]}]}',
        '[{"polygon": [[10,20],[30,40],[50,60]]}, {"polygon": [[10,20],[30,40],[50,90]]}, {"polygon": [[1,2],[3',
        f"in the box [10,20,50,90]: {TWO[0]}, {TWO[1]}",
    ],
)
def test_all_objects_of_an_answer_count(text: str) -> None:
    parsed = parse_polygons(text)
    assert parsed.error is None
    assert [polygon.tolist() for polygon in parsed.polygons] == [TRIANGLE, [*TRIANGLE[:2], [0.05, 0.09]]]


def test_all_boxes_of_a_list_of_dictionaries_count_and_points_are_no_outline() -> None:
    boxes = '```json\n[{"bbox_2d": [1,2,3,4], "label": "cat"},\n {"bbox_2d": [5,6,7,8], "label": "cat"}]\n```'
    assert parse_box(boxes).boxes.tolist() == [[0.001, 0.002, 0.003, 0.004], [0.005, 0.006, 0.007, 0.008]]
    assert len(parse_polygons(boxes).polygons) == 2
    points = '[{"point_2d": [1,2]}, {"point_2d": [3,4]}, {"point_2d": [5,6]}]'
    assert parse_polygons(points).error  # three objects are no triangle


def test_polygons_without_the_outer_list_are_all_read() -> None:
    assert len(parse_polygons("[[1,2],[3,4],[5,6]], [[1,2],[3,4],[5,9]]").polygons) == 2


def test_numbers_beyond_the_image_are_moved_to_its_edge() -> None:
    (polygon,) = parse_polygons("[[[-5,20],[30,1040],[99999999999999999999,60]]]").polygons
    assert polygon.tolist() == [[0, 0.02], [0.03, 1], [1, 0.06]]


def test_the_style_asked_for_decides_where_the_text_does_not_tell() -> None:
    text = "[[[0,0],[1,0],[1,1]]]"
    assert parse_polygons(text).polygons[0].max() == 0.001
    assert parse_polygons(text, style="permille").polygons[0].max() == 0.001
    assert parse_polygons(text, style="unit").polygons[0].max() == 1
    assert parse_box("[0,0,1,1]", style="unit").boxes.tolist() == [[0, 0, 1, 1]]


@pytest.mark.parametrize("style", [None, *STYLES])
@pytest.mark.parametrize(
    "text",
    [
        "[[[10.0,20.0],[30.0,40.0],[50.0,60.0]]]",
        "[[[10,20],[30,40],[50,60.0]]]",
        "[[[1e1,2E+1],[300e-1,4.0e1],[+50,60]]]",
        "[[[10,20],[30,40],[50,60]]]",
        "[[[0.010, 0.02], [0.03, 4e-2], [5.0E-2, 0.06]]]",
        "It is 0.97 sure: [[[10,20],[30,40],[50,60]]]",
    ],
)
def test_numbers_are_read_as_json_means_them_whatever_the_style_asked_for(text: str, style: Style | None) -> None:
    parsed = parse_polygons(text, style=style)
    assert parsed.error is None
    assert np.allclose(parsed.polygons, [TRIANGLE], atol=1e-12)


def test_one_style_holds_for_the_whole_answer() -> None:
    first, second = parse_polygons("[[[0.0,0.0],[1.0,0.0],[1.0,1.0]]] and [[[200,300],[400,300],[400,900.5]]]").polygons
    assert first.max() == 0.001
    assert second.max() == 0.9005


def test_decimals_just_above_one_are_no_style_unless_one_was_asked_for() -> None:
    text = "[[[0.5, 0.5], [1.2, 0.5], [0.5, 0.9]]]"
    assert "1.2" in str(parse_polygons(text).error)
    assert parse_polygons(text, style="unit").polygons[0].max() == 1
    assert parse_polygons(text, style="permille").polygons[0].max() == 0.0012


@pytest.mark.parametrize("style", [None, *STYLES])
@pytest.mark.parametrize(
    "text",
    [
        "[[[100,200],[300,200],[300,400]]] and [[[0.6,0.6],[0.8,0.6],[0.8,0.8]]]",
        '[{"polygon": [[0.6,0.6],[0.8,0.6],[0.8,0.8]]}, {"bbox_2d": [100,200,300,400]}]',
    ],
)
def test_an_answer_of_two_styles_is_an_error(text: str, style: Style | None) -> None:
    assert "others thousandths" in str(parse_polygons(text, style=style).error)


@pytest.mark.parametrize(
    "row",
    ["[NaN,20]", "[Infinity,20]", "[null,20]", "[true,20]", "[true,false]", '["10","20"]', "[0x10,20]", "[1/2,2]"],
)
@pytest.mark.parametrize("text", ["[[{},[30,40],[50,60],[70,20]]]", '{{"polygon": [{},[30,40],[50,60],[70,20]]}}'])
def test_an_outline_with_a_point_that_is_none_is_no_outline_of_fewer(text: str, row: str) -> None:
    assert parse_polygons(text.format(row)).error
    sound = "[[10,20],[30,40],[50,60]]"
    both = parse_polygons(f"{text.format(row)} and {sound}")
    assert [polygon.tolist() for polygon in both.polygons] == [TRIANGLE]


@pytest.mark.parametrize("number", ["1e400", "-1e400", "9" * 400])
def test_a_number_beyond_all_bounds_is_an_error(number: str) -> None:
    assert "finite" in str(parse_polygons(f"[[[{number},20],[30,40],[50,60]]]").error)
    assert "finite" in str(parse_box(f'{{"bbox_2d": [{number},20,30,40]}}').error)


@QUICK
@given(st.lists(st.lists(st.floats(2, 1000) | st.integers(2, 1000), min_size=4, max_size=4), min_size=1, max_size=5))
def test_any_number_that_json_writes_is_read(boxes: list[list[float]]) -> None:
    parsed = parse_box(json.dumps([{"bbox_2d": box, "label": '[a] {b}, "c"'} for box in boxes]))
    corners = np.array(boxes, float).reshape(-1, 2, 2) / 1000
    assert np.allclose(parsed.boxes, np.hstack([corners.min(axis=1), corners.max(axis=1)]), atol=1e-12)


@pytest.mark.parametrize(
    "text",
    [
        *("[]", " [] ", "```\n[]\n```", "nothing: []", "[[]]", "1. []", "[ , ]"),
        *('{"polygons": []}', '{"score": 0.9, "polygon": []}', '{"labels": ["cat"], "polygon": []}'),
    ],
)
def test_nothing_there_is_an_answer(text: str) -> None:
    assert (parse_polygons(text).polygons, parse_polygons(text).error) == ([], None)
    assert (len(parse_box(text).boxes), parse_box(text).error) == (0, None)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "no idea",
            "[[[10,20],[30,40",
            "[",
            "1,2,3",
            "[[1,2],[3,4]]",
            "[²,³]",
            "{}",
            "[null]",
            "[[1,2],[3,4]] []",
        ),
        *('[{"label": "cat"}]', '{"bbox_2d": [null,null,null,null]}', '{"polygon": [["1","2"],["3","4"],["5","6"]]}'),
    ],
)
def test_what_says_nothing_is_an_error_with_a_reason(text: str) -> None:
    parsed = parse_polygons(text)
    assert parsed.polygons == []
    assert parsed.error


@pytest.mark.parametrize(
    ("text", "style"),
    [
        ("[[[10,20],[30,40]]]", "permille"),
        ("[[[10,20],[30,40],[50,60]]", "permille"),
        ("[[[10, 20],[30,40],[50,60]]]", "permille"),
        ("[[[010,20],[30,40],[50,60]]]", "permille"),
        ("[[[1001,20],[30,40],[50,60]]]", "permille"),
        ("x [[[10,20],[30,40],[50,60]]]", "permille"),
        ("[[[10,20],[30,40],[50,60]]]", "unit"),
        ("[[[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]]]", "permille"),
        ("[[[0.1234, 0.2], [0.3, 0.4], [0.5, 0.6]]]", "unit"),
    ],
)
def test_strictness_takes_the_exact_form_alone(text: str, style: Style) -> None:
    assert parse_polygons(text, strict=True, style=style).error


@pytest.mark.parametrize("wording", PUBLISHED_ANSWERS)
def test_published_answers_are_strict_in_the_published_style(wording: str) -> None:
    text = wording.format(answer=format_polygons([np.array(TRIANGLE)], style="unit"))
    parsed = parse_polygons(text, strict=True, style="unit")
    assert parsed.error is None
    assert parsed.polygons[0].tolist() == TRIANGLE


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.text(max_size=80), st.text('[]{}"0123456789.,-e ', max_size=120)), st.booleans())
def test_any_text_is_read_or_refused(text: str, strict: bool) -> None:
    for parsed, values in (
        (parse_polygons(text, strict=strict), parse_polygons(text, strict=strict).polygons),
        (parse_box(text, strict=strict), [parse_box(text, strict=strict).boxes]),
    ):
        assert parsed.error is None or not any(map(len, values))
        assert all(((value >= 0) & (value <= 1)).all() for value in values)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "]" * 100_000,
        "[1" * 50_000,
        "9" * 100_000,
        "[[[1,2]," * 12_000,
        "[[" + "1," * 50_000,
        "[]" * 50_000,
        "²" * 100_000,
        "[" * 50_000 + "[1,2],[3,4],[5,6]" + "]" * 50_000,
        "[[1,2],[3,4],[5,6]," * 5_000 + "]" * 5_000,
        '{"' * 50_000,
        '{"a":' * 20_000 + "}" * 20_000,
        "{" + '"\\' * 50_000,
        "[" + " " * 50_000 + "[" + "1 " * 25_000,
        "0." * 50_000,
        "-" * 100_000,
        "[[[0.1, 0.2], [0.3, 0.4]" + "], [" * 25_000,
        "[[[1,2],[3,4],[5,6]" + ",[7,8]" * 15_000,
        "[[null,1]," * 10_000,
        "[a" * 50_000,
    ],
    ids=lambda text: text[:8],
)
@pytest.mark.timeout(20)
def test_hostile_text_of_a_hundred_kilobytes_is_read_in_one_pass(text: str) -> None:
    for strict in (False, True):
        parse_polygons(text, strict=strict)
        parse_box(text, strict=strict)
