"""Benchmarks, the report, and where runs are tracked."""

import re
from typing import Literal, Self, get_args

from pydantic import Field, field_validator, model_validator

from simpleseg_core.config._base import Operational, Section
from simpleseg_core.config.dataset import Style
from simpleseg_core.names import did_you_mean

TrainedStage = Literal["pretrain", "sft", "rl"]
AnswerStyle = Style | Literal["pixel"]
"""`pixel`: coordinates count the pixels of the image of the query."""


class ModelUnderTest(Section):
    """A model that answers the benchmarks."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]{0,63}$")
    """Its folder in the predictions, and what tables and curves call it."""
    label: str | None = None
    """What the page calls it; unset: its name."""
    kind: Literal["stage", "folder", "hub", "endpoint", "file"]
    """Where it comes from: a stage of this pipeline, a folder with a checkpoint, the Hugging Face hub, a server that
    speaks OpenAI's protocol, or a file with its answers."""
    where: str
    """The name of the stage, the folder or file (relative to the working copy), the id `owner/name`, or the address of
    the server, such as `http://127.0.0.1:8000/v1`."""
    served: str | None = None
    """What the server calls the model; unset: the only one that it serves."""
    style: AnswerStyle | None = None
    """How the coordinates of an endpoint's or a file's answers are to be read; unset: in `dataset.style`."""

    @property
    def title(self) -> str:
        """What people read."""
        return self.label or self.name

    @property
    def has_weights(self) -> bool:
        """Whether there is a checkpoint, which one of our engines can load."""
        return self.kind in ("stage", "folder", "hub")

    @model_validator(mode="after")
    def _place_is_of_its_kind(self) -> Self:
        stages = get_args(TrainedStage)
        if self.kind == "stage" and self.where not in stages:
            raise ValueError(
                f"{self.name}: no model comes of a stage {self.where!r}{did_you_mean(self.where, stages)}: "
                f"choose one of {', '.join(stages)}, or kind: folder"
            )
        if self.kind == "hub" and not re.fullmatch(r"[\w.\-]+/[\w.\-]+", self.where):
            raise ValueError(
                f"{self.name}: {self.where!r} is no id of the hub (owner/name): correct it, or kind: folder"
            )
        if self.kind == "endpoint" and not re.fullmatch(r"https?://[^/\s]+(/\S*)?", self.where):
            raise ValueError(
                f"{self.name}: {self.where!r} is no address of a server: write it as http://127.0.0.1:8000/v1"
            )
        return self

    @model_validator(mode="after")
    def _settings_are_of_its_kind(self) -> Self:
        if self.served is not None and self.kind != "endpoint":
            raise ValueError(f"{self.name}: served names a model of a server, and this is a {self.kind}: leave it out")
        if self.style is not None and self.has_weights:
            raise ValueError(
                f"{self.name}: style is for kinds endpoint and file; a {self.kind} is asked, and read, in dataset.style"
            )
        return self


_TRAINED = (
    ModelUnderTest(name="base", label="Base", kind="stage", where="pretrain"),
    ModelUnderTest(name="sft", label="SFT", kind="stage", where="sft"),
    ModelUnderTest(name="rl", label="SFT + RL", kind="stage", where="rl"),
)


class EvaluateConfig(Section):
    """Greedy decoding of every benchmark query by every model."""

    engine: Literal["vllm", "transformers"] = "vllm"
    models: Operational[tuple[ModelUnderTest, ...]] = _TRAINED
    """In the order in which people read them; each is compared with the one before. `base`, `sft` and `rl`, the three
    that the pipeline trains, may be written as their names alone."""
    max_tokens: int = Field(200, gt=0)
    """Tokens of one answer."""
    max_length: int = Field(1024, gt=0)
    """Tokens of one query, its image and its answer together."""
    max_num_seqs: Operational[int] = Field(64, gt=0)
    kv_cache_mib: Operational[int] = Field(128, gt=0)
    gpu_memory_utilization: Operational[float] = Field(0.9, gt=0, le=1)
    tensor_parallel: Operational[int] = Field(1, gt=0, le=10_000)
    """GPUs that share one model."""
    constrained: bool = False
    """Restrict decoding to the answer grammar."""
    bootstrap_samples: Operational[int] = Field(2000, gt=0)
    overlays: Operational[int] = Field(4, gt=0)
    """Overlays drawn of each of best, median and worst."""

    @field_validator("models", mode="before")
    @classmethod
    def _names_stand_for_our_own(cls, models: object) -> object:
        return tuple(map(_spelt_out, models)) if isinstance(models, list | tuple) else models

    @field_validator("models")
    @classmethod
    def _names_differ(cls, models: tuple[ModelUnderTest, ...]) -> tuple[ModelUnderTest, ...]:
        if not models:
            raise ValueError("no model is named: list those that answer the benchmarks, such as [base, sft, rl]")
        names = [model.name for model in models]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two models are called {twice[0]}: give one another name")
        return models


def _spelt_out(model: object) -> object:
    """The model that a name alone stands for; everything else as it is."""
    if not isinstance(model, str):
        return model
    known = {each.name: each for each in _TRAINED}
    if model not in known:
        raise ValueError(
            f"no model {model!r}{did_you_mean(model, known)}: choose one of {', '.join(known)}, or write where "
            f"it comes from, as {{name: {model}, kind: folder, where: PATH}}"
        )
    return known[model]


class TrackingConfig(Section):
    """MLflow."""

    uri: str = "sqlite:///mlflow.db"
    """Where runs are kept, a database or a server, without a password. MLFLOW_TRACKING_URI, if exported, comes first;
    a server's name and password are MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD."""
    experiment: str = Field("simpleseg", min_length=1, max_length=256)
    system_metrics: bool = True

    @field_validator("uri")
    @classmethod
    def _is_a_store(cls, uri: str) -> str:
        if not re.match(r"(?!file:)[a-z][a-z0-9+.\-]*:|databricks$", uri):
            raise ValueError(f"{uri!r} is no store: a database such as sqlite:///mlflow.db, or http://HOST:PORT")
        return uri


class RayConfig(Section):
    """How Ray starts."""

    address: str | None = None
    """Address of a running cluster; unset: a local one starts by itself."""
    num_cpus: int | None = Field(None, gt=0, le=10_000)
    object_store_mib: int = Field(200, ge=80)

    @field_validator("address")
    @classmethod
    def _is_a_cluster(cls, address: str | None) -> str | None:
        if address is not None and not re.fullmatch(r"auto|local|([\w.\-]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}", address):
            raise ValueError(
                f"{address!r} is no cluster: HOST:PORT of its head, or auto; not ray://, run there as a job"
            )
        return address
