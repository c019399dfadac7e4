"""The spool: what a stage reports arrives whole and in order, from any process."""

import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image

from tasks.curves import Curves
from tasks.spool import Spool


def _report(spool: Spool, worker: int) -> None:
    for step in range(200):
        spool.metrics({f"loss_{worker}": step / 2}, step)


def test_events_come_back_in_order_and_in_batches(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    assert list(spool.read()) == []
    assert spool.last_step() == 0
    for step in range(7):
        spool.metrics({"loss": np.float32(step)}, step)
    first = list(spool.read(limit=4))
    rest = list(spool.read(first[-1][0]))
    assert [event["step"] for _, event in first + rest] == list(range(7))
    assert spool.last_step() == 6


def test_processes_that_write_at_once_do_not_mix_their_lines(tmp_path: Path) -> None:
    spool = pickle.loads(pickle.dumps(Spool(tmp_path)))
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        for future in [pool.submit(_report, spool, worker) for worker in range(2)]:
            future.result()
    events = [event for _, event in spool.read(limit=1000)]
    assert len(events) == 400
    for worker in range(2):
        steps = [event["step"] for event in events if f"loss_{worker}" in event["metrics"]]
        assert steps == list(range(200))


def test_half_a_line_is_left_for_later(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.metrics({"loss": 1.0}, 1)
    with spool.events.open("a") as lines:
        lines.write('{"time_ms": 1, "step"')
    assert [event["step"] for _, event in spool.read()] == [1]


def test_pictures_are_kept_as_files(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    picture = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    spool.image("probe/0", picture, 5)
    [(_, event)] = spool.read()
    assert (event["image"], event["step"]) == ("probe/0", 5)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "images" / event["file"])), picture)


def test_curves_are_one_row_a_step_and_later_values_win(tmp_path: Path) -> None:
    curves = Curves(tmp_path / "curves" / "sft.csv")
    curves.write()
    assert curves.file.read_text() == "step\n"
    curves.add(2, {"loss": 0.5})
    curves.add(1, {"loss": 1.0, "lr": 0.001})
    curves.add(2, {"loss": 0.25, "iou": 0.5})  # again, after a crash
    curves.write()
    assert curves.file.read_text() == "step,loss,lr,iou\n1,1,0.001,\n2,0.25,,0.5\n"
