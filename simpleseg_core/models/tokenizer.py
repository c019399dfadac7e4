"""The small tokenizer of nano models: byte-level BPE with Qwen's special tokens, one token a digit, whole words where
the corpus has them."""

from collections.abc import Iterable
from itertools import pairwise

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

SPECIAL_TOKENS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>",
    "<|video_pad|>",
)  # fmt: skip

_SPLIT = r"[^\r\n\p{L}\p{N}\[\]]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
"""Qwen's pattern, but a bracket never sticks to the word behind it."""

CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{- '<|im_start|>' + message['role'] + '\n' -}}"
    "{%- if message['content'] is string -%}{{- message['content'] -}}{%- else -%}"
    "{%- for part in message['content'] -%}"
    "{%- if part['type'] == 'image' -%}{{- '<|vision_start|><|image_pad|><|vision_end|>' -}}"
    "{%- elif part['type'] == 'text' -%}{{- part['text'] -}}{%- endif -%}"
    "{%- endfor -%}{%- endif -%}"
    "{{- '<|im_end|>\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}"
)
"""Qwen's chat format without its default system message, which a small model would only have to skip."""

_PUNCTUATION = ("[[[", "]]]", "],[", "]],[[", "[[", "]]", ",", "[", "]", "[]", "?", ".", ", ")


def build_tokenizer(words: Iterable[str], vocab_size: int = 1024) -> PreTrainedTokenizerFast:
    """Train a tokenizer in which each of the given words, bare and after a space, is one token as far as the
    vocabulary allows.

    The result depends on the arguments alone. Text outside the word list still encodes, down to bytes.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(words), trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=list(SPECIAL_TOKENS),
        model_max_length=4096,
    )
    fast.chat_template = CHAT_TEMPLATE
    fast.image_token, fast.video_token = "<|image_pad|>", "<|video_pad|>"
    return fast


def _corpus(words: Iterable[str]) -> Iterable[str]:
    """A text in which every word and every bracket run stands often enough to be merged whole."""
    ordered = sorted(set(words) | {"user", "assistant", "system"})
    yield from (f"{word} {word}" for word in ordered for _ in range(4))
    yield from (f"1{left}2{right}3" for left, right in pairwise(_PUNCTUATION * 2) for _ in range(8))
