"""Packed rows: no conversation sees another, each has its own positions, and what is learned is the same."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from simpleseg_core.config import Config, OptimizerConfig, TrainConfig
from simpleseg_core.models.architectures import architecture
from simpleseg_core.models.loading import load_model, load_processor
from simpleseg_core.training.collate import IGNORE, Batch, Collator
from simpleseg_core.training.packing import even_rows
from simpleseg_core.training.run import SupervisedRun
from simpleseg_core.training.samples import Conversation, StepBatches
from simpleseg_core.training.supervised import train
from tests.tiny import TINY, FourColours, losses

FAMILY = architecture("qwen2_5_vl")
WIDE = TINY.model_copy(update={"min_pixels": 64 * 64, "max_pixels": 128 * 128})


def conversation(seed: int, width: int, height: int, turns: int) -> Conversation:
    """An image of noise, so that none is like another, and answers of different lengths."""
    noise = torch.randint(0, 256, (height, width, 3), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    answers = tuple("[[" + ",".join(f"[{seed}{turn},{i}]" for i in range(turn + seed)) + "]]" for turn in range(turns))
    return Conversation(Image.fromarray(noise.numpy()), tuple(f"outline of {turn}" for turn in range(turns)), answers)


MIXED = [
    conversation(1, 64, 64, 1),
    conversation(2, 128, 64, 3),
    conversation(3, 64, 128, 2),
    conversation(4, 96, 96, 1),
]


def collator(checkpoint: Path, packing: int) -> Collator:
    return Collator(load_processor(checkpoint, WIDE), 512, FAMILY, packing)


@given(st.lists(st.integers(1, 60), min_size=1, max_size=40), st.integers(1, 200))
def test_rows_hold_everything_once_in_order_and_fit(lengths: list[int], width: int) -> None:
    rows = even_rows(lengths, width)
    assert [index for row in rows for index in row] == list(range(len(lengths)))
    width = max(width, *lengths)
    filled = [sum(lengths[index] for index in row) for row in rows]
    assert max(filled) <= width
    assert len(rows) <= 1 + 2 * sum(lengths) // width, "two neighbours hold more than one row could"


def gradients(model: PreTrainedModel, batches: Sequence[Batch]) -> tuple[float, dict[str, torch.Tensor]]:
    """The summed loss of all answers, and what every weight learns from it."""
    model.zero_grad()
    total = 0.0
    for batch in batches:
        logits = model(**batch.inputs, use_cache=False).logits[:, :-1]
        loss = cross_entropy(logits.flatten(0, 1), batch.labels[:, 1:].flatten(), ignore_index=IGNORE, reduction="sum")
        loss.backward()  # type: ignore[no-untyped-call]
        total += float(loss.detach())
    return total, {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


@pytest.mark.parametrize("packing", [10_000, 220])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_packed_conversations_teach_what_they_teach_one_by_one(
    tiny_checkpoint: Path, packing: int, attention: str
) -> None:
    model = load_model(tiny_checkpoint, WIDE).train()
    model.set_attn_implementation(attention)
    alone = collator(tiny_checkpoint, 0)
    packed = collator(tiny_checkpoint, packing)(MIXED)
    assert 1 <= len(packed.labels) < len(MIXED)
    loss, gradient = gradients(model, [alone([each]) for each in MIXED])
    together, packed_gradient = gradients(model, [packed])
    assert together == pytest.approx(loss, rel=1e-5)
    assert gradient.keys() == packed_gradient.keys() and any("visual" in name for name in gradient)
    for name, value in gradient.items():
        torch.testing.assert_close(packed_gradient[name], value, rtol=1e-5, atol=1e-5 * float(value.abs().max()))


def test_positions_of_each_conversation_are_those_that_the_model_would_give_it(tiny_checkpoint: Path) -> None:
    batch = collator(tiny_checkpoint, 0)(MIXED)
    inner = load_model(tiny_checkpoint, WIDE).model
    names = ("input_ids", "mm_token_type_ids", "image_grid_thw", "attention_mask")
    theirs, _ = inner.get_rope_index(**{name: batch.inputs[name] for name in names})
    ours = FAMILY.positions(load_processor(tiny_checkpoint, WIDE), batch.inputs)  # type: ignore[misc]
    told = batch.inputs["attention_mask"].bool()
    assert torch.equal(ours[:, told], theirs[:, told])


def test_a_packed_run_takes_the_steps_of_a_padded_one(tiny_checkpoint: Path, tmp_path: Path) -> None:
    settings = TrainConfig(
        batch_size=8, micro_batch_size=4, log_every=1, threads=1, optimizer=OptimizerConfig(warmup_ratio=0)
    )
    run = SupervisedRun(
        "sft", 0, 3, settings, TINY, str(tiny_checkpoint), FourColours(), tmp_path / "one", tmp_path / "work", "same"
    )
    packed = replace(run, train=settings.model_copy(update={"packing": 100}), work=tmp_path / "packed")
    for each in (run, packed):
        train(each, torch.device("cpu"))
    assert losses(packed) == pytest.approx(losses(run), rel=1e-4)


def test_every_worker_has_as_many_forward_passes_and_each_its_share_of_lengths(tiny_checkpoint: Path) -> None:
    class Growing:
        def __getitem__(self, index: int) -> Conversation:
            return conversation(index % 16 + 1, 64, 64, 1)

    parts = [
        StepBatches(Growing(), collator(tiny_checkpoint, 400), 16, 4, rank, 2, packed=True)[0] for rank in range(2)
    ]
    assert [len(part) for part in parts] == [2, 2]
    tokens = [int((batch.labels != IGNORE).sum()) for batch in parts[1]]
    assert max(tokens) < 1.25 * min(tokens)


def test_packing_is_refused_where_attention_does_not_keep_rows_apart() -> None:
    values = {"model": {"attention": "flash_attention_2"}, "sft": {"packing": 4096}}
    with pytest.raises(ValueError, match=r"sft\.packing: model\.attention flash_attention_2 .*set it to 0"):
        Config.model_validate(values)
