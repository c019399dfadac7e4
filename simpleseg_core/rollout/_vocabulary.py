"""Which tokens an answer may not contain, and which end it."""

from functools import cache
from typing import Any

from transformers import GenerationConfig

from simpleseg_core.models.auto import read_config, read_tokenizer


def stop_tokens(tokenizer: Any, configured: GenerationConfig) -> tuple[int, ...]:
    """Ids that end an answer: those of the generation configuration and of the tokenizer."""
    named = configured.eos_token_id
    ids = named if isinstance(named, list) else [named]
    return tuple(sorted({index for index in [*ids, tokenizer.eos_token_id] if index is not None}))


def forbidden_tokens(tokenizer: Any, vocabulary_size: int, stop: tuple[int, ...]) -> tuple[int, ...]:
    """Ids that no engine may sample: special tokens other than the stop tokens, and rows of the head without a token.

    A sampled image placeholder would claim an image that is not there, and the trainer's forward pass would fail on it.
    Engines and trainer set the logits of these ids to minus infinity, so that they agree on the distribution.
    """
    special = {index for index, token in tokenizer.added_tokens_decoder.items() if token.special}
    unused = range(len(tokenizer), vocabulary_size)
    return tuple(sorted((special | set(unused)) - set(stop)))


@cache
def forbidden_ids(model_dir: str, trust_remote_code: bool = False) -> tuple[int, ...]:
    """`forbidden_tokens` of a checkpoint folder."""
    tokenizer = read_tokenizer(model_dir, trust_remote_code)
    config = read_config(model_dir, trust_remote_code)
    size: int = config.get_text_config().vocab_size
    return forbidden_tokens(tokenizer, size, stop_ids(model_dir, trust_remote_code))


@cache
def stop_ids(model_dir: str, trust_remote_code: bool = False) -> tuple[int, ...]:
    """`stop_tokens` of a checkpoint folder."""
    tokenizer = read_tokenizer(model_dir, trust_remote_code)
    return stop_tokens(tokenizer, _generation_config(model_dir))


def _generation_config(model_dir: str) -> GenerationConfig:
    try:
        return GenerationConfig.from_pretrained(model_dir)
    except OSError:  # the file is optional
        return GenerationConfig()
