"""Stages, and the folders they read and write in the working copy; `dvc.yaml` is tested against it."""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import cast

from simpleseg_core.stages._base import Stage


@dataclass(frozen=True)
class StageSpec:
    """Inputs and outputs of one stage: role -> path."""

    inputs: dict[str, Path]
    outputs: dict[str, Path]
    params: tuple[str, ...]
    """Sections of params.yaml that the stage depends on."""


def _spec(inputs: dict[str, str], outputs: dict[str, str], *params: str) -> StageSpec:
    return StageSpec(
        {k: Path(v) for k, v in inputs.items()}, {k: Path(v) for k, v in outputs.items()}, ("seed", *params)
    )


STAGES: dict[str, StageSpec] = {
    "ingest": _spec({}, {"images": "data/images"}, "data", "ingest"),
    "detect": _spec({"images": "data/images"}, {"boxes": "data/boxes"}, "detect"),
    "segment": _spec({"images": "data/images", "boxes": "data/boxes"}, {"masks": "data/masks"}, "segment"),
    "contour": _spec({"masks": "data/masks"}, {"polygons": "data/polygons"}, "contour"),
    "describe": _spec(
        {"images": "data/images", "polygons": "data/polygons"},
        {"descriptions": "data/descriptions"},
        "detect",
        "describe",
    ),
    "dataset": _spec(
        {"images": "data/images", "descriptions": "data/descriptions"},
        {"dataset": "data/dataset"},
        "data",
        "contour",
        "dataset",
        "model",
    ),
    "pretrain": _spec(
        {"images": "data/images", "dataset": "data/dataset"}, {"model": "models/pretrain"}, "model", "pretrain"
    ),
    "sft": _spec(
        {"images": "data/images", "dataset": "data/dataset", "model": "models/pretrain"},
        {"model": "models/sft"},
        "model",
        "sft",
    ),
    "rl": _spec(
        {"images": "data/images", "dataset": "data/dataset", "model": "models/sft"},
        {"model": "models/rl"},
        "model",
        "rl",
    ),
    "evaluate": _spec(
        {
            "images": "data/images",
            "dataset": "data/dataset",
            "base": "models/pretrain",
            "sft": "models/sft",
            "rl": "models/rl",
        },
        {"predictions": "data/predictions"},
        "model",
        "evaluate",
    ),
    "report": _spec(
        {
            "images": "data/images",
            "boxes": "data/boxes",
            "masks": "data/masks",
            "polygons": "data/polygons",
            "descriptions": "data/descriptions",
            "dataset": "data/dataset",
            "predictions": "data/predictions",
        },
        {"metrics": "reports/metrics.json", "differences": "reports/differences.json", "report": "reports/report.html"},
        "profile",
        "data",
        "contour",
        "dataset",
        "evaluate",
    ),
}
"""Every stage also writes `reports/metrics/NAME.json`; training stages append curves to `reports/curves/NAME.csv`."""


def load_stage(name: str) -> Stage:
    """The function of a stage: `run` of the module with its name.

    Raises:
        KeyError: no such stage.
    """
    if name not in STAGES:
        raise KeyError(f"no stage {name!r}: choose one of {', '.join(STAGES)}")
    return cast(Stage, import_module(f"simpleseg_core.stages.{name}").run)
