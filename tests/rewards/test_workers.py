"""Worker processes: whatever an item does, it costs nobody else a result."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator

import pytest

from simpleseg_core.rewards._workers import Workers


def work(item: str) -> str:
    match item:
        case "hang":
            while True:
                pass
        case "die":
            os._exit(3)
        case "fail":
            raise ValueError(item)
    return item.upper()


def build() -> Callable[[str], str]:
    return work


def broken() -> Callable[[str], str]:
    raise ImportError("no such library")


@pytest.fixture
def workers() -> Iterator[Workers]:
    pool = Workers(build, 2, timeout_s=0.5)
    yield pool
    pool.close()


def test_each_item_has_its_own_result(workers: Workers) -> None:
    items = ["a", "hang", "b", "die", "c", "fail", "d", "hang", "e"]
    found = workers.map(items)
    assert found[::2] == ["A", "B", "C", "D", "E"]
    assert [failure.reason for failure in found[1::2]] == [
        "took longer than 0.5 s", "ended its process", "ValueError('fail')", "took longer than 0.5 s",
    ]  # fmt: skip
    assert workers.replaced == 3
    assert workers.map(["f"]) == ["F"]


def test_no_item_is_no_work(workers: Workers) -> None:
    assert workers.map([]) == []


def test_a_process_killed_between_two_batches_is_replaced(workers: Workers) -> None:
    others = set(multiprocessing.active_children())
    workers.map(["a"])
    (process,) = set(multiprocessing.active_children()) - others
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join(5)
    assert workers.map(["b", "c"]) == ["B", "C"]
    assert workers.replaced == 1


def test_a_function_that_cannot_be_made_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="does not start"):
        Workers(broken, 1, timeout_s=0.5).map(["a"])
