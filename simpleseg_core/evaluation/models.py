"""Models under test: from what the configuration says of one to the folder with its checkpoint."""

from collections.abc import Mapping
from pathlib import Path

from simpleseg_core.config.evaluation import ModelUnderTest

_WANTED = ("*.json", "*.jinja", "*.model", "*.py", "*.safetensors", "*.tiktoken", "*.txt")
"""Files of a repository of the hub that a checkpoint is made of: weights in other formats are not fetched."""


def model_folder(model: ModelUnderTest, trained: Mapping[str, Path], root: Path = Path()) -> Path:
    """The folder with a model's checkpoint; one of the hub is fetched where its cache does not hold it.

    Args:
        trained: stage -> the folder that it leaves its model in.
        root: what relative folders are relative to.

    Raises:
        FileNotFoundError: no weights are there, or the hub does not give them.
        ValueError: it is a model without weights of its own here.
    """
    match model.kind:
        case "stage":
            folder, cure = trained[model.where], f"run `simpleseg run --until {model.where}`"
        case "folder":
            folder, cure = root / Path(model.where).expanduser(), "name a folder with a checkpoint in evaluate.models"
        case "hub":
            folder, cure = _fetched(model.where), "name a model with weights as safetensors in evaluate.models"
        case _:
            raise ValueError(f"{model.name} is a model of kind {model.kind}: there is no checkpoint of it to load")
    if not any(folder.glob("*.safetensors")):
        raise FileNotFoundError(f"{folder}: no weights (*.safetensors) of the model {model.name} here: {cure}")
    return folder


def _fetched(name: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=list(_WANTED)))
    except (OSError, ValueError) as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise FileNotFoundError(f"{name}: neither in the hub's cache nor to be fetched ({reason})") from error
