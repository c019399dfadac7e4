"""Parts of a model learn as fast as they are told, or not at all; adapters learn instead of weights, and are merged."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from simpleseg_core.config import LoraConfig, OptimizerConfig, RatesConfig, TrainConfig
from simpleseg_core.journal import Journal
from simpleseg_core.models.architectures import architecture
from simpleseg_core.models.loading import load_model, load_processor
from simpleseg_core.training.collate import Collator
from simpleseg_core.training.placed import placed
from simpleseg_core.training.run import SupervisedRun
from simpleseg_core.training.supervised import train
from tests.tiny import TINY, FourColours, losses

CPU = torch.device("cpu")


@pytest.fixture
def run(tmp_path: Path, tiny_checkpoint: Path) -> SupervisedRun:
    settings = TrainConfig(
        batch_size=8,
        micro_batch_size=8,
        threads=1,
        log_every=1,
        checkpoint_every=2,
        probe_every=1,
        optimizer=OptimizerConfig(lr=1e-3, min_lr=1e-3, warmup_ratio=0, weight_decay=0),
    )
    return SupervisedRun(
        "sft", 0, 1, settings, TINY, str(tiny_checkpoint), FourColours(), tmp_path / "model", tmp_path / "work", "same"
    )


def largest_changes(run: SupervisedRun) -> dict[str, float]:
    """How far the training has moved each weight."""
    before, after = (load_file(Path(folder) / "model.safetensors") for folder in (run.start, run.output))
    assert before.keys() == after.keys()
    return {name: float((after[name] - value).abs().max()) for name, value in before.items()}


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_each_part_learns_at_its_rate(run: SupervisedRun, optimizer: str) -> None:
    rates = RatesConfig(vision=0, projector=0.1)
    chosen = run.train.optimizer.model_copy(update={"name": optimizer})
    run = replace(run, train=run.train.model_copy(update={"rates": rates, "optimizer": chosen}))
    train(run, CPU)
    for name, change in largest_changes(run).items():
        if "merger" in name and name.endswith("ln_q.weight"):
            assert change == pytest.approx(1e-4, rel=0.1)  # AdamW's first step is the rate
        elif "layernorm" in name and "visual" not in name:
            assert change == pytest.approx(1e-3, rel=0.1)
        elif "visual" in name and "merger" not in name:
            assert change == 0, name
        else:
            assert change > 0, name


def test_every_part_learns_unless_told_otherwise(run: SupervisedRun) -> None:
    train(run, CPU)
    assert min(largest_changes(run).values()) > 0


def test_a_run_in_which_nothing_learns_is_refused() -> None:
    with pytest.raises(ValueError, match="all parts are frozen, and nothing would learn"):
        TrainConfig(rates=RatesConfig(vision=0, projector=0, language=0))
    with pytest.raises(ValueError, match="set strategy to ddp"):
        TrainConfig(lora=LoraConfig(), strategy="fsdp2", workers=2, batch_size=64)


def test_adapters_are_precise_above_weights_that_are_not(run: SupervisedRun) -> None:
    bfloat16 = TINY.model_copy(update={"dtype": "bfloat16"})
    run = replace(run, model=bfloat16, train=run.train.model_copy(update={"lora": LoraConfig()}))
    model, _ = placed(run, CPU, 1)
    kinds = {(weight.dtype, weight.requires_grad) for weight in model.parameters()}
    assert kinds == {(torch.bfloat16, False), (torch.float32, True)}
    train(run, CPU)
    assert load_model(run.output, bfloat16).dtype is torch.bfloat16


class Killed(Exception):
    pass


def test_adapters_learn_and_are_merged(run: SupervisedRun, tmp_path: Path) -> None:
    batch = Collator(load_processor(run.start, TINY), 512, architecture("qwen2_5_vl"))([FourColours()[0]])
    spoken = list[torch.Tensor]()

    def listen(kill: bool) -> Callable[[Any, object, Journal, int], None]:
        def probe(model: Any, processor: object, events: Journal, step: int) -> None:
            with torch.no_grad():
                spoken.append(model.eval()(**batch.inputs).logits)
            if kill and step == 5:
                raise Killed

        return probe

    lora = LoraConfig(rank=4, dropout=0.1)
    settings = run.train.model_copy(
        update={"lora": lora, "optimizer": OptimizerConfig(name="muon", lr=0.02, warmup_ratio=0)}
    )
    run = replace(run, steps=6, train=settings, probe=listen(kill=True))
    with pytest.raises(Killed):
        train(run, CPU)
    [*_, state] = sorted(run.work.rglob("step-*/*.safetensors"))
    assert state.stat().st_size < 0.9 * (Path(run.start) / "model.safetensors").stat().st_size, (
        "frozen weights are kept"
    )
    train(replace(run, probe=listen(kill=False)), CPU)
    assert losses(run)[6] < losses(run)[1] - 0.5
    merged = load_model(run.output, TINY).eval()
    torch.testing.assert_close(merged(**batch.inputs).logits, spoken[-1], rtol=1e-4, atol=1e-4)
    moved = {name for name, change in largest_changes(run).items() if change}
    assert any("visual" in name for name in moved) and not any("norm" in name or "embed" in name for name in moved)
    through = replace(run, probe=None, output=tmp_path / "through", work=tmp_path / "other")
    train(through, CPU)
    one, other = (load_file(each.output / "model.safetensors") for each in (run, through))
    assert all(torch.equal(value, other[name]) for name, value in one.items()), "killed and resumed is uninterrupted"
