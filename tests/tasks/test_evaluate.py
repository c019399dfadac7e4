"""The evaluate stage with random models: every answer is kept with its score, and nothing is answered twice."""

import re
import shutil
from pathlib import Path
from shutil import copytree

import pytest
import torch

from simpleseg_core.config import Config, EvaluateConfig
from simpleseg_core.contract import Context, StageResult
from simpleseg_core.data.records import PREDICTIONS, PROMPTS, read_rows
from simpleseg_core.evaluation import engines
from simpleseg_core.models.loading import save_checkpoint
from simpleseg_core.models.nano import build_nano
from simpleseg_core.rollout import Rollout
from tasks.evaluate import run
from tests.evaluation.fabricated import write_benchmark
from tests.tiny import TINY

SETTINGS = EvaluateConfig(engine="transformers", models=("base", "sft"), max_tokens=12, max_num_seqs=1)


def changed(**changes: object) -> EvaluateConfig:
    return EvaluateConfig.model_validate({**SETTINGS.model_dump(), **changes})


QUERIES = {"val": 5, "testA": 2}


def save_random_model(folder: Path, seed: int) -> None:
    """A model whose answers depend on its seed; with norms of one, tied embeddings would repeat the last token."""
    model, processor = build_nano(TINY, seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter))
    save_checkpoint(model, processor, folder)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, StageResult]:
    """Two small benchmarks, two random models of one architecture, and what the stage made of them."""
    root = tmp_path_factory.mktemp("evaluate")
    for split, count in QUERIES.items():
        write_benchmark(root / "data", split, count)
    for seed, name in enumerate(("pretrain", "sft")):
        save_random_model(root / "models" / name, seed)
    return root, evaluate(root)


@pytest.fixture
def root(evaluated: tuple[Path, StageResult], tmp_path: Path) -> Path:
    """A copy of the evaluated run."""
    return Path(copytree(evaluated[0], tmp_path / "run"))


class Opened(list[str]):
    """Names of the folders that engines were started from."""

    def open(self, name: str, model_dir: str, settings: object) -> Rollout:
        self.append(Path(model_dir).name)
        return self.original(name, model_dir, settings)  # type: ignore[no-any-return]

    original = staticmethod(engines.open_engine)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Opened:
    watch = Opened()
    monkeypatch.setattr(engines, "open_engine", watch.open)
    return watch


def evaluate(root: Path, settings: EvaluateConfig = SETTINGS) -> StageResult:
    data, models = root / "data", root / "models"
    return run(
        Config(model=TINY, evaluate=settings),
        {
            "images": data / "images",
            "dataset": data / "dataset",
            "pretrain": models / "pretrain",
            "sft": models / "sft",
            "rl": models / "rl",
        },
        {"predictions": data / "predictions"},
        Context(work=root / "work"),
    )


def answers(root: Path, model: str) -> list[str]:
    return [row["answer"] for row in read_rows(root / f"data/predictions/{model}/refshapes-val.parquet", PREDICTIONS)]


def written(root: Path) -> list[str]:
    folder = root / "data" / "predictions"
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())


def test_every_query_of_every_benchmark_is_answered_by_every_model(evaluated: tuple[Path, StageResult]) -> None:
    root, result = evaluated
    for model in ("base", "sft"):
        for split, count in QUERIES.items():
            rows = read_rows(root / f"data/predictions/{model}/refshapes-{split}.parquet", PREDICTIONS)
            prompts = read_rows(root / f"data/dataset/benchmarks/refshapes-{split}.parquet", PROMPTS)
            assert [row["sample"] for row in rows] == [prompt["sample"] for prompt in prompts]
            assert len(rows) == count
            assert {row["model"] for row in rows} == {model}
            assert all(0 <= row["tokens"] <= SETTINGS.max_tokens for row in rows)
            assert 0 <= result.metrics[f"{model}/refshapes-{split}/giou"] <= 100
    assert all(sheet.is_file() for sheet in result.images.values())


def test_models_that_shared_an_engine_gave_their_own_answers(root: Path, opened: Opened) -> None:
    shared = answers(root, "sft")
    assert shared != answers(root, "base")
    shutil.rmtree(root / "data" / "predictions")
    evaluate(root, changed(models=("sft",)))
    assert answers(root, "sft") == shared, "as if it had been alone"
    evaluate(root)
    assert opened == ["sft", "pretrain"], "one engine for each run"
    assert answers(root, "sft") == shared


def test_a_second_run_answers_nothing_again(root: Path, evaluated: tuple[Path, StageResult], opened: Opened) -> None:
    assert evaluate(root).metrics == evaluated[1].metrics
    assert not opened


def test_only_what_an_interruption_left_out_is_answered(root: Path, opened: Opened) -> None:
    kept = root / "data/predictions/sft/refshapes-val.parquet"
    lost = root / "data/predictions/sft/refshapes-testA.parquet"
    before = kept.stat().st_mtime_ns
    lost.unlink()
    evaluate(root)
    assert lost.is_file()
    assert kept.stat().st_mtime_ns == before
    assert opened == ["sft"]


def test_new_weights_are_evaluated_again_and_others_are_not(root: Path, opened: Opened) -> None:
    untouched = root / "data/predictions/base/refshapes-val.parquet"
    before, old = untouched.stat().st_mtime_ns, answers(root, "sft")
    save_random_model(root / "models" / "sft", seed=2)
    evaluate(root)
    assert answers(root, "sft") != old
    assert untouched.stat().st_mtime_ns == before
    assert opened == ["sft"]


def test_predictions_that_are_no_longer_asked_for_are_removed(root: Path) -> None:
    (root / "data/dataset/benchmarks/refshapes-testA.parquet").unlink()
    evaluate(root, changed(models=("base",)))
    assert written(root) == ["base/refshapes-val.parquet", "base/refshapes-val.png"]


def test_constrained_answers_start_as_answers_must(root: Path) -> None:
    (root / "data/dataset/benchmarks/refshapes-val.parquet").unlink()
    evaluate(root, changed(constrained=True, models=("base",)))
    rows = read_rows(root / "data/predictions/base/refshapes-testA.parquet", PREDICTIONS)
    assert all(re.match(r"\[(\]$|\[\[\d)", row["answer"]) for row in rows)


def test_a_folder_without_weights_is_named_before_anything_starts(root: Path, opened: Opened) -> None:
    with pytest.raises(FileNotFoundError, match=r"models/rl: no weights"):
        evaluate(root, changed(models=("base", "rl")))
    assert not opened


def test_prompts_that_leave_no_room_for_an_answer_are_told_before_anything_starts(root: Path, opened: Opened) -> None:
    with pytest.raises(
        ValueError, match=r"evaluate\.max_length 90: the longest prompt of base has (\d+) tokens"
    ) as error:
        evaluate(root, changed(max_tokens=80, max_length=90))
    needed = int(re.findall(r"raise the one to (\d+)", str(error.value))[0])
    assert not opened
    evaluate(root, changed(max_tokens=12, max_length=needed - 80 + 12))


def test_no_benchmark_is_an_error_with_its_cure(root: Path) -> None:
    for file in (root / "data/dataset/benchmarks").iterdir():
        file.unlink()
    with pytest.raises(FileNotFoundError, match="stage dataset"):
        evaluate(root)


@pytest.fixture
def hub(root: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The id of a model that the hub's cache holds."""
    repository = root / "hub" / "models--somebody--model"
    copytree(root / "models" / "sft", repository / "snapshots" / "abc")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(root / "hub"))
    return "somebody/model"


def test_a_folder_and_a_model_of_the_hub_are_tested_like_our_own(root: Path, hub: str) -> None:
    theirs = {"name": "theirs", "kind": "folder", "where": str(copytree(root / "models" / "pretrain", root / "theirs"))}
    result = evaluate(root, changed(models=[theirs, {"name": "hubs", "kind": "hub", "where": hub}, "sft"]))
    assert {name.partition("/")[0] for name in result.metrics} == {"theirs", "hubs", "sft"}
    assert answers(root, "hubs") == answers(root, "sft") != answers(root, "theirs")
    assert not (root / "data/predictions/base").exists()


def test_weights_that_are_nowhere_are_named_before_anything_starts(root: Path, hub: str, opened: Opened) -> None:
    for kind, where, said in (
        ("hub", "nobody/none", "nobody/none: neither in the hub's cache nor to be fetched"),
        ("folder", str(root / "none"), "none: no weights .* of the model it here"),
    ):
        with pytest.raises(FileNotFoundError, match=said):
            evaluate(root, changed(models=["sft", {"name": "it", "kind": kind, "where": where}]))
    assert not opened


def test_a_model_of_an_unknown_architecture_keeps_its_own_bounds_on_images(root: Path) -> None:
    config, folder = Config(model=TINY, evaluate=SETTINGS), root / "models" / "sft"
    ours = engines._settings(config, folder)
    assert ours == engines.engine_settings(SETTINGS, TINY)
    file = folder / "config.json"
    file.write_text(file.read_text().replace('"model_type": "qwen2_5_vl"', '"model_type": "kimi_vl"'))
    assert engines._settings(config, folder).image_bounds.keys() == {"max_pixels"}
    file.write_text(file.read_text().replace('"model_type": "kimi_vl"', '"model_type": "llava"'))
    assert engines._settings(config, folder).image_bounds == {}
