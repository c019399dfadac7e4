"""Where a result comes from: the commit of the code, DVC hashes of what was read, the settings."""

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from simpleseg_core.commit import commit_of
from simpleseg_core.config import Config
from simpleseg_core.config.files import ConfigError, changes, load_profile
from tasks.graph import StageSpec
from tasks.runs.workspace import Workspace

_NAMED = 3
"""Most changed keys in the name of a run."""


def git_tags(workspace: Workspace) -> dict[str, str]:
    """`git.commit` and `git.dirty`; empty outside a git repository. Results of runs do not make code dirty."""
    commit = commit_of(workspace.root)
    return {"git.commit": commit.hash, "git.dirty": str(commit.dirty).lower()} if commit else {}


def locked_hashes(workspace: Workspace, only: str | None = None) -> dict[str, str]:
    """Path -> DVC hash of every output that dvc.lock knows, or of those of one stage."""
    try:
        lock = YAML(typ="safe").load(workspace.dvc_lock.read_text(encoding="utf-8")) or {}
    except (FileNotFoundError, YAMLError):
        return {}
    stages = {name: stage for name, stage in lock.get("stages", {}).items() if only in (None, name)}
    return {out["path"]: out["md5"] for stage in stages.values() for out in stage.get("outs", ()) if "md5" in out}


def input_hashes(workspace: Workspace, spec: StageSpec) -> dict[str, str]:
    """Role -> DVC hash of what a stage depends on; what DVC has not seen is left out."""
    locked = locked_hashes(workspace)
    return {role: locked[str(path)] for role, path in spec.dependencies.items() if str(path) in locked}


def stage_settings(config: Config, spec: StageSpec) -> dict[str, object]:
    """The sections of the configuration that a stage depends on."""
    return config.model_dump(mode="json", include=set(spec.params))


def run_name(config: Config) -> str:
    """What tells a run from others: its profile, and the keys that differ from it, but for where runs are kept."""
    try:
        profile = load_profile(config.profile).model_dump(mode="json")
    except ConfigError:
        return config.profile
    differing = changes(profile, config.model_dump(mode="json"))
    changed = [f"{each.key}={each.after}" for each in differing if not each.key.startswith("tracking.")]
    more = [f"{len(changed) - _NAMED} more"] if len(changed) > _NAMED else []
    return ", ".join([config.profile, *(each[:60] for each in changed[:_NAMED]), *more])
