"""How many tokens a text costs the configured model: counted by its own tokenizer, estimated where there is none."""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from simpleseg_core.config import ModelConfig
from simpleseg_core.instructions.pairs import token_count
from simpleseg_core.models.architectures import architecture

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TokenCounter:
    """Counts tokens; `name` says whose tokens they are."""

    name: str
    count: Callable[[str], int]


def answer_counter(model: ModelConfig) -> TokenCounter:
    """The tokenizer of `model.base`: of a local folder, one that is installed with a package, or the hub's.

    Where none is to be had, an estimate counts digits, words and runs of punctuation; its name says so, and the log.

    Raises:
        ValueError: the folder's tokenizer cannot be read.
    """
    for find in (_of_folder, _of_package, _of_hub):
        counter = find(model)
        if counter is not None:
            return counter
    _log.warning("no tokenizer for model.base %s: answer lengths are estimates", model.base)
    return TokenCounter(f"estimate (no tokenizer for {model.base})", token_count)


def _of_folder(model: ModelConfig) -> TokenCounter | None:
    file = Path(model.base) / "tokenizer.json"
    if not file.is_file():
        return None
    try:
        return TokenCounter(f"tokenizer of {model.base}", partial(_length, Tokenizer.from_file(str(file))))
    except Exception as error:  # the library raises bare Exceptions
        raise ValueError(f"{file}: not a tokenizer ({error}); make the checkpoint again") from error


def _of_package(model: ModelConfig) -> TokenCounter | None:
    count = architecture(model.architecture).token_counter(model.base)
    return None if count is None else TokenCounter(f"tokenizer of {model.base}", count)


def _of_hub(model: ModelConfig) -> TokenCounter | None:
    """In any other form, from a folder, the hub or its cache; None for `scratch`, and where there is none."""
    if model.base == "scratch":
        return None
    from simpleseg_core.models.auto import read_tokenizer

    try:
        tokenizer = read_tokenizer(model.base, model.trust_remote_code)
    except (OSError, ValueError, ImportError, json.JSONDecodeError) as error:
        _log.info("no tokenizer of %s here or on the hub: %s", model.base, str(error).split("\n", 1)[0])
        return None
    return TokenCounter(f"tokenizer of {model.base}", partial(_encoded_length, tokenizer))


def _length(tokenizer: Tokenizer, text: str) -> int:
    return len(tokenizer.encode(text, add_special_tokens=False).ids)


def _encoded_length(tokenizer: Any, text: str) -> int:
    return len(tokenizer.encode(text))
