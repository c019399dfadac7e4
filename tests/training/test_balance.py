"""Experts of a mixture that are kept equally busy, or left as they are."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import normalize

from simpleseg_core.config import Config, OptimizerConfig, RouterConfig, TrainConfig
from simpleseg_core.models.loading import load_model, save_checkpoint
from simpleseg_core.models.nano import build_nano
from simpleseg_core.training.balance import Balance
from simpleseg_core.training.run import SupervisedRun
from simpleseg_core.training.supervised import train
from tests.tiny import TINY, FourColours, curve

CONFIG = TINY.model_copy(update={"architecture": "kimi_vl", "base": "scratch"})
STEPS = 24


def router_of(model: Any) -> Any:
    return model.get_submodule("language_model.model.layers.1.mlp.gate")


def run(tmp_path: Path, router: RouterConfig, **changes: object) -> SupervisedRun:
    """A few steps of a model two of whose eight experts take all tokens at first."""
    model, processor = build_nano(CONFIG, seed=0)
    router_of(model).e_score_correction_bias[:2] = 0.5
    save_checkpoint(model, processor, tmp_path / "start")
    settings = TrainConfig(
        batch_size=8, micro_batch_size=4, log_every=1, threads=1, router=router, optimizer=OptimizerConfig(name="muon")
    ).model_copy(update=changes)
    places = (tmp_path / "model", tmp_path / "work")
    return SupervisedRun("sft", 0, STEPS, settings, CONFIG, str(tmp_path / "start"), FourColours(), *places, "same")


@pytest.mark.parametrize("again", [False, True])
def test_biases_spread_the_tokens_over_the_experts(tmp_path: Path, again: bool) -> None:
    """Computed again by gradient checkpointing or not."""
    asked = run(tmp_path, RouterConfig(bias_rate=0.05), gradient_checkpointing=again)
    train(asked, torch.device("cpu"))
    unequal = curve(asked, "expert_imbalance")
    assert unequal[1] == 3  # each of the two takes four times its share
    assert unequal[STEPS] < 2
    assert float(router_of(load_model(tmp_path / "model", CONFIG)).e_score_correction_bias[:2].max()) < 0.3


def test_a_router_is_trained_and_its_bias_frozen_unless_told_otherwise(tmp_path: Path) -> None:
    plain = run(tmp_path, RouterConfig())
    train(plain, torch.device("cpu"))
    before, after = (router_of(load_model(tmp_path / name, CONFIG)) for name in ("start", "model"))
    assert torch.equal(before.e_score_correction_bias, after.e_score_correction_bias)
    assert not torch.equal(before.weight, after.weight)
    assert "expert_imbalance" not in (plain.work / "events.jsonl").read_text()


def test_a_bias_is_written_as_precise_as_it_is(tmp_path: Path) -> None:
    """In bfloat16 a step of a thousandth would be lost next to a bias of one half."""
    asked = run(tmp_path, RouterConfig(bias_rate=0.001))
    low = asked.model.model_copy(update={"dtype": "bfloat16"})
    train(replace(asked, model=low, steps=1), torch.device("cpu"))
    router = router_of(load_model(tmp_path / "model", low))
    assert router.weight.dtype is torch.bfloat16
    assert router.e_score_correction_bias[:2].tolist() == pytest.approx([0.499, 0.499], abs=1e-6)


def test_the_auxiliary_loss_is_least_where_all_experts_are_alike() -> None:
    """One where all are alike, more where scores and choices agree on a few; its gradient reaches the router."""
    torch.manual_seed(0)
    router = router_of(model := build_nano(CONFIG, seed=0)[0])
    balance = Balance(model, RouterConfig(balance_loss=1.0))
    hidden, mask = torch.randn(2, 50, 64) + 5 * torch.eye(64)[0], torch.ones(2, 50, dtype=torch.long)
    found = []
    for scale in (0.0, 1.0):
        router.weight.data = scale * normalize(torch.randn(8, 64), dim=1)
        router.weight.data[:, 0] = scale * torch.linspace(-1, 1, 8)
        with balance.watching():
            router(hidden)
        loss: Any = balance.loss(mask, tokens=100)
        loss.backward()
        found.append(float(loss.detach()))
    assert found[0] == pytest.approx(1, rel=1e-4) and found[1] > 1.5
    assert float(router.weight.grad.abs().max()) > 0


def test_padding_counts_for_no_expert() -> None:
    model = build_nano(CONFIG, seed=0)[0]
    balance = Balance(model, RouterConfig(bias_rate=0.1))
    with balance.watching():
        router_of(model)(torch.randn(2, 5, 64))
    balance.loss(torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]]), tokens=7)
    assert float(balance._loads[0].sum()) == 7 * 2


def test_models_without_experts_refuse_to_balance_them() -> None:
    with pytest.raises(ValueError, match=r"sft\.router: model\.architecture qwen2_5_vl has no experts: leave it out"):
        Config.model_validate({"sft": {"router": {"bias_rate": 0.001}}})
