"""Which tokens an answer may not contain."""

from functools import cache

from transformers import AutoConfig, AutoTokenizer, GenerationConfig


@cache
def forbidden_ids(model_dir: str, trust_remote_code: bool = False) -> tuple[int, ...]:
    """Ids that no engine may sample: special tokens other than the stop tokens, and rows of the head without a token.

    A sampled image placeholder would claim an image that is not there, and the trainer's forward pass would fail on it.
    Engines and trainer set the logits of these ids to minus infinity, so that they agree on the distribution.
    """
    tokenizer = AutoTokenizer.from_pretrained(model_dir, trust_remote_code=trust_remote_code)
    special = {index for index, token in tokenizer.added_tokens_decoder.items() if token.special}
    unused = range(len(tokenizer), _vocabulary_size(model_dir, trust_remote_code))
    return tuple(sorted((special | set(unused)) - set(stop_ids(model_dir, trust_remote_code))))


@cache
def stop_ids(model_dir: str, trust_remote_code: bool = False) -> tuple[int, ...]:
    """Ids that end an answer: those of the generation configuration and of the tokenizer."""
    tokenizer = AutoTokenizer.from_pretrained(model_dir, trust_remote_code=trust_remote_code)
    configured = _generation_config(model_dir).eos_token_id
    ids = configured if isinstance(configured, list) else [configured]
    return tuple(sorted({index for index in [*ids, tokenizer.eos_token_id] if index is not None}))


def _generation_config(model_dir: str) -> GenerationConfig:
    try:
        return GenerationConfig.from_pretrained(model_dir)
    except OSError:  # the file is optional
        return GenerationConfig()


def _vocabulary_size(model_dir: str, trust_remote_code: bool) -> int:
    config = AutoConfig.from_pretrained(model_dir, trust_remote_code=trust_remote_code)
    size: int = config.get_text_config().vocab_size
    return size
