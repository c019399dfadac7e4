"""Shards of the annotation stages: whoever does the parts, in whatever order, killed or not, the files are the same."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simpleseg_core.config import Config
from simpleseg_core.contract import Context
from simpleseg_core.data.records import BOXES, INGEST, read_rows, write_table
from simpleseg_core.data.shards import ImageStore
from simpleseg_core.ray_session import RaySession
from tasks.shards import parts
from tasks.shards.on_ray import _fitting
from tasks.shards.parts import DonePart, ImageResult, Loaded, Part, Row, Step, finish, load, split
from tasks.shards.shard_map import PROVENANCE, Run, ShardMap, run_here, shard_failures
from tasks.shards.speed import Speed
from tests.tasks.annotation_inputs import CHAIN, run_stage, write_refshapes

ROLES = ("boxes", "masks", "polygons", "descriptions")


def tables(root: Path, *roles: str) -> dict[str, bytes]:
    """The files of some folders of `data`, by name."""
    return {f"{role}/{path.name}": path.read_bytes() for role in roles for path in (root / "data" / role).iterdir()}


def link_inputs(source: Path, root: Path, *roles: str) -> Path:
    """A new pipeline folder that shares some folders of `data` with another."""
    (root / "data").mkdir(parents=True)
    for role in roles:
        (root / "data" / role).symlink_to(source / "data" / role)
    return root


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All stages, run once."""
    root = tmp_path_factory.mktemp("whole")
    write_refshapes(root / "data" / "images", shards=3, per_shard=3)
    for name in CHAIN:
        run_stage(name, root, Config())
    return root


_KILLED = """
import os, signal, sys
from pathlib import Path
from simpleseg_core.config import Config
from tests.tasks.annotation_inputs import run_stage

def die_with_half_a_table(partial, target):
    if target.name == "00001.parquet":
        os.truncate(partial, 100)
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(partial, target)

replace, Path.replace = Path.replace, die_with_half_a_table
run_stage(sys.argv[1], Path(sys.argv[2]), Config())
"""


@pytest.mark.parametrize("name", CHAIN)
def test_a_stage_killed_in_the_middle_of_a_table_ends_with_the_same_files(
    name: str, whole: Path, tmp_path: Path, repository: Path
) -> None:
    role = ROLES[CHAIN.index(name)]
    root = link_inputs(whole, tmp_path / "root", "images", *ROLES[: ROLES.index(role)])
    killed = subprocess.run([sys.executable, "-c", _KILLED, name, str(root)], cwd=repository, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert sorted(path.name for path in (root / "data" / role).iterdir()) == ["00000.parquet", "00001.parquet.tmp"]
    first = (root / "data" / role / "00000.parquet").stat().st_mtime_ns
    run_stage(name, root, Config())
    assert tables(root, role) == tables(whole, role)
    assert (root / "data" / role / "00000.parquet").stat().st_mtime_ns == first


@pytest.mark.slow
def test_ray_workers_write_the_same_files(whole: Path, tmp_path: Path) -> None:
    root = link_inputs(whole, tmp_path / "root", "images", "boxes")
    result = run_stage("segment", root, Config.model_validate({"segment": {"runner": "ray", "workers": 2}}))
    assert tables(root, "masks") == tables(whole, "masks")
    assert result.metrics["images_per_second"] > 0
    assert 0 < result.metrics["device_share"] <= 1


@pytest.mark.parametrize(
    ("cpus", "gpus", "on_gpu", "engines"), [(2, 0, 0, 1), (8, 0, 0, 4), (8, 2, 1, 2), (8, 2, 0, 4), (4, 8, 1, 3)]
)
def test_engines_leave_room_for_what_loads_images(cpus: float, gpus: float, on_gpu: int, engines: int) -> None:
    assert _fitting(4, RaySession(cpus, gpus), on_gpu) == engines


def test_a_broken_image_costs_its_own_rows_and_is_counted(whole: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    write_refshapes(root / "data" / "images", shards=3, per_shard=3)
    tar = root / "data" / "images" / "00001.tar"
    bytes_ = ImageStore(root / "data").read_bytes("images/00001.tar", "00000004")
    tar.write_bytes(tar.read_bytes().replace(bytes_, bytes(len(bytes_))))
    result = run_stage("detect", root, Config())
    assert result.tables["left_out"] == [{"reason": "unreadable", "images": 1}]
    assert result.metrics["images"] == 9
    expected = [row for row in read_rows(whole / "data" / "boxes", BOXES) if row["image"] != "00000004"]
    assert read_rows(root / "data" / "boxes", BOXES) == expected


def test_annotations_that_make_no_sense_cost_their_own_image_only(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write_refshapes(root / "data" / "images", shards=1, per_shard=3)
    table = root / "data" / "images" / "00000.parquet"
    rows = read_rows(table, INGEST)
    given = json.dumps([{"phrase": "thing", "box": [0.1, 0.1, 0.5, 0.5]}])
    write_table(
        [row | {"annotations": text} for row, text in zip(rows, (given, "{", "", ""), strict=True)], INGEST, table
    )
    result = run_stage("detect", root, Config())
    assert result.tables["left_out"] == [{"reason": "failed", "images": 1}]
    boxes = read_rows(root / "data" / "boxes", BOXES)
    assert [row["detector"] for row in boxes if row["image"] == "00000000"] == ["annotations"]
    assert {row["detector"] for row in boxes if row["image"] == "00000002"} == {"embedded/shapes"}
    assert not [row for row in boxes if row["image"] == "00000001"]


class Doubler:
    """A step on rows that hold a number; it fails on negative ones."""

    def open(self) -> None: ...

    def close(self) -> None: ...

    def load(self, rows: Sequence[Row]) -> Loaded:
        return Loaded(rows)

    def apply(self, items: Sequence[Loaded]) -> list[ImageResult]:
        if any(item.rows[0]["number"] < 0 for item in items):
            raise ValueError("negative")
        return [([row | {"number": 2 * row["number"]} for row in item.rows], {"seen": 1}) for item in items]


NUMBERS = pa.schema([("image", pa.string()), ("number", pa.int64())])


def _numbers(folder: Path, *shards: Sequence[int]) -> ShardMap:
    for index, numbers in enumerate(shards):
        rows = [{"image": f"{index}-{place}", "number": number} for place, number in enumerate(numbers)]
        (folder / "in").mkdir(exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows, NUMBERS), folder / "in" / f"{index:05d}.parquet")
    return ShardMap(folder / "in", folder / "out", NUMBERS, NUMBERS, "mark", {"double": {"factor": 2}})


def _run(shards: ShardMap, folder: Path, run: Run = run_here, *, tolerant: bool = False) -> dict[str, float]:
    return dict(shards.run(Doubler(), run, Speed.resume(folder, "mark", 1.0), Context(folder, tolerant=tolerant)))


def test_an_image_that_the_engine_fails_on_does_not_take_its_batch_with_it(tmp_path: Path) -> None:
    shards = _numbers(tmp_path, [1, -2, 3])
    assert _run(shards, tmp_path) == {"images": 3, "failed": 1, "seen": 2}
    assert [row["number"] for row in read_rows(tmp_path / "out", NUMBERS)] == [2, 6]


def test_an_engine_that_fails_on_everything_stops_the_stage_with_its_own_words(tmp_path: Path) -> None:
    shards = _numbers(tmp_path, [1, 2], [-1, -2])
    with pytest.raises(
        RuntimeError, match=r"00001\.parquet: not one of 2 images could be used\. image 1-0: ValueError"
    ):
        _run(shards, tmp_path)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["00000.parquet"]


def test_so_does_one_that_fails_on_every_shard_of_one_image(tmp_path: Path) -> None:
    shards = _numbers(tmp_path, [-1], [-2])
    with pytest.raises(RuntimeError, match=r"in: not one of 2 images could be used\. image 0-0: ValueError"):
        _run(shards, tmp_path)


def test_where_shards_may_fail_the_others_are_done_and_the_failed_are_tried_again(tmp_path: Path) -> None:
    shards = _numbers(tmp_path, [-1, -2], [1, -2], [-3])
    assert _run(shards, tmp_path, tolerant=True) == {"images": 5, "failed": 4, "seen": 1}
    assert [row["number"] for row in read_rows(tmp_path / "out", NUMBERS)] == [2]
    images = [
        failure.image for number in range(3) for failure in shard_failures(tmp_path / f"out/{number:05d}.parquet")
    ]
    assert images == ["0-0", "0-1", "1-1", "2-0"]
    todo: list[str] = []

    def watched(step: Step, paths: Sequence[Path], schema: pa.Schema) -> Iterator[DonePart]:
        todo.extend(path.name for path in paths)
        yield from run_here(step, paths, schema)

    _run(shards, tmp_path, watched, tolerant=True)
    assert todo == ["00000.parquet"]


def test_where_all_of_several_shards_fail_the_reason_is_told_each_time(tmp_path: Path) -> None:
    shards = _numbers(tmp_path, [-1, -2], [-3])
    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"in: not one of 3 images could be used\. image 0-0: ValueError"):
            _run(shards, tmp_path, tolerant=True)


def test_neither_the_order_of_shards_nor_that_of_their_parts_matters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "_IMAGES", 2)
    numbers = [range(7), range(0), range(5), range(1)]

    def backwards(step: Step, todo: Sequence[Path], schema: pa.Schema) -> Iterator[DonePart]:
        parts: list[Part] = [part for path in todo for part in split(path, read_rows(path, schema))]
        assert len(parts) == 4 + 1 + 3 + 1
        yield from (finish(step, load(step, part)) for part in reversed(parts))

    written = []
    for name, run in (("forwards", run_here), ("backwards", backwards)):
        (tmp_path / name).mkdir()
        _run(_numbers(tmp_path / name, *numbers), tmp_path / name, run)
        written.append({path.name: path.read_bytes() for path in (tmp_path / name / "out").iterdir()})
    assert written[0] == written[1]


def test_a_shard_says_how_it_was_made_and_hands_on_what_it_was_made_from(whole: Path) -> None:
    metadata = pq.read_schema(whole / "data" / "descriptions" / "00000.parquet").metadata
    made = json.loads(metadata[PROVENANCE])
    assert list(made) == sorted(CHAIN)
    assert made["detect"]["settings"]["box_threshold"] == 0.35
    assert "torch" in made["segment"]["versions"]
    assert "workers" not in made["contour"]["settings"]


def test_speed_goes_on_where_a_killed_run_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 10.0, 100.0, 110.0, 200.0, 300.0])
    monkeypatch.setattr("tasks.shards.speed.time.monotonic", lambda: next(clock))
    part = DonePart("0.parquet", 0, 1, [{}, {}], {"images": 4}, [], 5.0, "here")
    first = Speed.resume(tmp_path, "one", 3.6)
    assert first.metrics() == {}
    first.add([part])
    again = Speed.resume(tmp_path, "one", 3.6)
    again.add([part, replace(part, engine="there")])
    assert again.images == 12
    assert again.metrics() == {
        "images_per_second": 12 / 20,
        "instances_per_second": 6 / 20,
        "device_share": 15 / 30,  # one engine for ten seconds, then two
        "cost_per_million_images": pytest.approx(1e6 * 30 / 12 / 3600 * 3.6),
    }
    assert Speed.resume(tmp_path, "another", 3.6).metrics() == {}
