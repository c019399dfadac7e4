"""The journal: what a stage reports arrives whole and in order, from any process."""

import pickle
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from simpleseg_core.journal import Journal


def _report(journal: Journal, worker: int) -> None:
    for step in range(200):
        journal.metrics({f"loss_{worker}": step / 2}, step)


def test_events_come_back_in_order_and_in_batches(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    assert list(journal.read()) == []
    assert journal.last_step() == 0
    for step in range(7):
        journal.metrics({"loss": np.float32(step)}, step)
    first = list(journal.read(limit=4))
    rest = list(journal.read(first[-1][0]))
    assert [event["step"] for _, event in first + rest] == list(range(7))
    assert journal.last_step() == 6


def test_processes_that_write_at_once_do_not_mix_their_lines(tmp_path: Path) -> None:
    journal = pickle.loads(pickle.dumps(Journal(tmp_path)))
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        for future in [pool.submit(_report, journal, worker) for worker in range(2)]:
            future.result()
    events = [event for _, event in journal.read(limit=1000)]
    assert len(events) == 400
    for worker in range(2):
        steps = [event["step"] for event in events if f"loss_{worker}" in event["metrics"]]
        assert steps == list(range(200))


def test_half_a_line_is_left_for_later(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.metrics({"loss": 1.0}, 1)
    with journal.events.open("a") as lines:
        lines.write('{"time_ms": 1, "step"')
    assert [event["step"] for _, event in journal.read()] == [1]


def test_pictures_are_kept_as_files(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    picture = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    journal.image("probe/0", picture, 5)
    [(_, event)] = journal.read()
    assert (event["image"], event["step"]) == ("probe/0", 5)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "images" / event["file"])), picture)


@given(damage=st.binary(min_size=1, max_size=40), at=st.integers(0, 3))
def test_whatever_stands_in_the_file_the_rest_is_read_and_written_on(damage: bytes, at: int) -> None:
    with TemporaryDirectory() as folder:
        journal = Journal(Path(folder))
        for step in range(at):
            journal.metrics({"loss": 1.0}, step)
        with journal.events.open("ab") as lines:
            lines.write(b"{" + damage)
        for step in range(at, 4):
            journal.metrics({"loss": 1.0}, step)
        read = [event["step"] for _, event in journal.read() if "metrics" in event]
        assert read == [0, 1, 2, 3]
        assert journal.last_step() == 3


@pytest.mark.parametrize(
    "line",
    [
        '{"step": "1", "metrics": {"loss": 1.0}}', '{"metrics": {"loss": 1.0}}', '{"step": 1, "metrics": [1]}',
        '{"step": 1, "metrics": {"loss": "x"}}', '{"step": null}', '{"image": "probe", "step": 1}', '{"begin": 1}',
        '{"run": "sft"}', '{"end": "FINISHED"}', '{"tags": 1}', '{"text": "a"}', '{"note": {}}', "[1]", "1", "null",
        "[" * 100_000,
    ],
)  # fmt: skip
def test_a_line_that_is_no_event_of_ours_is_left_out(
    tmp_path: Path, line: str, caplog: pytest.LogCaptureFixture
) -> None:
    journal = Journal(tmp_path)
    journal.metrics({"loss": 1.0}, 1)
    with journal.events.open("a") as lines:
        lines.write(f"{line}\n")
    journal.metrics({"loss": 1.0}, 2)
    assert [event["step"] for _, event in journal.read()] == [1, 2] and journal.last_step() == 2
    assert "left out (1," in caplog.text


@given(data=st.data())
def test_no_damage_of_the_bytes_makes_a_reader_fail(data: st.DataObject) -> None:
    """Bits that flip anywhere, parts that are missing, and lines that merge: what is read has its form."""
    with TemporaryDirectory() as folder:
        journal = Journal(Path(folder))
        journal.begin(0, 2, "sft")
        for step in range(3):
            journal.metrics({"loss": 0.5}, step)
        journal.append({"step": 2, "image": "probe", "file": "a.png"})
        body = bytearray(journal.events.read_bytes())
        for place in data.draw(st.lists(st.integers(0, len(body) - 1), min_size=1, max_size=5)):
            body[place] ^= 1 << data.draw(st.integers(0, 7))
        start, end = sorted(data.draw(st.tuples(st.integers(0, len(body)), st.integers(0, len(body)))))
        journal.events.write_bytes(body[:start] + body[end:] if data.draw(st.booleans()) else body)
        journal.metrics({"loss": 0.25}, 9)
        read = [event for _, event in journal.read()]
        assert read[-1]["metrics"] == {"loss": 0.25}
        for event in read:
            assert {name: type(event[name]) for name in ("step", "metrics", "file") if name in event}.items() <= {
                ("step", int), ("metrics", dict), ("file", str)
            }  # fmt: skip


_FULL = """
import resource, signal, sys
from pathlib import Path
from tempfile import TemporaryDirectory
from simpleseg_core.journal import Journal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
journal = Journal(Path(sys.argv[1]))
journal.metrics({"loss": 1.0}, 1)
size = journal.events.stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, resource.RLIM_INFINITY))
try:
    journal.metrics({"loss": 1.0}, 2)
except OSError as error:
    print(error.filename, error.strerror)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
journal.metrics({"loss": 1.0}, 3)
"""


def test_a_line_that_the_disk_takes_half_is_an_error_and_harms_no_other(
    tmp_path: Path, repository: Path, caplog: pytest.LogCaptureFixture
) -> None:
    command = [sys.executable, "-c", _FULL, str(tmp_path)]
    said = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=True).stdout
    assert said.startswith(f"{tmp_path / 'events.jsonl'} No space left")
    journal = Journal(tmp_path)
    assert [event["step"] for _, event in journal.read()] == [1, 3]
    assert [event["step"] for _, event in journal.read()] == [1, 3]
    [warning] = caplog.messages
    assert str(journal.events) in warning and "left out (1," in warning
