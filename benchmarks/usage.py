"""What a command and every process that it starts need: processor time, memory, how many they are.

python benchmarks/usage.py LOG COMMAND ...
"""

import ctypes
import json
import os
import resource
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

_SUBREAPER = 36
_LOOK_S = 0.25


@dataclass(frozen=True)
class Usage:
    """Processor time of a command and all its processes, the most memory that one of them had, and the most of them at
    a time."""

    cpu_seconds: float
    peak_mib: float
    processes: int


def measure(name: str, command: list[str], log: Path) -> Usage:
    """What a downloader and everything that it starts needs."""
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "NO_ALBUMENTATIONS_UPDATE": "1",
        "PYTHONPATH": str(Path(__file__).resolve().parent.parent),
    }
    watched = [sys.executable, __file__, str(log), *command]
    answer = subprocess.run(watched, env=environment, stdout=subprocess.PIPE, check=True).stdout
    code, cpu, peak, processes = json.loads(answer)
    if code:
        raise SystemExit(f"{name} failed:\n{log.read_text()[-3000:]}")
    return Usage(float(cpu), float(peak), int(processes))


def run_measured(log: str, command: list[str]) -> None:
    """Run a command; print its exit code and what all its processes needed, orphans included."""
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    most = 0
    with Path(log).open("w") as file, subprocess.Popen(command, stdout=file, stderr=file) as process:
        while process.poll() is None:
            most = max(most, len(psutil.Process().children(recursive=True)))
            time.sleep(_LOOK_S)
    code = process.returncode
    with suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(json.dumps([code, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, most]))


if __name__ == "__main__":
    run_measured(sys.argv[1], sys.argv[2:])
