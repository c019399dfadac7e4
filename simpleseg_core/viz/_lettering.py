"""Text in any script: each stretch of letters in the first font that has them.

DejaVu Sans, which matplotlib ships, has Latin, Greek and Cyrillic; then come the fonts of installed packages of fontpkg
(`fontpkg-noto-sans-thai`, ...), those of the system, and at last matplotlib's font of boxes that name the script.
"""

from collections.abc import Iterator
from functools import cache, lru_cache
from importlib.metadata import entry_points
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import matplotlib
from matplotlib.font_manager import findSystemFonts
from matplotlib.ft2font import FT2Font
from PIL import ImageDraw, ImageFont

_LONGEST = 400
"""Characters of a text that are looked at."""


class Lettering(NamedTuple):
    """How texts are set; `size` in pixels."""

    size: int

    def width(self, text: str) -> float:
        """Pixels that a line takes."""
        return sum(font.getlength(run) for font, run in self._runs(text))

    def fit(self, text: str, width: float) -> str:
        """The text on one line; one too long for the width ends in an ellipsis."""
        # Captions of the web hold control characters, which the text layout dies of.
        text = "".join(letter if letter.isprintable() else " " for letter in text[:_LONGEST])
        if self.width(text) <= width:
            return text
        while text and self.width(text + "…") > width:
            text = text[:-1]
        return text + "…"

    def draw(
        self, pen: ImageDraw.ImageDraw, corner: tuple[float, float], text: str, fill: tuple[int, int, int]
    ) -> None:
        """Set a line with its top left corner in pixels."""
        x, baseline = corner[0], corner[1] + _font(_faces()[0], self.size).getmetrics()[0]
        for font, run in self._runs(text):
            pen.text((x, baseline), run, fill=fill, font=font, anchor="ls")
            x += font.getlength(run)

    def _runs(self, text: str) -> Iterator[tuple[ImageFont.FreeTypeFont, str]]:
        for face, letters in groupby(text, _face):
            yield _font(face, self.size), "".join(letters)


@lru_cache(maxsize=4096)
def _face(letter: str) -> Path:
    """The first font with a letter."""
    return next((face for face in _faces() if ord(letter) in _letters(face)), _faces()[0])


@cache
def _faces() -> tuple[Path, ...]:
    shipped = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    first, symbols, boxes = (shipped / f"{name}.ttf" for name in ("DejaVuSans", "STIXGeneral", "LastResortHE-Regular"))
    packaged = (file for point in entry_points(group="fontpkg.family") for file in point.load().ROOT.rglob("*.ttf"))
    return first, *sorted(packaged), *sorted(map(Path, findSystemFonts())), symbols, boxes


@cache
def _letters(face: Path) -> frozenset[int]:
    """Code points that a font has; none of a file that is no font."""
    try:
        return frozenset(FT2Font(str(face)).get_charmap())
    except (OSError, RuntimeError):
        return frozenset()


@lru_cache(maxsize=64)
def _font(face: Path, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(face), size)
