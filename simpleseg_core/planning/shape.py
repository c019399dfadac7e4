"""The sizes of the model that a configuration names, without its weights."""

import json
from pathlib import Path
from typing import Any

from transformers import AutoConfig

from simpleseg_core.config import ModelConfig
from simpleseg_core.models.nano import build_nano

_SHAPES = Path(__file__).parent / "shapes"


def model_shape(model: ModelConfig) -> Any:
    """The configuration of the model: of its folder, of one that we know, or as the hub's cache or the hub gives it.

    Raises:
        ValueError: nobody has it, or it is not of a family whose memory can be planned.
    """
    known = _SHAPES / f"{model.base.rpartition('/')[2].lower()}.json"
    if model.base == "scratch":
        return build_nano(model, 0)[0].config
    if known.is_file() and not Path(model.base).is_dir():
        sizes = json.loads(known.read_text(encoding="utf-8"))
        return AutoConfig.for_model(sizes.pop("model_type"), **sizes)
    try:
        return AutoConfig.from_pretrained(model.base)
    except (OSError, ValueError) as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise ValueError(
            f"model.base {model.base}: its config.json is not here and not to be fetched ({reason})"
        ) from None
