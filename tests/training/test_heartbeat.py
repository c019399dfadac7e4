"""A worker that hangs, or never starts, is named with the place."""

import subprocess
import sys
import textwrap
import time
from pathlib import Path

from simpleseg_core.training.heartbeat import heartbeat, watching


def worker(work: Path, rank: int, patience: float, body: str) -> "subprocess.Popen[bytes]":
    program = f"""\
    import threading, time
    from pathlib import Path
    from simpleseg_core.training.heartbeat import heartbeat

    def sums_up_gradients():
        {body}

    def train():  # not in the main thread, as under Ray
        with heartbeat(Path({str(work)!r}), {rank}, {patience}) as beat:
            beat(7, "learning")
            sums_up_gradients()

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    """
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)])


def test_a_worker_that_hangs_ends_and_is_named_with_the_place(tmp_path: Path) -> None:
    said: list[str] = []
    with watching("sft", tmp_path, 2, 1.0, said.append):
        hung, well = worker(tmp_path, 1, 1.0, "time.sleep(600)"), worker(tmp_path, 0, 60.0, "pass")
        assert hung.wait(60) != 0, "it counts as lost"
        assert well.wait(60) == 0
        end = time.monotonic() + 30
        while not any("worker 2" in each for each in said) and time.monotonic() < end:
            time.sleep(0.05)
    [told] = [each for each in said if "worker 2 of 2 has hung" in each]
    assert "step 7, learning, at File" in told and "in sums_up_gradients" in told and "sft.stall_s" in told
    assert not any("worker 1 of 2 has hung" in each for each in said)


def test_a_worker_that_never_starts_is_named_once(tmp_path: Path) -> None:
    said: list[str] = []
    with watching("sft", tmp_path, 2, 0.2, said.append):
        time.sleep(1)
    assert len(said) == 2
    assert "worker 1 of 2 has not started" in said[0] and "lower sft.workers" in said[0]


def test_signs_of_another_run_are_forgotten(tmp_path: Path) -> None:
    with heartbeat(tmp_path, 3, 60.0) as beat:
        beat(1, "learning")
    assert (tmp_path / "heartbeats" / "3.json").exists()
    with watching("sft", tmp_path, 1, 60.0, lambda text: None):
        assert not list((tmp_path / "heartbeats").iterdir())
