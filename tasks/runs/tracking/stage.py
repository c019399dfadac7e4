"""What a stage tells about itself: written to its journal, from where it goes to MLflow, now or later."""

import csv
import io
import logging
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from uuid import uuid4

from PIL import Image

from simpleseg_core.config import Config
from simpleseg_core.config.files import dump_yaml
from simpleseg_core.contract import StageResult
from simpleseg_core.files import read_state, write_json
from simpleseg_core.fingerprint import fingerprint
from simpleseg_core.journal import Journal
from simpleseg_core.plain import plain
from tasks.graph import STAGES
from tasks.runs.curves import Curves
from tasks.runs.kept import anything_kept, stages_kept, unsent
from tasks.runs.lineage import git_tags, input_hashes, stage_settings
from tasks.runs.lock import BusyError, alone
from tasks.runs.tracking.delivery import Delivery, send_set_aside
from tasks.runs.tracking.shipping import shipping
from tasks.runs.tracking.store import Store
from tasks.runs.workspace import Workspace

PARENT_VARIABLE = "SIMPLESEG_PARENT_RUN_ID"
"""The parent's id travels here: MLFLOW_RUN_ID would make the child the parent. Empty: no parent."""
FLOW_RUN_VARIABLE = "SIMPLESEG_FLOW_RUN_ID"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StageRun:
    """The run of one stage while it goes on."""

    tracker: Journal

    def log_result(self, stage: str, result: StageResult) -> None:
        """Headline numbers (on the parent too), tables as CSV, pictures."""
        journal, numbers = self.tracker, {key: float(value) for key, value in result.metrics.items()}
        # At the end of the curves: a number of the same name must not look like their start.
        journal.append({"headline": numbers, "step": journal.last_step()})
        parent = os.environ.get(PARENT_VARIABLE)
        if parent and stage != "report":  # what the report repeats, the parent gets as its headline
            journal.append({"parent": parent, "headline": {f"{stage}/{key}": each for key, each in numbers.items()}})
        for name, rows in result.tables.items():
            journal.append({"text": _csv(rows), "artifact": f"tables/{_file_name(name)}.csv"})
        for path in result.images.values():
            journal.append({"artifact": "images", "file": journal.keep(path.name, path.read_bytes())})
        if funnel := result.tables.get("funnel"):
            from simpleseg_core.viz import funnel_picture  # matplotlib takes half a second, and most stages need none

            png = io.BytesIO()
            Image.fromarray(funnel_picture(funnel)).save(png, "PNG")
            journal.append({"artifact": "images", "file": journal.keep("funnel.png", png.getvalue())})


@contextmanager
def stage_run(workspace: Workspace, stage: str, config: Config) -> Iterator[StageRun]:
    """The run of a stage: an interrupted one goes on, else a new one starts. It never waits for MLflow.

    What an earlier run could not send is sent first.
    """
    hashes = input_hashes(workspace, STAGES[stage])
    journal, state = Journal(workspace.tracking(stage)), {"fingerprint": _fingerprint(config, stage, hashes)}
    _set_aside(workspace, stage, state["fingerprint"])
    write_json(journal.folder / "run.json", state | {"status": "running"})
    journal.append(_opening(workspace, stage, config, hashes))
    curves = Curves(workspace.curves(stage))
    if "model" in STAGES[stage].outputs:
        curves.write()  # DVC asks for the file of a training stage even when the stage is switched off
    with shipping(workspace, config.tracking, journal, curves):
        status = "FINISHED"
        try:
            yield StageRun(journal)
        except BaseException as error:
            status = "FAILED" if isinstance(error, Exception) else "KILLED"
            raise
        finally:
            journal.append({"end": status})
            write_json(journal.folder / "run.json", state | {"status": status.lower()})


def _set_aside(workspace: Workspace, stage: str, mark: str) -> None:
    """Make room for a new run, unless the one before was interrupted and is the same."""
    journal = Journal(workspace.tracking(stage))
    before = read_state(journal.folder / "run.json")
    if before.get("status") not in (None, "finished") and before.get("fingerprint") == mark:
        _log.info("continuing the run of the interrupted %s", stage)
        return
    if before.get("status") == "running":
        journal.append({"end": "KILLED"})
    if before and unsent(journal):
        kept = workspace.tracking_set_aside / f"{stage}-{uuid4().hex}"
        kept.parent.mkdir(parents=True, exist_ok=True)
        journal.folder.rename(kept)
    shutil.rmtree(journal.folder, ignore_errors=True)


def _opening(workspace: Workspace, stage: str, config: Config, hashes: Mapping[str, str]) -> dict[str, object]:
    """The journal's entry for the start of a run: all that MLflow is told about it."""
    return {
        "run": stage,
        "tags": _stage_tags(workspace, stage),
        "params": stage_settings(config, STAGES[stage]),
        "inputs": {str(STAGES[stage].inputs[role]): md5 for role, md5 in hashes.items()},
        "config": dump_yaml(config),
    }


def _stage_tags(workspace: Workspace, stage: str) -> dict[str, str]:
    tags = {"dvc.stage": stage, **git_tags(workspace)}
    if parent := os.environ.get(PARENT_VARIABLE):
        tags["mlflow.parentRunId"] = parent
    if flow_run := os.environ.get(FLOW_RUN_VARIABLE):
        tags["prefect.flow_run_id"] = flow_run
    return tags


def _fingerprint(config: Config, stage: str, hashes: Mapping[str, str]) -> str:
    return fingerprint(settings=stage_settings(config, STAGES[stage]), inputs=hashes)


def tag_versions(workspace: Workspace, config: Config, stage: str, hashes: Mapping[str, str]) -> None:
    """Write DVC's hashes of what a stage produced on its run: known only after DVC has stored them."""
    journal = Journal(workspace.tracking(stage))
    if journal.events.exists():
        journal.append({"tags": {f"dvc.lock.{path}": md5 for path, md5 in hashes.items()}})
        send_kept(workspace, config)


def send_kept(workspace: Workspace, config: Config) -> None:
    """Send what stages have reported and MLflow has not taken yet; what it does not take now stays kept."""
    if not anything_kept(workspace):
        return
    try:
        store = Store.open(workspace, config.tracking)
        for stage in stages_kept(workspace):
            with suppress(BusyError), alone(workspace.stage_lock(stage), f"stage {stage}"):
                Delivery(store, Journal(workspace.tracking(stage))).send()
        send_set_aside(store, workspace.tracking_set_aside)
    except Exception as error:
        _log.warning("what the stages have reported is kept and sent with the next run: %s", error)


def _file_name(name: str) -> str:
    return re.sub(r"[^\w\-.]", "_", name)


def _csv(rows: Sequence[Mapping[str, object]]) -> str:
    columns = dict.fromkeys(key for row in rows for key in row)
    text = io.StringIO()
    table = csv.DictWriter(text, list(columns))
    table.writeheader()
    table.writerows({key: _csv_cell(value) for key, value in row.items()} for row in rows)
    return text.getvalue()


def _csv_cell(value: object) -> object:
    """A text as text: plain, and no formula to the program that opens the table."""
    if not isinstance(value, str):
        return value
    return f"'{plain(value)}" if value.startswith(("=", "+", "-", "@")) else plain(value)
