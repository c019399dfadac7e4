"""Training state: whole, checked, private to one run, and harmless to read; written by all workers."""

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch.distributed.tensor import Shard, distribute_tensor, init_device_mesh

from simpleseg_core.files import write_json
from simpleseg_core.fingerprint import file_sum
from simpleseg_core.training.checkpoint import Checkpoints

STEPS = (5, 10, 15, 20)


def saved(folder: Path, fingerprint: str = "run") -> list[Path]:
    """Folders of four states of a run, whose every value is the step."""
    checkpoints = Checkpoints(folder, fingerprint, keep=len(STEPS))
    for step in STEPS:
        checkpoints.save(step, {"x": torch.full((40,), float(step)), "count": torch.tensor(step)}, cursor=step)
    checkpoints.wait()
    return sorted(folder.rglob("step-*"))


def read(checkpoints: Checkpoints, shape: tuple[int, ...] = (40,)) -> tuple[int, list[float], int] | None:
    """Step, tensor and value of the newest state."""
    latest = checkpoints.latest()
    if not latest:
        return None
    x = torch.full(shape, -1.0)
    checkpoints.load(latest[0], {"x": x})
    return latest[0], x.tolist(), latest[1]["cursor"]


def test_the_newest_state_comes_back_and_old_ones_go(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, "run", keep=2)
    for step in STEPS:
        checkpoints.save(step, {"x": torch.full((2,), float(step))}, cursor=step)
    checkpoints.wait()
    assert read(Checkpoints(tmp_path, "run"), (2,)) == (20, [20, 20], 20)
    assert sorted(path.name for path in tmp_path.rglob("step-*")) == ["step-000015", "step-000020"]


def test_what_a_state_holds_is_what_was_there_when_it_was_saved(tmp_path: Path) -> None:
    """It is written while the next steps change the weights, those of every size and type, one number too."""
    tensors = {"x": torch.zeros(1_000_000), "half": torch.zeros(3, dtype=torch.bfloat16), "step": torch.tensor(0.0)}
    checkpoints = Checkpoints(tmp_path, "run")
    checkpoints.save(1, tensors)
    for tensor in tensors.values():
        tensor.add_(1)
    into = {name: tensor + 6 for name, tensor in tensors.items()}
    checkpoints.wait()
    checkpoints.load(1, into)
    assert [float(tensor.abs().max()) for tensor in into.values()] == [0, 0, 0]


def test_a_state_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "states", "run")
    (tmp_path / "states").write_text("not a folder")
    checkpoints.save(1, {"x": torch.zeros(2)})
    with pytest.raises(OSError, match=f"{tmp_path}/states/run: the state of the training could not be written"):
        checkpoints.save(2, {"x": torch.zeros(2)})


def test_what_a_killed_process_has_left_is_no_part_of_a_state(tmp_path: Path) -> None:
    [*_, newest] = saved(tmp_path)
    left = newest.with_name("step-000025.partial")
    shutil.copytree(newest, left)
    (left / "shard-00007-model-00001-of-00001.safetensors").write_bytes(b"of a larger team")
    checkpoints = Checkpoints(tmp_path, "run")
    assert read(checkpoints) == (20, [20.0] * 40, 20)
    checkpoints.save(25, {"x": torch.full((40,), 25.0)}, cursor=25)
    assert read(checkpoints) == (25, [25.0] * 40, 25)


def in_shares(rank: int, folder: Path, rendezvous: Path, save: bool) -> None:
    """Three workers write or read the same rows, of which the last has none or fewer."""
    dist.init_process_group("gloo", f"file://{rendezvous}", rank=rank, world_size=3)
    mesh = init_device_mesh("cpu", (3,))
    rows = torch.arange(8.0).reshape(4, 2)
    checkpoints = Checkpoints(folder, "run")
    if save:
        checkpoints.save(7, {"x": distribute_tensor(rows, mesh, [Shard(0)]), "n": torch.tensor(3.0)}, cursor=1)
        checkpoints.wait()
    else:
        latest = checkpoints.latest()
        x = distribute_tensor(torch.zeros(4, 2), mesh, [Shard(0)])
        assert latest == (9, {"cursor": 2})
        checkpoints.load(9, {"x": x})
        assert torch.equal(x.full_tensor(), rows)
    dist.destroy_process_group()


def test_any_number_of_workers_reads_what_any_other_has_written(tmp_path: Path) -> None:
    spawn = torch.multiprocessing.spawn
    spawn(in_shares, (tmp_path / "states", tmp_path / "first", True), nprocs=3)
    [state] = (tmp_path / "states").rglob("step-*")
    shares = sorted(state.glob("*.safetensors"))
    assert len(shares) > 1, "each writes its own"
    alone = Checkpoints(tmp_path / "states", "run")
    x, n = torch.zeros(4, 2), torch.zeros(())
    assert alone.latest() == (7, {"cursor": 1})
    alone.load(7, {"x": x, "n": n})
    assert torch.equal(x, torch.arange(8.0).reshape(4, 2)) and n == 3
    alone.save(9, {"x": x}, cursor=2)
    alone.wait()
    spawn(in_shares, (tmp_path / "states", tmp_path / "second", False), nprocs=3)
    os.truncate(shares[-1], 10)
    shutil.rmtree(state.with_name("step-000009"))
    assert Checkpoints(tmp_path / "states", "run", say=lambda line: None).latest() is None, "one share is damaged"


def test_states_of_other_settings_stay_and_are_named(tmp_path: Path) -> None:
    saved(tmp_path, "one")
    said: list[str] = []
    other = Checkpoints(tmp_path, "two", say=said.append)
    assert other.latest() is None
    assert len(said) == 1 and str(tmp_path / "one") in said[0]
    other.save(1, {"x": torch.zeros(1)})
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
    """The file of another step."""
    file.write_bytes((draw.choice(others) / file.name).read_bytes())


def swap_all(file: Path, draw: random.Random, others: list[Path]) -> None:
    """The whole state of another step: undamaged, but not what its name says."""
    shutil.rmtree(file.parent)
    shutil.copytree(draw.choice(others), file.parent)


FAULTS = (flip, flip, truncate, empty, remove, swap_alone, swap_all)


def damage(folders: list[Path], draw: random.Random) -> set[int]:
    """Do a fault to a file of some states; returns the steps that are left."""
    hit = set(draw.sample(range(len(folders)), draw.randint(1, len(folders))))
    whole = [folder for index, folder in enumerate(folders) if index not in hit]
    for index in hit:
        fault: Callable[[Path, random.Random, list[Path]], None] = draw.choice(FAULTS if whole else FAULTS[:5])
        fault(draw.choice(sorted(folders[index].iterdir())), draw, whole)
    return {STEPS[index] for index in range(len(folders)) if index not in hit}


@pytest.fixture(scope="module")
def undamaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undamaged")
    saved(folder)
    return folder


@pytest.mark.parametrize("seed", range(200))
def test_damage_of_any_kind_never_loads_and_never_raises(undamaged: Path, tmp_path: Path, seed: int) -> None:
    shutil.copytree(undamaged, tmp_path, dirs_exist_ok=True)
    left = damage(sorted(tmp_path.rglob("step-*")), random.Random(seed))
    said: list[str] = []
    found = read(Checkpoints(tmp_path, "run", say=said.append))
    step = max(left, default=None)
    assert found == (step and (step, [float(step)] * 40, step))
    aside = list(tmp_path.rglob("*.damaged"))
    assert len(said) >= len(aside) and all(any(str(file) in line for line in said) for file in aside)


def test_damaged_states_take_no_place_of_good_ones(tmp_path: Path) -> None:
    """A run that fell back keeps what it saves from then on, although the damaged ones were further."""
    damaged = saved(tmp_path)[1:]
    for folder in damaged:
        (folder / "state.json").write_bytes(b"cut short")
    checkpoints = Checkpoints(tmp_path, "run", keep=2)
    assert (checkpoints.latest() or (0,))[0] == 5
    assert all((folder.with_name(f"{folder.name}.damaged") / "state.json").is_file() for folder in damaged)
    for step in (6, 7):
        checkpoints.save(step, {"x": torch.zeros(1)})
    assert (checkpoints.latest() or (0,))[0] == 7


class Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.target,)


def test_a_checkpoint_cannot_run_code(tmp_path: Path) -> None:
    """Not even one whose checksums are right."""
    [*_, newest] = saved(tmp_path / "states")
    [share] = newest.glob("*.safetensors")
    torch.save({"x": Bomb(tmp_path / "exploded")}, share)
    told = json.loads((newest / "state.json").read_text())
    write_json(newest / "state.json", {**told, "files": {share.name: file_sum(share)}})
    (newest / "state.json.sha256").write_text(f"{file_sum(newest / 'state.json')}  state.json\n")
    checkpoints = Checkpoints(tmp_path / "states", "run")
    assert (checkpoints.latest() or (0,))[0] == 20
    with pytest.raises(ValueError, match="could not be read"):
        checkpoints.load(20, {"x": torch.zeros(40)})
    assert not (tmp_path / "exploded").exists()
