"""A page of one step of reinforcement learning: every prompt with its answers drawn, those that went worst first."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from simpleseg_core.config import Style
from simpleseg_core.data.outlines import row_mask
from simpleseg_core.data.shards import ImageStore
from simpleseg_core.geometry import mask_to_polygons
from simpleseg_core.grammar import parse_polygons
from simpleseg_core.report.panels import Album, PageImage, outline_path, vertex_path
from simpleseg_core.training.rl_table import AnswerRow, GroupRow, RolloutTable

_HERE = Path(__file__).parent
_SIDE = 160
"""Pixels: a page has hundreds of answers, and shows each image once."""


@dataclass(frozen=True, slots=True)
class _Drawn:
    """An answer as SVG paths over its image."""

    answer: AnswerRow
    outline: str
    vertices: str


@dataclass(frozen=True, slots=True)
class _Row:
    group: GroupRow
    frame: PageImage
    truth: str
    answers: list[_Drawn]


def render_rollouts(table: RolloutTable, images: ImageStore) -> str:
    """The page as HTML text: everything inside, everything escaped, nothing run."""
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    album = Album(images, max_side=_SIDE)
    rows = list(_rows(table, album))
    style = Markup((_HERE / "style.css").read_text(encoding="utf-8"))  # noqa: S704 (our own file)
    values = {"table": table, "rows": rows, "frames": album.frames.values(), "style": style}
    return environment.get_template("rollouts.html.jinja").render(values)


def _rows(table: RolloutTable, album: Album) -> Iterator[_Row]:
    for group in table.groups:
        frame = album.frame(group.prompt["shard"], group.prompt["image"])
        truth = outline_path(mask_to_polygons(row_mask(group.prompt), tolerance=0), frame)
        yield _Row(group, frame, truth, [_drawn(answer, frame, table.style) for answer in group.answers])


def _drawn(answer: AnswerRow, frame: PageImage, style: Style | None) -> _Drawn:
    polygons = parse_polygons(answer.text, style=style).polygons
    return _Drawn(answer, outline_path(polygons, frame), vertex_path(polygons, frame))
