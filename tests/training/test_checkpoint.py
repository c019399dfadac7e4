"""Training state: atomic, private to one run, and harmless to read."""

from pathlib import Path

import torch

from simpleseg_core.config import OptimizerConfig
from simpleseg_core.training.checkpoint import Checkpoints, fingerprint


def test_the_newest_state_comes_back_and_old_ones_go(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "state", "run", keep=2)
    for step in (5, 10, 15):
        checkpoints.save(step, {"x": torch.full((2,), step)})
    step, state = Checkpoints(tmp_path / "state", "run").latest() or (0, {})
    assert step == 15 and state["x"].tolist() == [15, 15]
    assert len(list((tmp_path / "state").glob("*.pt"))) == 2


def test_another_run_starts_anew(tmp_path: Path) -> None:
    Checkpoints(tmp_path / "state", "one").save(5, {"x": 1})
    assert Checkpoints(tmp_path / "state", "two").latest() is None


def test_a_half_written_state_is_passed_over(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "state", "run")
    checkpoints.save(5, {"x": torch.ones(1000)})
    checkpoints.save(10, {"x": torch.ones(1000)})
    newest = tmp_path / "state" / "step-000010.pt"
    newest.write_bytes(newest.read_bytes()[:500])
    assert (checkpoints.latest() or (0,))[0] == 5


class Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.target,)


def test_a_checkpoint_cannot_run_code(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "state", "run")
    torch.save({"x": Bomb(tmp_path / "exploded")}, tmp_path / "state" / "step-000005.pt")
    assert checkpoints.latest() is None
    assert not (tmp_path / "exploded").exists()


def test_the_fingerprint_sees_settings_and_file_contents(tmp_path: Path) -> None:
    file = tmp_path / "weights.bin"
    file.write_bytes(b"one")
    before = fingerprint(OptimizerConfig(), file, "text", 1)
    assert before == fingerprint(OptimizerConfig(), file, "text", 1)
    assert before != fingerprint(OptimizerConfig(lr=2e-3), file, "text", 1)
    file.write_bytes(b"two")
    assert before != fingerprint(OptimizerConfig(), file, "text", 1)
