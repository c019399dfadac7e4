"""The tokens an answer may contain."""

from pathlib import Path

from transformers import AutoTokenizer

from simpleseg_core.rollout import forbidden_ids
from simpleseg_core.rollout._vocabulary import stop_ids


def test_placeholders_are_forbidden_and_stops_are_not(tiny_checkpoint: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_checkpoint)
    forbidden = set(forbidden_ids(str(tiny_checkpoint)))
    assert {tokenizer.convert_tokens_to_ids(f"<|{name}|>") for name in ("image_pad", "im_start")} <= forbidden
    assert {tokenizer.eos_token_id, tokenizer.pad_token_id} == set(stop_ids(str(tiny_checkpoint)))
    assert not forbidden & set(stop_ids(str(tiny_checkpoint)))
    assert not forbidden & set(tokenizer.encode("[[[12,345],[6,7]]] outline of the circle"))


def test_rows_of_the_head_without_a_token_are_forbidden(tiny_checkpoint: Path) -> None:
    size = len(AutoTokenizer.from_pretrained(tiny_checkpoint))
    assert set(range(size, 960)) <= set(forbidden_ids(str(tiny_checkpoint)))
