"""Checks whether this machine can run the pipeline, and says what to do where it cannot."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.request import getproxies, proxy_bypass

import psutil

from simpleseg_core.commit import commit_of
from simpleseg_core.config.files import load_config
from simpleseg_core.environment import LOOPBACK_HOSTS, has_gpu
from tasks.graph import STAGES
from tasks.hub import hub_models, unreachable

PORTS: Mapping[str, int] = {"Prefect": 4200, "MLflow": 5000}
"""Where the user interfaces listen on loopback."""

_GIB = 2**30
_MINIMUM_CORES = 2
_MINIMUM_MEMORY_GIB = 12
_MINIMUM_DISK_GIB = 10


@dataclass(frozen=True, slots=True)
class Check:
    """One finding: what was looked at, whether it will do, what was found, and what to do if it will not."""

    name: str
    ok: bool
    detail: str
    cure: str = ""


def checks(root: Path, ports: Mapping[str, int] = PORTS) -> Iterator[Check]:
    """Look at the machine and at the working copy in `root`, one check after another, the slow one (vLLM) last."""
    yield _python()
    yield _cores()
    yield _memory()
    yield _disk(root)
    yield _write_access(root)
    yield _git(root)
    yield _dvc(root)
    yield from (_port(owner, port) for owner, port in ports.items())
    yield _proxy()
    yield from _models(root)
    yield _gpu()
    yield _vllm()


def _python() -> Check:
    found = ".".join(map(str, sys.version_info[:3]))
    return Check("Python", sys.version_info[:2] == (3, 11), found, "install Python 3.11 and run `make setup`")


def _cores() -> Check:
    cores = len(os.sched_getaffinity(0))
    cure = "rollouts and training share what there is: expect twice the time"
    return Check("cores", cores >= _MINIMUM_CORES, f"{cores}", cure)


def _memory() -> Check:
    memory = psutil.virtual_memory()
    detail = f"{memory.available / _GIB:.1f} of {memory.total / _GIB:.1f} GiB free"
    cure = f"close other programs: a run at nano scale may take {_MINIMUM_MEMORY_GIB} GiB"
    return Check("memory", memory.available >= _MINIMUM_MEMORY_GIB * _GIB, detail, cure)


def _disk(root: Path) -> Check:
    free = shutil.disk_usage(root).free / _GIB
    cure = f"make {_MINIMUM_DISK_GIB} GiB free; `dvc gc --workspace` drops old versions of the data"
    return Check("disk", free >= _MINIMUM_DISK_GIB, f"{free:.1f} GiB free", cure)


def _write_access(root: Path) -> Check:
    try:
        with tempfile.TemporaryFile(dir=root):
            return Check("write access", True, str(root))
    except OSError as error:
        return Check("write access", False, str(error), f"make {root} writable for this user, or clone elsewhere")


def _git(root: Path) -> Check:
    commit = commit_of(root)
    if commit is None:
        cure = "install git and work in a clone with at least one commit: DVC versions data beside it"
        return Check("git", False, "no commit found", cure)
    return Check("git", True, f"at {commit}")


def _dvc(root: Path) -> Check:
    version = _output(sys.executable, "-m", "dvc", "--version")
    if version is None:
        return Check("DVC", False, "not installed", "run `make setup`")
    initialised = (root / ".dvc").is_dir() and (root / "dvc.yaml").is_file()
    detail = version if initialised else f"{version}, but no .dvc/ and dvc.yaml in {root}"
    return Check("DVC", initialised, detail, "run from the root of the repository")


def _port(owner: str, port: int) -> Check:
    """A taken port stops nothing: the user interface moves to a free one, and one should know where to look."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return Check(f"port {port}", True, f"in use: `simpleseg ui` serves {owner} here already, or on a free one")
    return Check(f"port {port}", True, f"free for {owner}")


def _proxy() -> Check:
    """Our own processes find each other on loopback; whatever else, a proxy must not be asked for them."""
    proxies = {name: value for name, value in getproxies().items() if name != "no"}
    if not proxies:
        return Check("proxy", True, "none")
    around = all(proxy_bypass(host) for host in LOOPBACK_HOSTS)
    detail = f"set for {', '.join(sorted(proxies))}; loopback goes around it; ingest uses none (docs/ingest.md)"
    cure = f"add {','.join(LOOPBACK_HOSTS)} to no_proxy: our processes would look for each other at the proxy"
    return Check("proxy", around, detail if around else "loopback goes through it", cure)


def _models(root: Path) -> Iterator[Check]:
    """The hub's models that params.yaml names."""
    try:
        named = hub_models(load_config(root / "params.yaml"), STAGES)
    except (OSError, ValueError) as error:
        yield Check("params.yaml", False, str(error), "mend it, or `simpleseg profile use nano`")
        return
    for key, name in named.items():
        why = unreachable(name)
        yield Check(key, why is None, name if why is None else f"{name}, {why}", f"or set {key} to a folder with it")


def _gpu() -> Check:
    names = _output("nvidia-smi", "--query-gpu=name", "--format=csv,noheader") if has_gpu() else None
    if names is None:
        return Check("GPU", True, "none: the nano profile runs on the CPU")
    return Check("GPU", True, ", ".join(names.splitlines()))


def _vllm() -> Check:
    """Imported in a process of its own: a broken build may take the whole process down."""
    found = _output(sys.executable, "-c", "import torch, vllm; print(vllm.__version__, torch.version.cuda or 'CPU')")
    if found is None:
        return Check("vLLM", False, "does not import", "run `make setup`, on a CUDA machine `make setup EXTRA=gpu`")
    version, build = found.splitlines()[-1].rsplit(" ", 1)
    matches = (build != "CPU") == has_gpu()
    cure = "run `make setup EXTRA=gpu`" if has_gpu() else "run `make setup`: this machine has no GPU"
    return Check("vLLM", matches, f"{version}, torch build: {build}", cure)


def _output(*command: str) -> str | None:
    """What the command prints, or None where it is missing, fails or hangs."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
