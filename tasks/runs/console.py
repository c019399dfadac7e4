"""The terminal: where texts of others are shown, and only our own styles are sent."""

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from simpleseg_core.plain import plain, visible


class PlainConsole(Console):
    """Prints with rich; no control character or secret of a text gets through, however the text came in."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(plain(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):  # a ready-made Text has not passed `render_str`
            yield segment if segment.control else segment._replace(text=visible(segment.text))
