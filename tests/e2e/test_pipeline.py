"""The whole pipeline at a size that teaches nothing: killed twice, resumed, cached, and run again in part."""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from flows.tables import benchmark_rows
from simpleseg_core.config.files import dump_yaml, load_config, load_profile
from simpleseg_core.files import read_state
from simpleseg_core.ray_session import ray_session
from tasks.graph import STAGES
from tasks.runs.stage import run_stage
from tasks.runs.workspace import Workspace, store_uri
from tests.tiny_pipeline import git, running

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

_SMALL = (
    "data.web_images=8",
    "data.train_images=16",
    "data.rl_images=8",
    "data.benchmark_queries={val: 6}",
    "ingest.shard_size=4",
    "dataset.sft_weights={text->bbox: 1}",
    "model.base=scratch",
    "model.nano.hidden_size=64",
    "model.nano.layers=2",
    "model.nano.heads=2",
    "model.nano.kv_heads=1",
    "model.nano.intermediate_size=96",
    "model.nano.vision_hidden_size=64",
    "model.nano.vision_layers=1",
    "model.nano.vision_heads=2",
    "pretrain.steps=2",
    "pretrain.batch_size=4",
    "pretrain.micro_batch_size=4",
    "sft.steps=60",
    "sft.batch_size=4",
    "sft.micro_batch_size=4",
    "sft.log_every=1",
    "sft.checkpoint_every=5",
    "sft.probe_every=30",
    "rl.steps=16",
    "rl.prompts=2",
    "rl.group_size=2",
    "rl.minibatches=1",
    "rl.checkpoint_every=2",
    "rl.probe_every=8",
    "rl.max_resample=0",
    "rl.rollout.max_tokens=8",
    "evaluate.max_tokens=8",
    "evaluate.bootstrap_samples=50",
)


@dataclass(frozen=True)
class Checkout:
    """A working copy of its own, where the commands of this environment run."""

    workspace: Workspace

    @property
    def root(self) -> Path:
        return self.workspace.root

    def run(self, *arguments: str, exit_codes: tuple[int, ...] = (0,)) -> str:
        """What a command prints."""
        with tempfile.TemporaryFile("w+") as output, running(self.root, output, *arguments) as process:
            process.wait()
            output.seek(0)
            said = output.read()
        assert process.returncode in exit_codes, said
        return said

    def kill_at_checkpoint(self, stage: str) -> None:
        """Start the pipeline and kill it, with everything it started, once a stage has saved a checkpoint."""
        with (self.root / "killed.log").open("w") as log, running(self.root, log, "run") as process:
            while not list(self.workspace.work(stage).rglob("step-??????/state.json")):
                assert process.poll() is None, (self.root / "killed.log").read_text()
                time.sleep(0.05)

    def mlflow_run(self, stage: str) -> str:
        return str(read_state(self.workspace.tracking(stage) / "sent.json")["run_id"])

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(store_uri(self.workspace, load_config(self.workspace.params).tracking))

    def runs(self) -> list[Run]:
        client = self.client
        experiment = client.get_experiment_by_name("simpleseg")
        assert experiment is not None
        return list(client.search_runs([experiment.experiment_id]))

    def stage_counts(self) -> Counter[str]:
        """How often each stage has run, by its MLflow runs."""
        return Counter(run.data.tags["dvc.stage"] for run in self.runs() if "dvc.stage" in run.data.tags)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Checkout:
    return _check_out(repository, tmp_path_factory.mktemp("checkout"), _SMALL)


def _check_out(repository: Path, root: Path, overrides: tuple[str, ...]) -> Checkout:
    for name in (
        "dvc.yaml",
        ".dvc/config",
        ".dvc/.gitignore",
        ".dvcignore",
        ".gitignore",
        "models/.gitignore",
        "reports/.gitignore",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(repository / name, root / name)
    if (repository / "checkpoints").is_dir():
        shutil.copytree(repository / "checkpoints", root / "checkpoints")
    (root / "params.yaml").write_text(dump_yaml(load_profile("nano")))
    (root / "params.yaml").write_text(dump_yaml(load_config(root / "params.yaml", overrides)))
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "start")
    return Checkout(Workspace(root))


def test_killed_in_sft_and_in_rl_it_resumes_and_ends_whole(checkout: Checkout) -> None:
    checkout.kill_at_checkpoint("sft")
    in_sft = checkout.mlflow_run("sft")
    [parent] = [run.info.run_id for run in checkout.runs() if "dvc.stage" not in run.data.tags]

    checkout.kill_at_checkpoint("rl")
    in_rl = checkout.mlflow_run("rl")
    said = checkout.run("run")

    assert "refshapes/val" in said
    assert (checkout.mlflow_run("sft"), checkout.mlflow_run("rl")) == (in_sft, in_rl)
    assert checkout.stage_counts() == dict.fromkeys(STAGES, 1)  # nothing ran twice, what was killed went on
    client = checkout.client
    for run_id, curve, steps in ((in_sft, "loss", 60), (in_rl, "reward", 16)):
        logged = Counter(point.step for point in client.get_metric_history(run_id, curve))
        assert logged[1] == 1  # from the checkpoint, not from the start
        assert max(logged) == steps
        assert logged.keys() <= set(range(1, steps + 1))
    runs = {run.data.tags.get("dvc.stage", "pipeline"): run for run in checkout.runs()}
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert {run.data.tags["mlflow.parentRunId"] for name, run in runs.items() if name != "pipeline"} == {parent}
    assert any(metric.endswith("refshapes/val/giou") for metric in runs["pipeline"].data.metrics)
    assert {each.dataset.name for each in runs["rl"].inputs.dataset_inputs} == {
        "data/dataset",
        "models/sft",
    }
    assert client.list_artifacts(runs["sft"].info.run_id, "images")  # probes
    assert runs["sft"].data.tags["dvc.lock.models/sft"].endswith(".dir")


@pytest.fixture(scope="module")
def finished(checkout: Checkout) -> Checkout:
    """The checkout after a whole run; that of the test before, when both run."""
    if not (checkout.root / "reports" / "report.html").exists():
        checkout.run("run")
    return checkout


def test_with_nothing_changed_nothing_runs(finished: Checkout) -> None:
    before = finished.stage_counts()
    said = finished.run("run")
    assert "11 of 11 stages were up to date" in " ".join(said.split())
    assert finished.stage_counts() == before
    states = [" ".join(line.split()[1:]) for line in finished.run("status").splitlines()[1:] if line.strip()]
    assert states == ["up to date"] * len(STAGES)
    dvc = subprocess.run(
        [sys.executable, "-m", "dvc", "status", "--json"], cwd=finished.root, capture_output=True, text=True, check=True
    )
    assert json.loads(dvc.stdout) == {}
    status = subprocess.run(
        ["git", "status", "--porcelain"], cwd=finished.root, capture_output=True, text=True, check=True
    )
    assert {line.split()[1].split("/")[0] for line in status.stdout.splitlines()} <= {
        "dvc.lock",
        "reports",
        "killed.log",
    }


def test_a_change_of_the_tolerance_runs_contour_and_what_follows(finished: Checkout) -> None:
    before = finished.stage_counts()
    said = " ".join(finished.run("run", "--until", "describe", "--set", "contour.tolerance=0.05").split())
    assert "contour.tolerance: 0.02 -> 0.05" in said
    assert finished.stage_counts() - before == Counter(["contour", "describe"])
    status = finished.run("status")
    waiting = {line.split()[0] for line in status.splitlines() if "would run" in line or "may run" in line}
    assert waiting == {"dataset", "pretrain", "sft", "rl", "evaluate", "report"}


def test_a_trained_model_answers(finished: Checkout) -> None:
    from PIL import Image

    Image.new("RGB", (64, 64), "white").save(finished.root / "white.png")
    # Trained for seconds to write boxes: its answer need not be an outline.
    said = finished.run("predict", "white.png", "red circle", "--model", "sft", exit_codes=(0, 1))
    assert "answer" in said


def test_photographs_go_all_the_way_to_the_benchmark_table(
    tmp_path: Path, repository: Path, coco_tiny: Path, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Boxes of the annotations, GrabCut's masks, expressions from category, size and position; gold masks judge.

    All stages in this process, with one Ray: how DVC and the command line call them is what the tests above show.
    """
    given = ("pretrain.enabled=false", f"model.base={tiny_checkpoint}")
    engines = ("rl.rollout.engine=transformers", "evaluate.engine=transformers")
    photographs = ("data.source=coco", f"data.coco.root={coco_tiny}", "data.coco.max_images=20")
    short = ("sft.steps=4", "rl.steps=2", "contour.min_roundtrip_iou=0.5")
    checkout = _check_out(repository, tmp_path, (*_SMALL, *photographs, *short, *given, *engines))
    monkeypatch.chdir(checkout.root)
    with ray_session(load_config(checkout.workspace.params).ray):
        for name in STAGES:
            run_stage(checkout.workspace, name)
    assert [row["benchmark"] for row in benchmark_rows(checkout.workspace)] == ["coco/val"] * 3
    table = json.loads((tmp_path / "reports/metrics.json").read_text())
    assert table.keys() == {"base", "sft", "rl"}
    assert all(list(row) == ["coco/val"] for row in table.values())
    assert all(0 <= row["coco/val"]["giou"]["value"] <= 100 for row in table.values())
    segment = json.loads((tmp_path / "reports/metrics/segment.json").read_text())
    assert segment["mask_iou"] > 0.5  # against the gold masks; a box alone is near it, an empty mask far below
    assert checkout.stage_counts() == dict.fromkeys(STAGES, 1)
    assert "coco/val" in (tmp_path / "reports/report.html").read_text()
