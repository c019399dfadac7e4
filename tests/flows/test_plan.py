"""`simpleseg plan` as people type it."""

import json

import pytest
from typer.testing import CliRunner, Result

from flows.cli.app import app
from simpleseg_core.planning.hardware import GPUS, Gpu


def plan(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["plan", *arguments])


@pytest.fixture(scope="module")
def nano() -> dict[str, dict[str, object]]:
    result = plan("--profile", "nano", "--gpu", "l4", "--price", "2", "--json")
    assert result.exit_code == 0, result.output
    return {each["stage"]: each for each in json.loads(result.stdout)}


def test_every_stage_that_trains_has_its_line(nano: dict[str, dict[str, object]]) -> None:
    assert list(nano) == ["pretrain", "sft", "rl"]
    assert all(each["fits"] and each["cure"] is None for each in nano.values())
    assert set(nano["sft"]["memory_gib"]) == {"weights", "gradients", "optimizer", "working"}  # type: ignore[call-overload]
    assert "engine" in nano["rl"]["memory_gib"]  # type: ignore[operator]
    assert nano["sft"]["steps"] == 160


def test_what_does_not_fit_is_refused_with_the_knob_to_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(GPUS, "tiny", Gpu("tiny", 0.5, 100, 100))
    result = plan("--profile", "nano", "--gpu", "tiny")
    assert result.exit_code == 2, result.output
    said = " ".join(result.output.split())
    assert "does not fit: sft on tiny: sft.gradient_checkpointing: true; lower sft.micro_batch_size" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--gpu", "h10"], "did you mean `h100`"),
        (["--profile", "nan"], "nano"),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], said: str) -> None:
    result = plan(*arguments)
    assert result.exit_code == 2
    assert said in result.output
