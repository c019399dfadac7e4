"""The page: from results to the values that the template shows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from simpleseg_core.config import Config
from simpleseg_core.config.files import dump_yaml
from simpleseg_core.data.shards import ImageStore
from simpleseg_core.evaluation import by_kind, by_size, extremes, representative
from simpleseg_core.metrics import HEADLINES, METRICS
from simpleseg_core.report.data_page import read_data_page
from simpleseg_core.report.panels import Album, Shot
from simpleseg_core.report.results import Results
from simpleseg_core.report.sources import Facts, Sources
from simpleseg_core.report.tables import count_tables
from simpleseg_core.viz import Curve, curves_svg, intervals_svg, series_colour, success_svg

_HERE = Path(__file__).parent
_GALLERY = 12
_LEADING_CURVES = ("loss", "loss_first_coordinate", "reward", "reward_iou", "valid", "answer_tokens")
"""Shown first, in this order; the rest of a stage's curves is folded away."""


@dataclass(frozen=True, slots=True)
class GalleryRow:
    """One query and what every model answered."""

    query: Shot
    answers: dict[str, Shot]


@dataclass(frozen=True, slots=True)
class StageCurves:
    """The plots of one stage."""

    stage: str
    leading: Markup
    others: Markup | None


def render_page(results: Results, sources: Sources, facts: Facts, config: Config, images: ImageStore) -> str:
    """The whole page as HTML text: styles, plots and images inside, nothing fetched, nothing run."""
    album = Album(images, config.dataset.style)
    main = next(iter(results.rows))
    values = {
        "facts": asdict(facts),
        "style": Markup((_HERE / "style.css").read_text(encoding="utf-8")),  # noqa: S704 (our own file)
        "metrics": HEADLINES,
        "more_metrics": {name: metric for name, metric in METRICS.items() if name not in HEADLINES},
        "models": results.labels,
        "colours": {model: series_colour(index) for index, model in enumerate(results.labels)},
        "main": main,
        "results": results,
        "best": _best(results),
        "breakdowns": {name: (by_kind(models), by_size(models)) for name, models in results.predictions.items()},
        "plots": _plots(results),
        "gallery": list(_gallery(results.rows[main], album, config.seed)),
        "overlays": _overlays(results.rows, album, config.evaluate.overlays),
        "curves": [_curves(stage, curves) for stage, curves in sources.curves.items()],
        "data": read_data_page(images.folder, sources.summaries, config, album),
        "counts": count_tables(sources.summaries),
        "stage_metrics": sources.stage_metrics,
        "configuration": dump_yaml(config),
        "bootstrap_samples": config.evaluate.bootstrap_samples,
        "frames": album.frames.values(),
    }
    return page_environment().get_template("page.html.jinja").render(values)


def page_environment() -> Environment:
    """How our pages are made of the templates of this folder: every value escaped, none missing."""
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["number"] = _number
    return environment


def _best(results: Results) -> dict[tuple[str, str], float]:
    """(benchmark, metric) -> the best value of any model, for metrics with a better direction."""
    return {
        (benchmark, name): max(values) if metric.better > 0 else min(values)
        for benchmark, models in results.summaries.items()
        for name, metric in METRICS.items()
        if metric.better and (values := [summary[name].mean for summary in models.values() if name in summary])
    }


def _plots(results: Results) -> dict[str, Any]:
    rows = [
        (
            benchmark,
            {
                results.labels[model]: (found["giou"].mean, found["giou"].low, found["giou"].high)
                for model, found in models.items()
            },
        )
        for benchmark, models in results.summaries.items()
    ]
    success = [
        success_svg({results.labels[model]: predictions.iou for model, predictions in models.items()}, benchmark)
        for benchmark, models in results.predictions.items()
    ]
    return {"giou": _svg(intervals_svg(rows, "gIoU, %")), "success": [_svg(plot) for plot in success]}


def _gallery(models: Mapping[str, Sequence[Mapping[str, Any]]], album: Album, seed: int) -> Iterator[GalleryRow]:
    first = next(iter(models.values()))
    for index in representative(first, _GALLERY, seed):
        yield GalleryRow(album.shot(first[index]), {model: album.shot(rows[index]) for model, rows in models.items()})


def _overlays(
    rows: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]], album: Album, count: int
) -> dict[str, dict[str, list[Shot]]]:
    """Benchmark -> `best`, `median`, `worst` -> predictions of the last model."""
    return {
        benchmark: {
            name: [album.shot(row) for row in chosen]
            for name, chosen in extremes(models[list(models)[-1]], count).items()
        }
        for benchmark, models in rows.items()
    }


def _curves(stage: str, curves: Sequence[Curve]) -> StageCurves:
    by_name = {curve.name: curve for curve in curves}
    leading = [by_name[name] for name in _LEADING_CURVES if name in by_name] or list(curves[:3])
    others = [curve for curve in curves if curve not in leading]
    return StageCurves(stage, _svg(curves_svg(leading)), _svg(curves_svg(others)) if others else None)


def _svg(text: str) -> Markup:
    return Markup(text)  # noqa: S704 (matplotlib has escaped every text in it)


def _number(value: object, digits: int = 1) -> str:
    """Counts with thin thousands, other numbers with `digits` decimals, everything else as text."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if float(value).is_integer():
        return f"{int(value):,}".replace(",", "\u2009")
    return f"{value:.{digits}f}" if abs(value) >= 10**-digits else f"{value:.2g}"
