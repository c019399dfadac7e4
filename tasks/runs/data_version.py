"""DVC: what is out of date and why, one stage brought up to date, and the locks that a killed run leaves."""

import contextlib
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from simpleseg_core.config.files import changes, read_yaml
from simpleseg_core.files import read_state
from simpleseg_core.names import did_you_mean
from tasks.runs.processes import is_alive, own_environment, stop_tree
from tasks.runs.workspace import Workspace

_CHATTER = (
    "To track the changes with git",
    "\tgit add",
    "To enable auto staging",
    "\tdvc config core.autostage",
    "Use `dvc push`",
)
_NEW = "it has not run yet"
_TAIL = 40
_LOCK_PATIENCE_S = 15.0

Lines = Callable[[str], None]


class Outcome(StrEnum):
    """What DVC did with a stage."""

    RAN = "ran"
    UNCHANGED = "unchanged"
    """Nothing it depends on has changed."""
    RESTORED = "restored"
    """It has run before with the same inputs and settings; DVC checked the outputs out."""


_STOPPED = {128 + signal.SIGINT, 128 + signal.SIGTERM, -signal.SIGINT, -signal.SIGTERM}
_KILLED = {128 + signal.SIGKILL, -signal.SIGKILL}


class DvcError(RuntimeError):
    """DVC itself could not do what was asked."""


class StageFailedError(RuntimeError):
    """The command of a stage ended with an error."""

    def __init__(self, stage: str, exit_code: int, tail: list[str]) -> None:
        super().__init__(f"stage {stage} failed with exit code {exit_code}")
        self.stage, self.exit_code, self.tail = stage, exit_code, tail

    @property
    def stopped(self) -> bool:
        """Whether a person ended it, by Ctrl-C or SIGTERM, and not a fault."""
        return self.exit_code in _STOPPED

    @property
    def killed(self) -> bool:
        """Whether the system ended it, as it does where memory runs out."""
        return self.exit_code in _KILLED


@dataclass(frozen=True, slots=True)
class Graph:
    """The stages of dvc.yaml in an order in which they can run, each with the stages it reads from."""

    upstream: Mapping[str, tuple[str, ...]]
    paths: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    """(reader, maker) -> what the one reads of the other's."""

    def between(self, first: str | None, last: str | None) -> list[str]:
        """The stages from `first` up to `last` along the arrows, both included; all of them without bounds.

        Raises:
            ValueError: no such stage, or no arrow leads from the one to the other.
        """
        for name in (first, last):
            if name is not None and name not in self.upstream:
                raise ValueError(
                    f"no stage {name!r}{did_you_mean(name, self.upstream)}: choose one of {', '.join(self.upstream)}"
                )
        after = self._after(first) if first else set(self.upstream)
        before = self._before(last) if last else set(self.upstream)
        if not after & before:
            raise ValueError(f"nothing leads from {first} to {last}: {first} comes later; swap them or drop one")
        return [name for name in self.upstream if name in after & before]

    def reads(self, reader: str, maker: str) -> tuple[str, ...]:
        """Paths that one stage makes and the other reads."""
        return self.paths.get((reader, maker), ())

    def _before(self, name: str) -> set[str]:
        return {name}.union(*(self._before(each) for each in self.upstream[name]))

    def _after(self, name: str) -> set[str]:
        found = {name}
        for each, reads in self.upstream.items():
            if found.intersection(reads):
                found.add(each)
        return found


def read_graph(workspace: Workspace) -> Graph:
    """The graph in dvc.yaml."""
    stages: dict[str, Any] = read_yaml(workspace.dvc_yaml)["stages"]
    makers = {path: name for name, stage in stages.items() for path in _paths(stage, "outs", "metrics", "plots")}
    paths: dict[tuple[str, str], tuple[str, ...]] = {}
    for name, stage in stages.items():
        for path in _paths(stage, "deps"):
            if maker := makers.get(path):
                paths[name, maker] = (*paths.get((name, maker), ()), path)
    waiting = {name: tuple(maker for reader, maker in paths if reader == name) for name in stages}
    ordered: dict[str, tuple[str, ...]] = {}
    while waiting:
        ready = next((name for name, reads in waiting.items() if ordered.keys() >= set(reads)), None)
        if ready is None:
            raise DvcError(f"{workspace.dvc_yaml}: the stages {', '.join(waiting)} wait for each other in a circle")
        ordered[ready] = waiting.pop(ready)
    return Graph(ordered, paths)


def dvc_status(workspace: Workspace) -> dict[str, list[str]]:
    """The stages that one `dvc status` finds out of date, each with the reasons; what follows them is not known yet."""
    try:
        result = _dvc(workspace, "status", "--json", timeout_s=600)
        status = json.loads(result.stdout.strip().splitlines()[-1])
    except (IndexError, json.JSONDecodeError):
        raise DvcError(f"`dvc status` failed: {result.stderr.strip() or result.stdout.strip()}") from None
    reasons = {name: list(_reasons(workspace, name, found)) for name, found in status.items()}
    return {name: [_NEW] if _NEW in found else found for name, found in reasons.items()}


def reproduce(
    workspace: Workspace, stage: str, environment: Mapping[str, str], on_line: Lines, *, force: bool = False
) -> Outcome:
    """Bring one stage up to date, passing on its output line by line.

    Raises:
        StageFailedError: its command failed; the last lines of its output are kept in `tail`.
    """
    # Both flags: with either missing, parallel runs fail; the lock's goes before `repro`.
    command = [*_dvc_command("--wait-for-lock", "repro", "-s", stage), *(["--force"] if force else [])]
    process = subprocess.Popen(
        command, cwd=workspace.root, env=own_environment(environment), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, errors="replace", bufsize=1,
    )  # fmt: skip
    outcome = Outcome.UNCHANGED
    tail: list[str] = []
    try:
        for line in _lines(process):
            outcome = _outcome(line, stage) or outcome
            tail = [*tail[1 - _TAIL :], line]
            on_line(line)
        exit_code = process.wait()
    except BaseException:
        stop_tree(process.pid)
        process.wait()
        raise
    if exit_code:
        raise StageFailedError(stage, _exit_code_of_stage(tail) or exit_code, tail)
    return outcome


def cure_stale_locks(workspace: Workspace) -> list[str]:
    """Remove what killed runs have left in DVC's lock file; returns what was removed.

    Raises:
        DvcError: a process that is alive holds a lock and does not let go of it.
    """
    file = workspace.dvc_tmp / "rwlock"
    if file.exists() and not _is_json(file):  # half written
        file.unlink(missing_ok=True)
        return ["an unreadable lock file"]
    locks = read_state(file)
    deadline = time.monotonic() + _LOCK_PATIENCE_S
    while (holders := _holders(locks)) and any(map(is_alive, holders)):
        if time.monotonic() > deadline:
            alive = [f"{pid} ({command})" for pid, command in holders.items() if is_alive(pid)]
            raise DvcError(f"DVC is busy here: process {', '.join(alive)} holds a lock; wait for it to end, or stop it")
        time.sleep(0.3)
        locks = read_state(file)
    if holders:
        file.unlink(missing_ok=True)
    return [f"a lock of process {pid} ({command}), which is gone" for pid, command in holders.items()]


def _dvc_command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "dvc", *arguments]


def _dvc(workspace: Workspace, *arguments: str, timeout_s: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        _dvc_command(*arguments), cwd=workspace.root, env=own_environment({}), capture_output=True, text=True,
        timeout=timeout_s, check=False,
    )  # fmt: skip


def _lines(process: "subprocess.Popen[str]") -> Iterator[str]:
    """Lines of output, without empty ones and DVC's advice about git."""
    for raw in process.stdout or ():
        line = raw.rstrip()
        if line and not line.startswith(_CHATTER):
            yield line


def _outcome(line: str, stage: str) -> Outcome | None:
    if line.startswith(f"Running stage '{stage}'"):
        return Outcome.RAN
    return Outcome.RESTORED if line.startswith(f"Stage '{stage}' is cached") else None


def _exit_code_of_stage(tail: list[str]) -> int | None:
    for line in reversed(tail):
        if found := re.search(r"failed to run: .*exited with (-?\d+)", line):
            return int(found.group(1))
    return None


def _reasons(workspace: Workspace, stage: str, found: list[Any]) -> Iterator[str]:
    for entry in found:
        if isinstance(entry, str):
            yield {"changed command": "its command changed", "always changed": "always runs"}.get(entry, entry)
            continue
        for path, state in entry.get("changed deps", {}).items():
            yield from _dependency_reasons(workspace, stage, path, state)
        if outs := entry.get("changed outs"):
            missing = [path for path, state in outs.items() if state == "deleted"]
            yield from ([f"missing: {', '.join(missing)}"] if missing else [])
            yield from (f"{path} was {state} by hand" for path, state in outs.items() if path not in missing)


def _dependency_reasons(workspace: Workspace, stage: str, path: str, state: object) -> Iterator[str]:
    if path != workspace.params.name:
        yield f"{path} is missing" if state == "deleted" else f"{path} changed"
    elif isinstance(state, str):
        yield _NEW
    else:
        yield from _changed_params(workspace, stage) or [f"{key} {how}" for key, how in dict(state).items()]  # type: ignore[call-overload]


def _changed_params(workspace: Workspace, stage: str) -> list[str]:
    """The values of params.yaml that differ from those the stage last ran with."""
    with contextlib.suppress(FileNotFoundError, YAMLError, KeyError):
        lock = YAML(typ="safe").load(workspace.dvc_lock.read_text(encoding="utf-8"))
        ran_with: dict[str, object] = lock["stages"][stage]["params"][workspace.params.name]
        now = read_yaml(workspace.params)
        return [str(change) for change in changes(ran_with, {key: now.get(key) for key in ran_with})]
    return []


def _paths(stage: Mapping[str, Any], *kinds: str) -> Iterator[str]:
    for kind in kinds:
        for entry in stage.get(kind, ()):
            yield next(iter(entry)) if isinstance(entry, dict) else entry


def _is_json(file: Path) -> bool:
    try:
        json.loads(file.read_bytes())
    except ValueError:
        return False
    return True


def _holders(locks: Mapping[str, Any]) -> dict[int, str]:
    """Process id -> command of everyone who holds a lock."""
    infos = [
        *locks.get("write", {}).values(),
        *(info for readers in locks.get("read", {}).values() for info in readers),
    ]
    return {int(info["pid"]): str(info["cmd"]) for info in infos if info}
