"""Answers that somebody else's model has written to a file: texts, polygons, RLEs or pictures of masks."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, TypeAdapter

from simpleseg_core.config.evaluation import AnswerStyle
from simpleseg_core.data.foreign import Id, Real, Side, Text, check_unique, checked, read_json, read_text
from simpleseg_core.data.pixels import open_image
from simpleseg_core.evaluation.answers import Answer, Row
from simpleseg_core.geometry import Polygon, Region, mask_to_polygons
from simpleseg_core.grammar import parse_polygons

_FORMS = ("answer", "polygons", "rle", "mask")
_DECIMALS = 6
_SHOWN = 3
"""Names of queries that a message lists."""
_CURE = "name a .jsonl, .json or .parquet file with one row for each query in evaluate.models"


@dataclass(frozen=True, slots=True)
class _Mask:
    counts: Text
    size: Annotated[list[Side], Field(min_length=2, max_length=2)]
    """Height and width."""


@dataclass(frozen=True, slots=True)
class _Said:
    """A row of the file: to which query, and what, in one of four forms."""

    sample: Id
    benchmark: Text | None = None
    answer: Text | None = None
    polygons: list[list[list[Real]] | list[Real]] | None = None
    rle: _Mask | None = None
    mask: Text | None = None
    """A picture beside the file; what is not black is inside."""
    tokens: Annotated[int, Field(ge=0, lt=2**31)] | None = None

    def form(self) -> Literal["answer", "polygons", "rle", "mask"]:
        given = [name for name in _FORMS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"it has {' and '.join(given) or 'none'} of {', '.join(_FORMS)}: give one of the four")
        return given[0]  # type: ignore[return-value]


_ROWS = TypeAdapter(list[_Said])


class FileAnswers:
    """`Answering` from a file: a row for each query, by `sample` (and `benchmark`, where two benchmarks share names).

    `answer` is a text, read as every answer is; `polygons` are lists of points or flat lists; `rle` is COCO's, with
    `counts` as text; `mask` the path of a picture, relative to the file.
    """

    def __init__(self, file: Path, style: AnswerStyle | None) -> None:
        """Read and check a file.

        Args:
            style: of coordinates in `answer` and `polygons`; None: that which the prompts ask for.

        Raises:
            FileNotFoundError: no such file.
            ValueError: it is damaged, or a row makes no sense; the message names it.
        """
        self._file, self._style = file, style
        rows = checked(_ROWS, _read(file), file, "answers")
        check_unique(((row.benchmark or "", str(row.sample)) for row in rows), file, "answers", "sample")
        self._rows = {(row.benchmark, str(row.sample)): row for row in rows}
        for number, row in enumerate(rows):
            try:
                row.form()
            except ValueError as error:
                raise ValueError(f"{file}: entry {number} of `answers` (sample {row.sample}): {error}") from None

    def answer(self, prompts: Sequence[Row]) -> list[Answer]:
        """The answer to each prompt.

        Raises:
            ValueError: there is none to one of them, or its mask is of another size.
        """
        found = [self._of(prompt) for prompt in prompts]
        if missing := [prompt["sample"] for prompt, row in zip(prompts, found, strict=True) if row is None]:
            more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
            raise ValueError(
                f"{self._file}: no answer to {', '.join(missing[:_SHOWN])}{more}: every query of a benchmark has a row "
                "in it; where the model finds nothing, answer []"
            )
        return [self._answer(row, prompt) for row, prompt in zip(found, prompts, strict=True) if row is not None]

    def _of(self, prompt: Row) -> _Said | None:
        exact = self._rows.get((prompt["benchmark"], prompt["sample"]))
        return exact or self._rows.get((None, prompt["sample"]))

    def _answer(self, row: _Said, prompt: Row) -> Answer:
        match row.form():
            case "answer":
                return said(str(row.answer), row.tokens, prompt, self._style)
            case "polygons":
                return said(json.dumps(row.polygons), row.tokens, prompt, self._style)
            case _:
                region = self._region(row)
        if (region.height, region.width) != (prompt["height"], prompt["width"]):
            raise ValueError(
                f"{self._file}: the mask of {row.sample} has {region.width} x {region.height} pixels, its image "
                f"{prompt['width']} x {prompt['height']}: scale it to the image"
            )
        return Answer(_decimals(mask_to_polygons(region.mask(), tolerance=0)), row.tokens, region)

    def _region(self, row: _Said) -> Region:
        try:
            if row.rle is not None:
                return Region.from_truth({"size": list(row.rle.size), "counts": row.rle.counts})
            with open_image(self._file.parent / str(row.mask)) as picture:
                return Region.from_truth(np.asarray(picture.convert("L")) > 0)
        except (OSError, ValueError) as error:
            raise ValueError(f"{self._file}: the mask of {row.sample} cannot be read: {error}") from error


def said(text: str, tokens: int | None, prompt: Mapping[str, Any], style: AnswerStyle | None) -> Answer:
    """An answer in a style of the model's own, written again as parts of the image, which reads alike everywhere.

    Args:
        style: None: that of the prompts, and the text stays as it is. So it does where it cannot be read.
    """
    if style is None:
        return Answer(text, tokens)
    size = (prompt["width"], prompt["height"]) if style == "pixel" else None
    parsed = parse_polygons(text, style=None if style == "pixel" else style, size=size)
    return Answer(text if parsed.error else _decimals(parsed.polygons), tokens)


def _decimals(polygons: Sequence[Polygon]) -> str:
    return json.dumps([polygon.round(_DECIMALS).tolist() for polygon in polygons])


def _read(file: Path) -> list[Any]:
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such file; {_CURE}")
    try:
        match file.suffix.lower():
            case ".parquet":
                found: Any = pq.read_table(file).to_pylist()
            case ".jsonl":
                found = [json.loads(line) for line in read_text(file).splitlines() if line.strip()]
            case _:
                found = read_json(file, _CURE)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ValueError(f"{file}: damaged ({error}); {_CURE}") from error
    if not isinstance(found, list):
        raise ValueError(f"{file}: a list of rows is expected; {_CURE}")
    return found
