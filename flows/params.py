"""Changing params.yaml: the file DVC reads is the only configuration, so a change for a run is a change of the file."""

import contextlib
from collections.abc import Sequence

from simpleseg_core.config.files import Change, ConfigError, changes, dump_yaml, load_config, load_profile
from simpleseg_core.files import write_text
from tasks.checks import check_inputs
from tasks.graph import STAGES
from tasks.hub import check_models, hub_models
from tasks.runs.workspace import Workspace


def edit_params(workspace: Workspace, overrides: Sequence[str]) -> list[Change]:
    """Write `key=value` changes into params.yaml, validated first; returns what changed.

    Raises:
        ConfigError: params.yaml or an override cannot be used; the file is then as it was.
        FileNotFoundError, ValueError: a file that they name is missing or unusable, or a model that the overrides
            name cannot be had; the file is then as it was.
    """
    if not overrides:
        return []
    before, after = load_config(workspace.params), load_config(workspace.params, overrides)
    with contextlib.chdir(workspace.root):
        check_inputs(after, STAGES)
        check_models(after, STAGES, known=hub_models(before, STAGES).values())
    changed = changes(before.model_dump(mode="json"), after.model_dump(mode="json"))
    if changed:
        write_text(workspace.params, dump_yaml(after))
    return changed


def use_profile(workspace: Workspace, name: str) -> list[Change]:
    """Write a profile as params.yaml; returns what changed.

    Raises:
        ConfigError: no such profile.
    """
    profile = load_profile(name)
    after = profile.model_dump(mode="json")
    try:
        before = load_config(workspace.params).model_dump(mode="json")
    except ConfigError:  # missing or unusable: replaced as a whole
        before = after
    write_text(workspace.params, dump_yaml(profile))
    return changes(before, after)
