"""The stages of the pipeline, one module each; `graph` names their inputs and outputs."""

from simpleseg_core.stages._base import (
    Context,
    Inputs,
    NullProgress,
    NullTracker,
    Outputs,
    Progress,
    Stage,
    StageResult,
    Tracker,
)
from simpleseg_core.stages.graph import STAGES, StageSpec, load_stage

__all__ = [
    "STAGES",
    "Context",
    "Inputs",
    "NullProgress",
    "NullTracker",
    "Outputs",
    "Progress",
    "Stage",
    "StageResult",
    "StageSpec",
    "Tracker",
    "load_stage",
]
