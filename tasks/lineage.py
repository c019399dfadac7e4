"""Where a result comes from: the commit of the code, DVC hashes of what was read, a fingerprint of the settings."""

import hashlib
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from simpleseg_core.config import Config
from simpleseg_core.stages import StageSpec
from tasks.workspace import Workspace

_RESULTS = (":(exclude)dvc.lock", ":(exclude)params.yaml", ":(exclude)reports")


def git_tags(workspace: Workspace) -> dict[str, str]:
    """`git.commit` and `git.dirty`; empty outside a git repository. Results of runs do not make code dirty."""
    commit = _git(workspace.root, "rev-parse", "HEAD")
    if not commit:
        return {}
    changed = _git(workspace.root, "status", "--porcelain", "--untracked-files=no", "--", ".", *_RESULTS)
    return {"git.commit": commit, "git.dirty": str(bool(changed)).lower()}


def locked_hashes(workspace: Workspace, only: str | None = None) -> dict[str, str]:
    """Path -> DVC hash of every output that dvc.lock knows, or of those of one stage."""
    try:
        lock = YAML(typ="safe").load(workspace.dvc_lock.read_text(encoding="utf-8")) or {}
    except (FileNotFoundError, YAMLError):
        return {}
    stages = {name: stage for name, stage in lock.get("stages", {}).items() if only in (None, name)}
    return {out["path"]: out["md5"] for stage in stages.values() for out in stage.get("outs", ()) if "md5" in out}


def input_hashes(workspace: Workspace, spec: StageSpec) -> dict[str, str]:
    """Role -> DVC hash of the inputs of a stage; inputs that DVC has not seen are left out."""
    locked = locked_hashes(workspace)
    return {role: locked[str(path)] for role, path in spec.inputs.items() if str(path) in locked}


def fingerprint(*parts: Mapping[str, object]) -> str:
    """A short hash that changes when any value in the mappings changes."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def stage_settings(config: Config, spec: StageSpec) -> dict[str, object]:
    """The sections of the configuration that a stage depends on."""
    return config.model_dump(mode="json", include=set(spec.params))


def _git(root: Path, *arguments: str) -> str:
    try:
        result = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return result.stdout.strip()
