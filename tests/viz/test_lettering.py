"""Labels in any script are drawn; letters that no font has are boxes, and nothing raises."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.font_manager import findSystemFonts
from PIL import Image, ImageDraw

from simpleseg_core.viz import Tagged, draw_annotated
from simpleseg_core.viz._lettering import Lettering, _face, _faces, _letters

SQUARE = np.array([[0.2, 0.2], [0.8, 0.2], [0.8, 0.8], [0.2, 0.8]])


def drawn(text: str) -> np.ndarray:
    page = Image.new("L", (400, 40), 255)
    Lettering(16).draw(ImageDraw.Draw(page), (4, 4), text, 0)  # type: ignore[arg-type]
    return np.asarray(page) < 128


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=60))
def test_any_text_can_name_an_instance(text: str) -> None:
    assert draw_annotated(np.zeros((40, 60, 3), np.uint8), [Tagged([SQUARE], text)]).any()
    assert Lettering(14).width(Lettering(14).fit(text, 90)) <= 90


def test_each_letter_comes_from_the_first_font_that_has_it() -> None:
    for letter in "aßЖλ漢กक𝐀한ش":
        having = [face for face in _faces() if ord(letter) in _letters(face)]
        assert _face(letter) == having[0]
    assert _face("a").name == "DejaVuSans.ttf"
    assert set(findSystemFonts()) < {str(face) for face in _faces()}


@pytest.mark.parametrize("letter", "𝐀漢กक한ش")
def test_letters_of_other_scripts_are_not_all_the_same_box(letter: str) -> None:
    nothing = drawn("\u0378")  # no character
    assert drawn(letter).any()
    assert not np.array_equal(drawn(letter), nothing)
    assert Lettering(16).width("a" + letter + "b") > Lettering(16).width("ab")


@pytest.mark.parametrize(
    ("script", "word"),
    [
        ("arabic", "شجرة"),
        ("devanagari", "पेड़"),
        ("khmer", "ដើម"),
        ("tamil", "மரம்"),
        ("telugu", "చెట్టు"),
        ("thai", "ต้นไม้"),
    ],
)
def test_scripts_of_many_readers_come_with_the_package(script: str, word: str) -> None:
    shipped = [face for face in _faces() if f"fontpkg_noto_sans_{script}" in str(face)]
    assert shipped
    assert all(ord(letter) in _letters(shipped[0]) for letter in word)
    assert drawn(word).any()


def test_a_line_of_several_fonts_is_set_on_one_line() -> None:
    both, plain = drawn("ab𝐀"), drawn("ab")
    width = round(Lettering(16).width("ab"))
    assert np.array_equal(both[:, : 3 + width], plain[:, : 3 + width])
    assert both[:, 5 + width :].any()
