"""Training state: whole, checked, private to one run, and harmless to read."""

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from simpleseg_core.training.checkpoint import Checkpoints

STEPS = (5, 10, 15, 20)


def saved(folder: Path, fingerprint: str = "run") -> list[Path]:
    """Files of four states of a run, whose every value is the step."""
    checkpoints = Checkpoints(folder, fingerprint, keep=len(STEPS))
    for step in STEPS:
        checkpoints.save(step, {"x": torch.full((40,), float(step)), "cursor": step})
    return sorted(folder.rglob("step-*.pt"))


def test_the_newest_state_comes_back_and_old_ones_go(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, "run", keep=2)
    for step in STEPS:
        checkpoints.save(step, {"x": torch.full((2,), step)})
    step, state = Checkpoints(tmp_path, "run").latest() or (0, {})
    assert step == 20 and state["x"].tolist() == [20, 20]
    assert [file.name for file in sorted(tmp_path.rglob("*.*"))] == [
        f"step-0000{step}.pt{ending}" for step in (15, 20) for ending in ("", ".sha256")
    ]


def test_states_of_other_settings_stay_and_are_named(tmp_path: Path) -> None:
    saved(tmp_path, "one")
    said: list[str] = []
    other = Checkpoints(tmp_path, "two", say=said.append)
    assert other.latest() is None
    assert len(said) == 1 and str(tmp_path / "one") in said[0]
    other.save(1, {})
    other.clear()
    assert (Checkpoints(tmp_path, "one").latest() or (0,))[0] == 20, "going back to the settings goes on"


def flip(file: Path, draw: random.Random, others: list[Path]) -> None:
    body = bytearray(file.read_bytes())
    body[draw.randrange(len(body))] ^= 1 << draw.randrange(8)
    file.write_bytes(body)


def truncate(file: Path, draw: random.Random, others: list[Path]) -> None:
    os.truncate(file, draw.randrange(file.stat().st_size))


def empty(file: Path, draw: random.Random, others: list[Path]) -> None:
    file.write_bytes(b"")


def remove(file: Path, draw: random.Random, others: list[Path]) -> None:
    file.unlink()


def swap_alone(file: Path, draw: random.Random, others: list[Path]) -> None:
    """The state of another step, under a checksum that is not its own."""
    file.write_bytes(draw.choice(others).read_bytes())


def swap_with_its_checksum(file: Path, draw: random.Random, others: list[Path]) -> None:
    """The state of another step, with its checksum: undamaged, but not what its name says."""
    other = draw.choice(others)
    for ending in ("", ".sha256"):
        file.with_name(file.name + ending).write_bytes(other.with_name(other.name + ending).read_bytes())


FAULTS = (flip, flip, truncate, empty, remove, swap_alone, swap_with_its_checksum)


def damage(files: list[Path], draw: random.Random) -> set[int]:
    """Do a fault to some states or to their checksums; returns the steps that are left."""
    hit = set(draw.sample(range(len(files)), draw.randint(1, len(files))))
    whole = [file for index, file in enumerate(files) if index not in hit]
    for index in hit:
        fault: Callable[[Path, random.Random, list[Path]], None] = draw.choice(FAULTS if whole else FAULTS[:5])
        beside = fault in (flip, truncate, empty, remove) and draw.random() < 0.3
        fault(files[index].with_name(f"{files[index].name}.sha256") if beside else files[index], draw, whole)
    return {STEPS[index] for index in range(len(files)) if index not in hit}


@pytest.fixture(scope="module")
def undamaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undamaged")
    saved(folder)
    return folder


@pytest.mark.parametrize("seed", range(200))
def test_damage_of_any_kind_never_loads_and_never_raises(undamaged: Path, tmp_path: Path, seed: int) -> None:
    shutil.copytree(undamaged, tmp_path, dirs_exist_ok=True)
    left = damage(sorted(tmp_path.rglob("step-*.pt")), random.Random(seed))
    said: list[str] = []
    found = Checkpoints(tmp_path, "run", say=said.append).latest()
    assert (found[0] if found else None) == max(left, default=None)
    if found:
        assert found[1]["x"].tolist() == [float(found[0])] * 40 and found[1]["cursor"] == found[0]
    aside = list(tmp_path.rglob("*.damaged"))
    assert len(said) >= len(aside) and all(any(str(file) in line for line in said) for file in aside)


def test_damaged_states_take_no_place_of_good_ones(tmp_path: Path) -> None:
    """A run that fell back keeps what it saves from then on, although the damaged ones were further."""
    damaged = saved(tmp_path)[1:]
    for file in damaged:
        file.write_bytes(b"cut short")
    checkpoints = Checkpoints(tmp_path, "run", keep=2)
    assert (checkpoints.latest() or (0,))[0] == 5
    assert [Path(f"{file}.damaged").read_bytes() for file in damaged] == [b"cut short"] * len(damaged)
    for step in (6, 7):
        checkpoints.save(step, {"x": step})
    assert (checkpoints.latest() or (0,))[0] == 7


class Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.target,)


def test_a_checkpoint_cannot_run_code(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "state", "run")
    checkpoints.save(5, {"x": Bomb(tmp_path / "exploded")})
    assert checkpoints.latest() is None
    assert not (tmp_path / "exploded").exists()
