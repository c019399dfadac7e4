"""The one place where MLflow is called: a parent run for a pipeline run, a child run for each stage."""

import logging

from tasks.runs.tracking.pipeline import Scores, pipeline_run
from tasks.runs.tracking.stage import FLOW_RUN_VARIABLE, PARENT_VARIABLE, StageRun, send_kept, stage_run, tag_versions
from tasks.runs.tracking.store import Store, runs_table

for _noisy in ("alembic", "mlflow"):
    logging.getLogger(_noisy).setLevel(logging.WARNING)

__all__ = [
    "FLOW_RUN_VARIABLE", "PARENT_VARIABLE", "Scores", "StageRun", "Store", "pipeline_run", "runs_table",
    "send_kept", "stage_run", "tag_versions",
]  # fmt: skip
