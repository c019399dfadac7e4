"""The tokenizer of Kimi's checkpoints: a file of byte pairs in the format of tiktoken."""

from typing import Any

from tokenizers import Regex, pre_tokenizers
from transformers import PreTrainedTokenizerFast

_WORDS = "|".join(
    [
        r"[\p{Han}]+",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*"
        r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+"
        r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    ]
)
"""How text is cut before pairs are merged: the words of GPT-4o's tokenizer, but Chinese stays apart."""


class TikTokenTokenizer(PreTrainedTokenizerFast):
    """Named as checkpoints name it; it reads their `tiktoken.model`, and writes an ordinary `tokenizer.json`."""

    vocab_files_names = {"tokenizer_file": "tokenizer.json", "vocab_file": "tiktoken.model"}

    @classmethod
    def _convert_from_tiktoken(cls, vocab_file: str, local_kwargs: dict[str, Any]) -> dict[str, Any]:
        converted: dict[str, Any] = super()._convert_from_tiktoken(vocab_file, local_kwargs)
        converted["tokenizer_object"].pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(_WORDS), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        return converted
