"""What the configuration names outside the working copy, looked at before a stage touches anything."""

from collections.abc import Callable, Iterable
from pathlib import Path

from simpleseg_core.config import Config
from simpleseg_core.files import read_state
from simpleseg_core.models.architectures import architecture, architecture_of
from tasks.hub import is_hub_id


def check_inputs(config: Config, stages: Iterable[str]) -> None:
    """See that files and folders which stages will need are there.

    Raises:
        FileNotFoundError, ValueError: one is not, or cannot be what it should be; the message names the key to set.
    """
    for stage in stages:
        if check := _CHECKS.get(stage):
            check(config)


def _ingest(config: Config) -> None:
    from simpleseg_core.sources import source

    source(config.data.source).check(config)
    if config.ingest.sink is not None:
        from simpleseg_core.fetch import place

        place(config.ingest.sink, "ingest.sink")


def _dataset(config: Config) -> None:
    for number, each in enumerate(config.data.referring):
        for key, folder in (("root", each.root), ("images", each.images)):
            if folder is not None and not folder.exists():
                raise FileNotFoundError(f"{folder}: no such folder; set data.referring.{number}.{key}")


def _engine(section: str) -> Callable[[Config], None]:
    """The check of a section with an engine: where that loads a model, a folder that is named as such is there."""

    def check(config: Config) -> None:
        settings = getattr(config, section)
        if settings.loads_model:
            _check_model(settings.model, f"{section}.model")

    return check


def _check_model(name: str, key: str) -> None:
    if name != "scratch" and not is_hub_id(name) and not Path(name).expanduser().exists():
        raise FileNotFoundError(f"{name}: no such folder; set {key} to one with weights, or to a hub id (owner/name)")


def _evaluate(config: Config) -> None:
    for number, model in enumerate(config.evaluate.models):
        if model.kind == "folder" and not any(Path(model.where).expanduser().glob("*.safetensors")):
            raise FileNotFoundError(
                f"{model.where}: no checkpoint (*.safetensors) here; set evaluate.models.{number}.where to a folder "
                "with one"
            )
        if model.kind == "file":
            from simpleseg_core.evaluation.answer_files import FileAnswers

            FileAnswers(Path(model.where).expanduser(), model.style)


def _base(config: Config) -> None:
    """The model that everything starts from is of the architecture that is configured, and one that can be trained."""
    name, file = config.model.base, Path(config.model.base).expanduser() / "config.json"
    _check_model(name, "model.base")
    if not file.is_file():
        return
    about = read_state(file)
    if "quantization_config" in about:
        raise ValueError(
            f"model.base {name}: its weights are quantised, and cannot be trained: name the model they are of"
        )
    kind = str(about.get("model_type"))
    try:
        found = architecture_of(kind)
    except ValueError as error:
        raise ValueError(f"model.base {name}: {error}") from None
    if found is not architecture(config.model.architecture):
        raise ValueError(
            f"model.base {name} is a model of type {kind}, and model.architecture says {config.model.architecture}: "
            "set the one or the other"
        )


_CHECKS: dict[str, Callable[[Config], None]] = {
    "ingest": _ingest,
    "detect": _engine("detect"),
    "segment": _engine("segment"),
    "describe": _engine("describe"),
    "dataset": _dataset,
    "pretrain": _base,
    "evaluate": _evaluate,
}
