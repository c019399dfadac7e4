"""The table of objectives: the configuration's names are its rows; a row that isn't there is refused by name."""

from typing import get_args

import pytest
import torch

from simpleseg_core.config.training import ObjectiveName
from simpleseg_core.training.objectives import OBJECTIVES, importance_weights, objective


def test_the_configuration_names_exactly_the_rows() -> None:
    assert set(get_args(ObjectiveName)) == set(OBJECTIVES)


def test_an_unknown_objective_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"rl\.objective: no 'ppo': choose one of cispo, dr_grpo, .*sapo"):
        objective("ppo")


def test_answers_weigh_what_the_trainer_finds_likelier_up_to_a_cap() -> None:
    old = torch.tensor([[-1.0, -1.0], [-1.0, -9.0], [-1.0, -1.0], [-2.0, -2.0]])
    mask = torch.tensor([[True, True], [True, False], [True, True], [True, True]])
    engine = torch.tensor([-2.0, -1.5, -5.0, float("nan")])
    weights = importance_weights(old, engine, mask, cap=2.0)
    torch.testing.assert_close(weights, torch.tensor([1.0, 1.6487213, 2.0, 1.0]))
