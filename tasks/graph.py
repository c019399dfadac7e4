"""The one list of stages, with the folders they read and write in the working copy; `dvc.yaml` is tested against it.

What else has to know the stages (the form of a run, `simpleseg annotate`, the report) derives it from here.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated, cast

from pydantic import AfterValidator, WithJsonSchema

from simpleseg_core.contract import Stage
from simpleseg_core.names import did_you_mean


@dataclass(frozen=True)
class StageSpec:
    """Inputs and outputs of one stage: role -> path."""

    inputs: dict[str, Path]
    outputs: dict[str, Path]
    params: tuple[str, ...]
    """Sections of params.yaml that the stage depends on."""
    summary: str | None = None
    """The JSON file of its output folder that tells what is in it."""
    trains: bool = False
    """Whether it leaves the curves of a training in `reports/curves/NAME.csv`."""
    resumes: bool = False
    """Whether its outputs grow part by part, and a run that was killed goes on from the finished ones."""
    pinned: frozenset[str] = frozenset()
    """Roles of inputs whose content another input names, row by row: they are read, but what else is in them changes
    nothing, so they are no dependencies."""

    @property
    def dependencies(self) -> dict[str, Path]:
        """The inputs that tell whether the stage is out of date."""
        return {role: path for role, path in self.inputs.items() if role not in self.pinned}


def _spec(
    inputs: dict[str, str],
    outputs: dict[str, str],
    *params: str,
    summary: str | None = None,
    trains: bool = False,
    resumes: bool = False,
    pinned: Iterable[str] = (),
) -> StageSpec:
    reads, writes = ({role: Path(place) for role, place in places.items()} for places in (inputs, outputs))
    return StageSpec(reads, writes, ("seed", *params), summary, trains, resumes, frozenset(pinned))


STAGES: dict[str, StageSpec] = {
    "ingest": _spec({}, {"images": "data/images"}, "data", "ingest", summary="summary.json"),
    "detect": _spec({"images": "data/images"}, {"boxes": "data/boxes"}, "detect", summary="summary.json", resumes=True),
    "segment": _spec(
        {"images": "data/images", "boxes": "data/boxes"},
        {"masks": "data/masks"},
        "segment",
        summary="summary.json",
        resumes=True,
    ),
    "contour": _spec(
        {"masks": "data/masks"}, {"polygons": "data/polygons"}, "contour", summary="summary.json", resumes=True
    ),
    "describe": _spec(
        {"images": "data/images", "polygons": "data/polygons"},
        {"descriptions": "data/descriptions"},
        "detect",
        "describe",
        summary="summary.json",
        resumes=True,
    ),
    "dataset": _spec(
        {"images": "data/images", "descriptions": "data/descriptions"},
        {"dataset": "data/dataset"},
        "data",
        "contour",
        "dataset",
        "model",
        summary="composition.json",
    ),
    "pretrain": _spec(
        {"images": "data/images", "dataset": "data/dataset"},
        {"model": "models/pretrain"},
        "model",
        "pretrain",
        trains=True,
        pinned=("images",),
    ),
    "sft": _spec(
        {"images": "data/images", "dataset": "data/dataset", "model": "models/pretrain"},
        {"model": "models/sft"},
        "model",
        "sft",
        trains=True,
        pinned=("images",),
    ),
    "rl": _spec(
        {"images": "data/images", "dataset": "data/dataset", "model": "models/sft"},
        {"model": "models/rl"},
        "model",
        "rl",
        trains=True,
        pinned=("images",),
    ),
}

_TRAINED = {name: str(spec.outputs["model"]) for name, spec in STAGES.items() if spec.trains}
"""Training stage -> its model."""
_SUMMARISED = {role: str(path) for spec in STAGES.values() if spec.summary for role, path in spec.outputs.items()}
"""What the report shows the summaries of: role -> path."""

STAGES |= {
    "evaluate": _spec(
        {
            "images": "data/images",
            "dataset": "data/dataset",
            **_TRAINED,
        },
        {"predictions": "data/predictions"},
        "model",
        "evaluate",
        resumes=True,
        pinned=("images",),
    ),
    "report": _spec(
        {**_SUMMARISED, "predictions": "data/predictions"},
        {"metrics": "reports/metrics.json", "differences": "reports/differences.json", "report": "reports/report.html"},
        "profile",
        "data",
        "contour",
        "dataset",
        "evaluate",
    ),
}
"""Every stage also writes `reports/metrics/NAME.json`; training stages append curves to `reports/curves/NAME.csv`."""


def known_stage(name: str) -> str:
    """The name, if a stage has it.

    Raises:
        ValueError: no such stage.
    """
    if name not in STAGES:
        raise ValueError(f"no stage {name!r}{did_you_mean(name, STAGES)}: choose one of {', '.join(STAGES)}")
    return name


StageName = Annotated[str, AfterValidator(known_stage), WithJsonSchema({"type": "string", "enum": list(STAGES)})]
"""The name of a stage, in forms and checked configurations."""


def load_stage(name: str) -> Stage:
    """The function of a stage: `run` of the module with its name.

    Raises:
        ValueError: no such stage.
    """
    return cast(Stage, import_module(f"tasks.{known_stage(name)}").run)


def chain(first: str, last: str) -> dict[str, StageSpec]:
    """The stages from one to another, both with it, in the order in which they run."""
    names = list(STAGES)
    return {name: STAGES[name] for name in names[names.index(first) : names.index(last) + 1]}
