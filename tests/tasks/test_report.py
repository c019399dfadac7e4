"""The report stage on predictions of imaginary models: numbers with intervals, and a page that needs nothing else."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from simpleseg_core.config import Config, EvaluateConfig
from simpleseg_core.contract import Context, StageResult
from simpleseg_core.data.records import PREDICTIONS, read_rows, write_table
from simpleseg_core.metrics import METRICS
from tasks.graph import STAGES
from tasks.report import run
from tests.browser import chromium
from tests.evaluation.fabricated import BLUR, write_benchmark, write_predictions
from tests.export.annotated import write_annotations

CONFIG = Config(evaluate=EvaluateConfig(bootstrap_samples=200, overlays=2))
BENCHMARKS = {"refshapes/val": 40, "refshapes/testB": 15}
HOSTILE = '<script>alert(1)</script> & "circle"'


def report(root: Path, config: Config = CONFIG) -> StageResult:
    inputs, outputs = (
        {role: root / path for role, path in places.items()}
        for places in (STAGES["report"].inputs, STAGES["report"].outputs)
    )
    return run(config, inputs, outputs, Context(work=root / "work"))


def fabricate(root: Path, models: tuple[str, ...] = tuple(BLUR)) -> None:
    for benchmark, count in BENCHMARKS.items():
        prompts = write_benchmark(root / "data", benchmark.partition("/")[2], count)
        prompts[0]["expression"] = HOSTILE
        for seed, model in enumerate(models):
            write_predictions(root / "data", prompts, model, seed)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run: three models, two benchmarks, curves, and what the data stages left."""
    root = tmp_path_factory.mktemp("report")
    fabricate(root)
    write_annotations(root / "data", shards=1)
    files = {
        "reports/curves/sft.csv": "step,loss,loss_first_coordinate\n0,2.5,2.1\n10,1.5,\n20,1.0,0.4\n",
        "reports/curves/rl.csv": "step,reward\n1,0.5\n2,nan\n",
        "reports/metrics/segment.json": '{"mask_iou": 0.913}',
        "reports/metrics/describe.json": "{",
        "data/images/summary.json": '{"status": {"ok": 280, "timed_out": 20}}',
        "data/polygons/summary.json": '{"detected": 900, "area": 150, "kept": 750}',
        "data/dataset/composition.json": '{"composition": [{"table": "sft", "source": "refshapes", "turns": 1234}]}',
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    report(root)
    return root


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    return (root / "reports/report.html").read_text()


def test_the_graph_names_what_the_page_reads() -> None:
    spec = STAGES["report"]
    summarised = {role for spec in STAGES.values() if spec.summary for role in spec.outputs}
    assert spec.inputs.keys() == {*summarised, "predictions"}
    assert set(spec.params) == {"seed", "profile", "data", "contour", "dataset", "evaluate"}


class Outline(HTMLParser):
    """Collects tags, ids, references and visible text of a page, and checks that tags close in order."""

    VOID = frozenset({"meta", "br", "img", "link", "input", "hr"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(page)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "xlink:href")]
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_metrics_name_every_model_and_benchmark_with_intervals(root: Path) -> None:
    found = json.loads((root / "reports/metrics.json").read_text())
    assert list(found) == ["base", "sft", "rl"]
    for model in found.values():
        assert list(model) == list(BENCHMARKS), "val comes first"
        for metrics in model.values():
            assert set(metrics) == set(METRICS), "every metric, and nothing else"
            assert all(cell["low"] <= cell["value"] <= cell["high"] for cell in metrics.values())
    rows = read_rows(root / "data/predictions/sft/refshapes-val.parquet", PREDICTIONS)
    mean = 100 * sum(row["iou"] for row in rows) / len(rows)
    assert found["sft"]["refshapes/val"]["giou"]["value"] == pytest.approx(mean, abs=1e-3)


def test_differences_are_paired_and_carry_a_verdict(root: Path) -> None:
    found = json.loads((root / "reports/differences.json").read_text())
    assert list(found) == ["sft-base", "rl-sft"]
    gain = found["sft-base"]["refshapes/val"]["giou"]
    assert gain["verdict"] == "better"
    assert gain["low"] > 0
    metrics = json.loads((root / "reports/metrics.json").read_text())
    apart = metrics["sft"]["refshapes/val"]["giou"]["value"] - metrics["base"]["refshapes/val"]["giou"]["value"]
    assert gain["value"] == pytest.approx(apart, abs=1e-3)


def test_the_page_is_whole_and_needs_nothing_else(page: str) -> None:
    outline = Outline(page)
    assert "script" not in outline.tags
    assert all(link.startswith(("#", "data:image/jpeg;base64,")) for link in outline.links)
    assert not re.search(r"url\((?!#)|@import", page)
    targets = {link[1:] for link in outline.links if link.startswith("#")}
    assert targets <= set(outline.ids)


def test_text_of_the_data_cannot_become_markup(page: str) -> None:
    assert HOSTILE not in page
    assert HOSTILE in Outline(page).text


def test_the_page_shows_results_curves_and_data(page: str) -> None:
    text = Outline(page).text
    for expected in ("SFT + RL", "refshapes/testB", "Acc@0.5", "better", "loss_first_coordinate", "reward"):
        assert expected in text
    for expected in ("shapes.test", "not stated", "Annotated instances", "Hardest to say in polygons"):
        assert expected in text
    for expected in ("timed out", "280", "750", "1\u2009234", "mask_iou", "0.913"):
        assert expected in text


def test_each_image_is_stored_once(page: str) -> None:
    stored = re.findall(r'href="(data:[^"]+)"', page)
    assert len(stored) == len(set(stored)) > 0


def test_a_single_model_without_anything_else_still_gives_a_page(tmp_path: Path) -> None:
    fabricate(tmp_path, ("base",))
    config = Config(evaluate=EvaluateConfig(models=("base",), bootstrap_samples=200, overlays=2))
    result = report(tmp_path, config)
    text = Outline((tmp_path / "reports/report.html").read_text()).text
    assert "nothing to compare" in text
    assert "Training curves" not in text
    assert json.loads((tmp_path / "reports/differences.json").read_text()) == {}
    assert set(result.metrics) >= {"base/refshapes/val/giou", "base/refshapes/testB/tokens"}


def test_models_stand_in_the_order_and_under_the_labels_of_the_configuration(tmp_path: Path) -> None:
    fabricate(tmp_path, ("rl", "base"))
    (tmp_path / "data/predictions/rl").rename(tmp_path / "data/predictions/theirs")
    theirs = {"name": "theirs", "label": "Their <model>", "kind": "folder", "where": "anywhere"}
    settings = {"models": [theirs, "base", "sft"], "bootstrap_samples": 200, "overlays": 2}
    report(tmp_path, Config.model_validate({"evaluate": settings}))
    assert list(json.loads((tmp_path / "reports/metrics.json").read_text())) == ["theirs", "base"]
    assert list(json.loads((tmp_path / "reports/differences.json").read_text())) == ["base-theirs"]
    text = Outline((tmp_path / "reports/report.html").read_text()).text
    assert "Base − Their <model>" in text and "SFT + RL" not in text.partition("Configuration")[0]


def test_the_numbers_do_not_depend_on_the_hour(root: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(root / "data", tmp_path / "data")).parent
    report(copy)
    for name in ("metrics.json", "differences.json"):
        assert (copy / "reports" / name).read_text() == (root / "reports" / name).read_text()


def test_no_predictions_is_an_error_with_its_cure(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="stage evaluate"):
        report(tmp_path)


def test_models_that_answered_different_queries_are_refused(tmp_path: Path) -> None:
    fabricate(tmp_path, ("base", "sft"))
    file = tmp_path / "data/predictions/sft/refshapes-val.parquet"
    write_table(read_rows(file, PREDICTIONS)[1:], PREDICTIONS, file)
    with pytest.raises(ValueError, match="different queries"):
        report(tmp_path)


def test_a_browser_draws_the_page_without_complaint(root: Path, tmp_path: Path) -> None:
    picture = tmp_path / "page.png"
    options: list[Any] = ["--headless", "--disable-gpu", "--no-sandbox", "--enable-logging=stderr", "--v=0"]
    command = [chromium(), *options, f"--user-data-dir={tmp_path}/profile", f"--screenshot={picture}"]
    page = (root / "reports/report.html").as_uri()
    done = subprocess.run([*command, page], capture_output=True, text=True, timeout=240, check=True)
    assert picture.stat().st_size > 10_000
    assert "CONSOLE" not in done.stderr
