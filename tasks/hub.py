"""Models that the configuration names: their folders, and whether those of the Hugging Face hub can be had."""

from collections.abc import Collection, Iterable, Iterator
from functools import cache
from pathlib import Path

from simpleseg_core.config import Config

_PATIENCE_S = 10.0
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")


def is_hub_id(name: str) -> bool:
    """A hub id is `owner/name`; what looks otherwise, or is there, is a folder or a file."""
    return not name.startswith((".", "/", "~")) and name.count("/") == 1 and not Path(name).exists()


def hub_models(config: Config, stages: Iterable[str]) -> dict[str, str]:
    """The hub ids that stages load, by their keys in the configuration."""
    named = {key: name for stage in stages for key, name in _models(config, stage) if name and is_hub_id(name)}
    return dict(sorted(named.items()))


def model_places(config: Config, stage: str) -> list[Path]:
    """The folders with models, and files with answers, that a stage reads from outside of the pipeline, if there."""
    named = (Path(name).expanduser() for _, name in _models(config, stage) if name and not is_hub_id(name))
    return sorted({place for place in named if place.exists()})


def _models(config: Config, stage: str) -> Iterator[tuple[str, str | None]]:
    if stage == "detect" and config.detect.loads_model:
        yield "detect.model", config.detect.model
    elif stage == "segment":
        yield "segment.model", config.segment.model if config.segment.loads_model else None
        yield "segment.clip", config.segment.clip
    elif stage == "describe" and config.describe.loads_model:
        yield "describe.model", config.describe.model
        yield "detect.model", config.detect.model if config.describe.is_checked and config.detect.loads_model else None
    elif stage == "pretrain":
        yield "model.base", config.model.base
    elif stage == "evaluate":
        for number, model in enumerate(config.evaluate.models):
            place = str(Path(model.where).expanduser().absolute())
            named = {"hub": model.where, "folder": place, "file": place}
            yield f"evaluate.models.{number}.where", named.get(model.kind)


def check_models(config: Config, stages: Iterable[str], *, known: Collection[str] = ()) -> None:
    """See that every hub id which stages load is in the hub's cache on this machine, or can be fetched.

    Args:
        known: hub ids that are not asked for.

    Raises:
        ValueError: one is not; the message names the key and the cure.
    """
    for key, name in hub_models(config, stages).items():
        if name not in known and (why := unreachable(name)):
            raise ValueError(f"{key} is {name}, {why}, or set {key} to a folder with it")


@cache
def unreachable(name: str) -> str | None:
    """Why a model can neither be read from the cache nor be fetched, and the cure; None where it can."""
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import GatedRepoError, OfflineModeIsEnabled, RepositoryNotFoundError

    if any(isinstance(try_to_load_from_cache(name, file), str) for file in _WEIGHTS):
        return None
    try:
        HfApi().model_info(name, timeout=_PATIENCE_S)
    except (RepositoryNotFoundError, GatedRepoError):
        return "which the hub does not have, or not for you: check the name, log in (`hf auth login`)"
    except OfflineModeIsEnabled:
        return f"which is not on this machine, and HF_HUB_OFFLINE is set: unset it, `hf download {name}`"
    except Exception as error:  # the network library has errors of its own
        reason = str(error).split("\n", 1)[0] or type(error).__name__
        return f"which is not on this machine, and the hub does not answer ({reason}): `hf download {name}` first"
    return None
