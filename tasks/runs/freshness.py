"""Which stages are out of date, and why: what DVC sees of parameters and data, and what has become of the code."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from simpleseg_core.config import Config
from tasks.graph import STAGES
from tasks.runs.code import changed_code
from tasks.runs.data_version import Graph, dvc_status
from tasks.runs.weights import WEIGHTS
from tasks.runs.workspace import Workspace

_NAMED = 3
_RESULTS = "report"
"""The stage that writes the scores of models."""


@dataclass(frozen=True, slots=True)
class Freshness:
    """The stages that are out of date, with the reasons; what follows them is not known yet."""

    reasons: Mapping[str, Sequence[str]]
    code: frozenset[str]
    """Those that DVC would not run by itself: their code, or a model of others that they load, has changed."""


def freshness(workspace: Workspace, config: Config, graph: Graph) -> Freshness:
    """Ask DVC once, and compare the code of each stage with the code that made what is there."""
    reasons = {name: list(found) for name, found in dvc_status(workspace).items()}
    known = [name for name in graph.upstream if name in STAGES]
    changed = {name: found for name in known if (found := changed_code(workspace, config, name))}
    for name, found in changed.items():
        reasons.setdefault(name, []).extend(_told(found))
    return Freshness({name: reasons[name] for name in graph.upstream if name in reasons}, frozenset(changed))


def _told(changed: Sequence[str]) -> Iterator[str]:
    modules = [name for name in changed if not name.startswith(WEIGHTS)]
    yield from (f"{name} changed" for name in changed if name.startswith(WEIGHTS))
    if modules:
        more = f" and {len(modules) - _NAMED} more" if len(modules) > _NAMED else ""
        yield f"code changed: {', '.join(modules[:_NAMED])}{more}"


def stale_results(stale: Freshness, graph: Graph) -> tuple[str, ...]:
    """Why the scores that lie here are not those of the present configuration, code and data; empty where they are."""
    if _RESULTS not in graph.upstream:
        return ()
    return tuple(f"{name}: {stale.reasons[name][0]}" for name in graph.between(None, _RESULTS) if name in stale.reasons)
