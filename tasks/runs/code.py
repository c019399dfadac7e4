"""The code, packages and weights that made what a stage has left, so that their change is seen as any other change."""

import ast
import hashlib
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import packages_distributions, version
from pathlib import Path

import grimp

from simpleseg_core.config import Config
from simpleseg_core.files import read_state, write_json
from simpleseg_core.fingerprint import fingerprint
from simpleseg_core.kinds import KINDS
from tasks.graph import STAGES
from tasks.runs.lineage import input_hashes, stage_settings
from tasks.runs.weights import weights_of
from tasks.runs.workspace import Workspace

Code = Mapping[str, str]
"""Module, package or folder with weights -> a hash of it, or its version."""

_OURS = ("simpleseg_core", "tasks")
_NO_PART = ("simpleseg_core.config", "simpleseg_core.contract", "simpleseg_core.environment", "simpleseg_core.files")
"""Shape no result: settings are looked at as such, the others carry and write."""
_FOUND_BY_NAME = (*(kind.folder for kind in KINDS), "models.architectures", "sources")
"""Folders of the core whose files are imported by their names: who imports the folder may use every one."""
_REMEMBERED = 20
"""Settings and inputs of a stage that its record holds; DVC can bring the results of earlier ones back."""


def code_of(stage: str) -> Code:
    """Every module of ours that a stage reaches by imports, and every package that those import.

    Comments, docstrings and formatting are no part of a module.
    """
    reached = {f"tasks.{stage}", *_imports().find_upstream_modules(f"tasks.{stage}")}
    ours = {name for name in reached if name.startswith(_OURS) and not name.startswith(_NO_PART)}
    packages = {name for name in reached - ours if not name.startswith(_OURS) and name not in sys.stdlib_module_names}
    return {name: _hash(name) for name in sorted(ours)} | dict(_versions(packages))


def changed_code(workspace: Workspace, config: Config, stage: str) -> list[str]:
    """What has changed since the stage last ran with these settings and inputs; empty where nobody knows.

    Folders with models of others are among it: they begin with `weights.WEIGHTS`.
    """
    record = read_state(_record(workspace, stage)).get("runs", {})
    before = record.get(_key(workspace, config, stage), {})
    return _differences(before, stage, weights_of(workspace, config, stage) if before else {})


def changed_since_last_run(workspace: Workspace, stage: str) -> list[str]:
    """What of the code has changed since the stage last began, whatever its settings were."""
    return _differences(read_state(_record(workspace, stage)).get("last", {}), stage, {})


def remember_code(workspace: Workspace, config: Config, stage: str) -> None:
    """Take down that the present code and weights make the results of these settings and inputs."""
    code, key = dict(code_of(stage)), _key(workspace, config, stage)
    made_by = code | dict(weights_of(workspace, config, stage))
    runs = read_state(_record(workspace, stage)).get("runs", {})
    kept = {name: runs[name] for name in list(runs)[1 - _REMEMBERED :] if name != key}
    write_json(_record(workspace, stage), {"last": code, "runs": {**kept, key: made_by}})


def _differences(before: Code, stage: str, weights: Code) -> list[str]:
    if not before:
        return []
    now = {**code_of(stage), **{name: found for name, found in weights.items() if name in before}}
    return [name for name in sorted(before.keys() | now.keys()) if before.get(name) != now.get(name)]


def _record(workspace: Workspace, stage: str) -> Path:
    return workspace.state / "code" / f"{stage}.json"


def _key(workspace: Workspace, config: Config, stage: str) -> str:
    spec = STAGES[stage]
    return fingerprint(settings=stage_settings(config, spec), inputs=input_hashes(workspace, spec))


@cache
def _imports() -> grimp.ImportGraph:
    graph = grimp.build_graph(
        *_OURS, include_external_packages=True, exclude_type_checking_imports=True, cache_dir=None
    )
    for folder in (f"simpleseg_core.{name}" for name in _FOUND_BY_NAME):
        for importer in graph.find_modules_that_directly_import(folder):
            if importer.startswith(_NO_PART):
                graph.remove_import(importer=importer, imported=folder)
        for file in graph.find_children(folder):
            graph.add_import(importer=folder, imported=file)
    return graph


@cache
def _hash(module: str) -> str:
    path = Path(__file__).parents[2].joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return hash_source(file.read_text(encoding="utf-8"))


def hash_source(text: str) -> str:
    """A hash of what Python code does: comments, docstrings and formatting are no part of it."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            node.value.value = ""
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:12]


def _versions(imported: set[str]) -> Iterator[tuple[str, str]]:
    distributions = packages_distributions()
    for name in sorted({found for each in imported for found in distributions.get(each, ())}):
        yield name, version(name)
