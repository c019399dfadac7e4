"""Outputs that earlier runs have left in DVC's cache or its remote, taken out beside those of the working copy."""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dvc.repo import Repo
from dvc_data.hashfile import load
from dvc_data.hashfile.checkout import checkout
from dvc_data.hashfile.hash_info import HashInfo
from ruamel.yaml import YAML

from tasks.runs.workspace import Workspace


def hash_at(workspace: Workspace, revision: str, output: Path) -> str | None:
    """DVC hash of an output in the dvc.lock of a git revision; None where it has none.

    Raises:
        ValueError: git knows no such revision, or it has no dvc.lock.
    """
    name = f"{revision}:./{workspace.dvc_lock.name}"
    shown = subprocess.run(["git", "show", name], cwd=workspace.root, capture_output=True, text=True, check=False)
    if shown.returncode:
        raise ValueError(f"{revision}: git has no such revision with a dvc.lock here; `git log -- dvc.lock` lists them")
    stages: Mapping[str, Any] = YAML(typ="safe").load(shown.stdout).get("stages", {})
    outs = (out for stage in stages.values() for out in stage.get("outs", ()))
    return next((out["md5"] for out in outs if out["path"] == output.as_posix()), None)


def take_out(workspace: Workspace, md5: str, folder: Path) -> None:
    """Put the files of a folder that DVC knows by its hash into `folder`, from the cache or else from the remote.

    Raises:
        FileNotFoundError: neither holds it.
    """
    wanted = HashInfo("md5", md5)
    with Repo(str(workspace.root)) as repo:
        try:
            tree = load(repo.cache.local, wanted)
        except FileNotFoundError:
            tree = _pulled(repo, wanted)
        folder.parent.mkdir(parents=True, exist_ok=True)
        checkout(str(folder), repo.fs, tree, repo.cache.local, force=True)


def _pulled(repo: Repo, wanted: HashInfo) -> Any:
    from dvc.config import NoRemoteError

    try:
        repo.cloud.pull([wanted])
        return load(repo.cache.local, wanted)
    except (NoRemoteError, FileNotFoundError) as error:
        cure = "it was made on another machine or `dvc gc` has removed it; `dvc pull` where a remote holds it"
        raise FileNotFoundError(f"DVC's cache does not hold {wanted.value} ({cure})") from error
