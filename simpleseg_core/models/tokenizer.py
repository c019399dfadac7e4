"""The small tokenizer of nano models: byte-level BPE with one token a digit, and whole words where the corpus has
them."""

from collections.abc import Iterable
from itertools import pairwise

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from simpleseg_core.models.architectures import ChatForm

_SPLIT = r"[^\r\n\p{L}\p{N}\[\]]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
"""The pattern of large models, but a bracket never sticks to the word behind it."""

_PUNCTUATION = ("[[[", "]]]", "],[", "]],[[", "[[", "]]", ",", "[", "]", "[]", "?", ".", ", ")


def build_tokenizer(words: Iterable[str], chat: ChatForm, vocab_size: int = 1024) -> PreTrainedTokenizerFast:
    """Train a tokenizer in which each of the given words, bare and after a space, is one token as far as the
    vocabulary allows, and with the special tokens of a chat form.

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
        vocab_size=vocab_size - len(chat.special_tokens),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(words), trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=chat.answer_end,
        pad_token=chat.padding,
        additional_special_tokens=list(chat.special_tokens),
        model_max_length=4096,
    )
    fast.chat_template = chat.template
    return fast


def _corpus(words: Iterable[str]) -> Iterable[str]:
    """A text in which every word and every bracket run stands often enough to be merged whole."""
    ordered = sorted(set(words) | {"user", "assistant", "system"})
    yield from (f"{word} {word}" for word in ordered for _ in range(4))
    yield from (f"1{left}2{right}3" for left, right in pairwise(_PUNCTUATION * 2) for _ in range(8))
