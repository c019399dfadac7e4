"""One at a time in a working copy: the second is refused with one line, and a holder that dies holds nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.runs.lock import BusyError, alone
from tasks.runs.workspace import Workspace

_HOLD = """
import sys, time
from pathlib import Path
from tasks.runs.lock import alone
with alone(Path(sys.argv[1]), "stage sft"):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_second_one_is_refused_until_the_first_is_gone(tmp_path: Path, repository: Path) -> None:
    file = tmp_path / ".simpleseg" / "sft.lock"
    command = [sys.executable, "-c", _HOLD, str(file)]
    with subprocess.Popen(command, cwd=repository, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        says = rf"stage sft already runs in {tmp_path} \(process {holder.pid}\)"
        with pytest.raises(BusyError, match=says), alone(file, "stage sft"):
            pass
        holder.kill()
    with alone(file, "stage sft"):
        assert file.read_text() == str(os.getpid())


_READ_ONLY = """
import sys
from pathlib import Path
from tasks.runs.lock import alone
try:
    with alone(Path(sys.argv[1]) / ".simpleseg" / "run.lock", "a pipeline"):
        print("held")
except ValueError as error:
    print(error)
"""


def test_a_folder_that_takes_no_files_is_named(tmp_path: Path, repository: Path) -> None:
    """On a real read-only file system, in a mount namespace of its own."""
    inside = 'mount -t tmpfs -o ro none "$1" && exec "$0" -c "$2" "$1"'
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", inside, sys.executable]
    if subprocess.run([*command[:4], "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine lets nobody make a mount namespace")
    arguments = [*command, str(tmp_path), _READ_ONLY]
    said = subprocess.run(arguments, cwd=repository, capture_output=True, text=True, check=True).stdout
    assert said.strip() == (
        f"{tmp_path / '.simpleseg'}: Read-only file system; runs keep their state there: "
        "make it writable, or work in a copy"
    )


def test_a_second_stage_of_one_name_is_refused_with_one_line(workspace: Workspace) -> None:
    (workspace.root / "data" / "masks").mkdir(parents=True)
    command = [str(Path(sys.executable).with_name("simpleseg")), "stage", "contour"]
    with alone(workspace.stage_lock("contour"), "stage contour"):
        done = subprocess.run(command, cwd=workspace.root, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    [line] = done.stderr.strip().replace("\n", " ").split("Traceback")
    assert f"stage contour already runs in {workspace.root} (process {os.getpid()})" in line.replace("  ", " ")
