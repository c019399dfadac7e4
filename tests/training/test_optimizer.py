"""Which parameter is updated by what."""

import torch
from torch import nn
from torch.optim import Muon

from simpleseg_core.config import OptimizerConfig
from simpleseg_core.models.nano import build_nano
from simpleseg_core.training.muon import StackedMuon
from simpleseg_core.training.optimizer import build_optimizer, clip_gradients
from tests.tiny import TINY


def test_muon_takes_hidden_matrices_and_adamw_the_rest() -> None:
    model, _ = build_nano(TINY, seed=0)
    muon, adamw = build_optimizer(model, OptimizerConfig(name="muon")).parts
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    with_muon = {names[id(parameter)] for group in muon.param_groups for parameter in group["params"]}
    with_adamw = {names[id(parameter)] for group in adamw.param_groups for parameter in group["params"]}
    assert with_muon | with_adamw == set(names.values()) and not with_muon & with_adamw
    assert all("embed" not in name and "norm" not in name and "bias" not in name for name in with_muon)
    assert any("visual.blocks" in name for name in with_muon) and any("layers.0.mlp" in name for name in with_muon)


def test_norms_and_biases_do_not_decay() -> None:
    model, _ = build_nano(TINY, seed=0)
    for part in build_optimizer(model, OptimizerConfig(name="muon")).parts:
        for group in part.param_groups:
            assert all((parameter.ndim >= 2) == (group["weight_decay"] > 0) for parameter in group["params"])


def test_a_step_uses_the_given_rate_and_clears_gradients() -> None:
    layer = nn.Linear(4, 4)
    before = layer.weight.detach().clone()
    layer(torch.ones(1, 4)).sum().backward()
    build_optimizer(layer, OptimizerConfig(weight_decay=0.0)).step(lr=0.5)
    assert layer.weight.grad is None
    torch.testing.assert_close(before - layer.weight, torch.full((4, 4), 0.5), atol=1e-3, rtol=0)


def test_the_muon_update_has_the_size_of_an_adamw_update() -> None:
    """0.2 * sqrt(max(d_in, d_out)) times an orthogonal matrix has entries of about 0.2, AdamW's usual size."""
    layer = nn.Linear(64, 64)
    before = layer.weight.detach().clone()
    layer(torch.randn(256, 64)).pow(2).sum().backward()
    build_optimizer(layer, OptimizerConfig(name="muon", weight_decay=0.0)).parts[0].step()
    assert 0.1 < (before - layer.weight).pow(2).mean().sqrt() / 1e-3 < 0.4


def test_clipping_bounds_the_global_norm() -> None:
    layer = nn.Linear(4, 4)
    (layer(torch.ones(1, 4)).sum() * 100).backward()
    norm = clip_gradients(layer, 1.0)
    clipped = torch.stack(
        [parameter.grad.norm() for parameter in layer.parameters() if parameter.grad is not None]
    ).norm()
    assert norm > 1 and abs(float(clipped) - 1) < 1e-3


def test_each_expert_is_updated_as_torch_updates_a_matrix() -> None:
    """Wide and tall, over several steps, and with an expert that had no token."""
    for shape in ((4, 24, 40), (4, 40, 24)):
        stacked = nn.Parameter(torch.randn(shape))
        alone = [nn.Parameter(each.clone()) for each in stacked.detach()]
        ours = StackedMuon([stacked], lr=0.01, weight_decay=0.1)
        theirs = Muon(alone, lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
        for _ in range(3):
            gradient = torch.randn(shape)
            gradient[2] = 0
            stacked.grad = gradient
            for index, each in enumerate(alone):
                each.grad = gradient[index].clone()
            ours.step()
            theirs.step()
        torch.testing.assert_close(stacked.detach(), torch.stack([each.detach() for each in alone]), atol=1e-3, rtol=0)


def test_muon_takes_the_experts_of_kimi() -> None:
    config = TINY.model_copy(update={"architecture": "kimi_vl", "base": "scratch"})
    model, _ = build_nano(config, seed=0)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    parts = build_optimizer(model, OptimizerConfig(name="muon")).parts
    muon, stacked, adamw = (
        {names[id(parameter)] for group in part.param_groups for parameter in group["params"]} for part in parts
    )
    experts = "language_model.model.layers.1.mlp.experts"
    assert stacked == {f"{experts}.gate_up_proj", f"{experts}.down_proj"}
    assert muon | stacked | adamw == set(names.values())
    assert not any("proj.weight" in name for name in adamw if "patch_embed" not in name)
