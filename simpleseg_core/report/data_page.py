"""The data section of the page: what every stage left, what the filters dropped, whose images they are, examples."""

import heapq
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pyarrow.parquet as pq
from markupsafe import Markup
from numpy.typing import NDArray

from simpleseg_core.annotate.filters import funnel
from simpleseg_core.config import Config
from simpleseg_core.data.outlines import row_mask, row_polygons
from simpleseg_core.geometry import mask_to_polygons
from simpleseg_core.report.panels import Album, PageImage, outline_path, vertex_path
from simpleseg_core.viz import funnel_svg, histogram_svg

Row = dict[str, Any]
Json = Mapping[str, Any]
_ROUNDTRIP_BINS = 24
_MOST_LISTED = 10
_EXAMPLES = 6
"""Instances that round trips treat worst, and as many at random."""
_COUNTED = {
    "boxes": ("detect", "boxes"), "masks": ("segment", "masks"), "polygons": ("contour", "kept"),
    "descriptions": ("describe", "described"),
}  # fmt: skip
"""Output -> its stage, and what counts its rows."""
_UNUSED = ("unreadable", "failed")


@dataclass(frozen=True, slots=True)
class StageCount:
    """How much there was after a stage."""

    stage: str
    unit: str
    count: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class Share:
    """A part of a whole."""

    name: str
    count: int
    share: float


@dataclass(frozen=True, slots=True)
class InstanceShot:
    """An annotated instance, ready to be drawn: paths are SVG, in pixels of the frame."""

    frame: PageImage
    title: str
    scores: str
    mask: str
    polygons: str
    vertices: str
    box: tuple[float, float, float, float]
    """x, y, width, height."""


@dataclass(frozen=True, slots=True)
class DataPage:
    """Everything optional: what the run has not got is not shown."""

    counts: list[StageCount]
    funnel_rows: list[dict[str, object]]
    plots: list[Markup]
    """The funnel, and how well polygons say masks."""
    lengths: Markup | None
    """The lengths of answers."""
    mixes: dict[str, list[Share]]
    """Licences, collections and hosts of the images."""
    examples: dict[str, list[InstanceShot]]
    composition: list[Row]
    tokenizer: str
    answers: dict[str, dict[str, float]]
    """Table -> statistics of the lengths of its answers."""

    def __bool__(self) -> bool:
        return bool(self.counts or self.plots or self.mixes or self.examples or self.composition)


def read_data_page(data: Path, summaries: Mapping[str, Json], config: Config, album: Album) -> DataPage:
    """Gather what the data stages left under `data`.

    Args:
        summaries: name of an output (`images`, `boxes`, ..., `dataset`) -> the JSON that its stage left beside it.
    """
    contour, dataset = summaries.get("polygons", {}), summaries.get("dataset", {})
    rows = funnel(int(contour["detected"]), contour) if contour.get("detected") else []
    composition = [row for row in dataset.get("composition", ()) if isinstance(row, dict)]
    trips = _roundtrips(data)
    plots = [funnel_svg(rows)] if rows else []
    plots += [_roundtrip_plot(trips, config)] if len(trips) else []
    lengths = _length_plot(dataset, config)
    return DataPage(
        counts=list(_counts(summaries, composition)),
        funnel_rows=rows,
        plots=[Markup(plot) for plot in plots],  # noqa: S704 (matplotlib has escaped every text in it)
        lengths=Markup(lengths) if lengths else None,  # noqa: S704 (here too)
        mixes={name: shares for name, shares in _mixes(data).items() if shares},
        examples=_examples(data, config.seed, album),
        composition=composition,
        tokenizer=str(dataset.get("tokenizer", "")),
        answers={name: found for name, found in dataset.get("answer_tokens", {}).items() if isinstance(found, dict)},
    )


def _counts(summaries: Mapping[str, Json], composition: Sequence[Row]) -> Iterator[StageCount]:
    images = summaries.get("images", {})
    if "rows" in images:
        yield StageCount("metadata", "rows", int(images["rows"]))
    if fetched := images.get("images", images.get("status", {}).get("ok")):
        yield StageCount("ingest", "images", int(fetched))
    for output, (stage, key) in _COUNTED.items():
        found = summaries.get(output, {})
        if key in found:
            yield StageCount(stage, output, int(found[key]), _unused(found))
    turns: Counter[str] = Counter()
    for row in composition:
        turns[str(row.get("table", ""))] += int(row.get("turns", 0))
    for table, count in turns.items():
        if count:
            yield StageCount(f"dataset: {table}", "questions", count)


def _unused(found: Json) -> str:
    """Images that a stage could not use."""
    return ", ".join(f"{int(found[name])} images {name}" for name in _UNUSED if found.get(name))


def _roundtrips(data: Path) -> NDArray[np.float64]:
    found = [_column(table, "roundtrip_iou") for table in _tables(data / "polygons")]
    return np.concatenate([np.array(each, np.float64) for each in found]) if found else np.empty(0)


def _roundtrip_plot(trips: NDArray[np.float64], config: Config) -> str:
    bound = config.contour.min_roundtrip_iou
    low = min(bound, float(trips.min()))
    counts, edges = np.histogram(trips, _ROUNDTRIP_BINS, (low, 1.0))
    title = f"Polygons rebuild their masks: mean IoU {trips.mean():.3f}"
    return histogram_svg(edges, {"instances": counts}, title, "IoU of mask and polygons", marker=(bound, "least kept"))


def _length_plot(dataset: Json, config: Config) -> str:
    """The histogram of answer lengths, from rows {"tokens": "first-last", table: count, ...}."""
    rows = [row for row in dataset.get("answer_lengths", ()) if isinstance(row, dict) and "-" in str(row.get("tokens"))]
    names = [name for name in (rows[0] if rows else {}) if name != "tokens" and any(row.get(name) for row in rows)]
    if not names:
        return ""
    edges = [int(str(row["tokens"]).partition("-")[0]) for row in rows]
    edges.append(int(str(rows[-1]["tokens"]).partition("-")[2]) + 1)
    limit = config.dataset.max_answer_tokens
    marker = (float(limit), "limit") if limit <= edges[-1] else None
    series = {name: [row[name] for row in rows] for name in names}
    return histogram_svg(edges, series, "Length of the answers", "tokens", "answers", marker)


def _mixes(data: Path) -> dict[str, list[Share]]:
    """Licences, collections and hosts of the images that were fetched."""
    found: dict[str, Counter[str]] = {"Licence": Counter(), "Collection": Counter(), "Host": Counter()}
    for table in _tables(data / "images"):
        columns = _read(table, ["status", "license", "source", "final_url", "url"])
        for status, license_, source, final, url in zip(*columns.values(), strict=True):
            if status == "ok":
                found["Licence"][_stated(license_)] += 1
                found["Collection"][_stated((source or "").partition(":")[0])] += 1  # the metadata file follows
                found["Host"][urlsplit(final or url or "").netloc or "none: local files"] += 1
    return {name: _shares(counter) for name, counter in found.items()}


def _stated(value: str | None) -> str:
    return value if value and value.strip("?") else "not stated"


def _shares(counter: Counter[str]) -> list[Share]:
    """The most frequent, and the others together."""
    total = counter.total()
    listed = counter.most_common(_MOST_LISTED)
    rest = total - sum(count for _, count in listed)
    if rest:
        listed.append((f"{len(counter) - _MOST_LISTED} others", rest))
    return [Share(name, count, count / total) for name, count in listed]


def _examples(data: Path, seed: int, album: Album) -> dict[str, list[InstanceShot]]:
    """The instances that polygons rebuild worst, and some of the others at random."""
    tables = _tables(data / "descriptions")
    worst = [place for _, *place in heapq.nsmallest(_EXAMPLES, _places(tables))]
    sizes = np.array([pq.read_metadata(table).num_rows for table in tables], np.int64)
    starts = np.concatenate([[0], sizes.cumsum()])
    drawn = np.random.default_rng(seed).permutation(int(starts[-1]))[: 2 * _EXAMPLES].tolist()
    numbers = [int(np.searchsorted(starts, place, side="right")) - 1 for place in drawn]
    random = [[number, place - int(starts[number])] for number, place in zip(numbers, drawn, strict=True)]
    others = [place for place in random if place not in worst][:_EXAMPLES]
    return {
        name: [_shot(_row(tables[number], index), album) for number, index in places]
        for name, places in (("Hardest to say in polygons", worst), ("At random", others))
        if places
    }


def _places(tables: Sequence[Path]) -> Iterator[tuple[float, int, int]]:
    """Round trip IoU of each instance, and where it is: number of the table, and of its row."""
    for number, table in enumerate(tables):
        for index, trip in enumerate(_column(table, "roundtrip_iou")):
            yield trip, number, index


def _row(table: Path, index: int) -> Row:
    row: Row = pq.read_table(table).slice(index, 1).to_pylist()[0]
    return row


def _shot(row: Row, album: Album) -> InstanceShot:
    frame = album.frame(row["shard"], row["image"])
    polygons = row_polygons(row)
    left, top, right, bottom = np.array(row["box"]) * (frame.width, frame.height, frame.width, frame.height)
    return InstanceShot(
        frame=frame,
        title=row["description"] or row["phrase"],
        scores=f"round trip {row['roundtrip_iou']:.2f} · score {row['score']:.2f} · {row['points']} points",
        mask=outline_path(mask_to_polygons(row_mask(row), tolerance=0), frame),
        polygons=outline_path(polygons, frame),
        vertices=vertex_path(polygons, frame),
        box=(float(left), float(top), float(right - left), float(bottom - top)),
    )


def _tables(folder: Path) -> list[Path]:
    return sorted(folder.glob("[0-9]*.parquet"))


def _column(table: Path, name: str) -> list[Any]:
    return _read(table, [name])[name]


def _read(table: Path, names: list[str]) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = pq.read_table(table, columns=names).to_pydict()
    return columns
