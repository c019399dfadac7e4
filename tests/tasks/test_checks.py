"""What the configuration names outside the working copy is looked at before a stage touches anything."""

import json
from pathlib import Path

import pytest

from simpleseg_core.config import Config
from simpleseg_core.config.files import load_profile
from tasks.checks import check_inputs


def _config(base: Path, architecture: str = "qwen2_5_vl") -> Config:
    return Config.model_validate({"model": {"base": str(base), "architecture": architecture}})


def test_a_model_that_can_be_trained_is_let_through(tiny_checkpoint: Path) -> None:
    check_inputs(_config(tiny_checkpoint), ["pretrain"])


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"model_type": "bert"}, "a model of type 'bert' cannot be trained, only"),
        ({"model_type": "kimi_vl"}, "of type kimi_vl, and model.architecture"),
        ({"model_type": "qwen2_5_vl", "quantization_config": {"quant_method": "awq"}}, "its weights are quantised"),
    ],
)
def test_a_model_that_cannot_be_trained_is_refused_by_name(tmp_path: Path, about: dict[str, object], said: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps(about))
    with pytest.raises(ValueError, match=r"^model\.base /.*") as error:
        check_inputs(_config(tmp_path), ["pretrain"])
    assert said in str(error.value)


@pytest.mark.parametrize("name", ["qwen2_5_vl_3b", "qwen2_5_vl_7b", "kimi_vl", "qwen2_5_vl_3b_lora"])
def test_profiles_of_the_published_recipe_ask_for_its_data(name: str) -> None:
    config = load_profile(name)
    assert [each.dataset for each in config.data.referring] == ["refcoco", "refcoco+", "refcocog", "refclef"]
    assert (config.dataset.style, config.dataset.published_templates) == ("unit", True)
    with pytest.raises(FileNotFoundError, match=r"datasets/refcoco: no such folder; set data\.referring\.0\.root"):
        check_inputs(config, ["dataset"])
