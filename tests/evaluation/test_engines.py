"""One engine answers for several models only where nothing but their weights differs."""

from pathlib import Path
from shutil import copytree

import pytest

from simpleseg_core.config import Config, EvaluateConfig
from simpleseg_core.evaluation.engines import SharedEngine
from tests.tiny import TINY

CONFIG = Config(model=TINY, evaluate=EvaluateConfig(engine="transformers"))


@pytest.fixture
def other(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    return Path(copytree(tiny_checkpoint, tmp_path / "other"))


def shared(first: Path, second: Path) -> bool:
    with SharedEngine(CONFIG) as engines:
        return engines.of(first) is engines.of(second)


def test_weights_alone_need_no_new_engine(tiny_checkpoint: Path, other: Path) -> None:
    (other / "model.safetensors.index.json").write_text("{}")  # how the weights are split into files
    (other / "README.md").write_text("a model card")
    assert shared(tiny_checkpoint, other)


@pytest.mark.parametrize(
    "name",
    [
        "chat_template.jinja", "config.json", "generation_config.json", "processor_config.json", "tokenizer.json",
        "tokenizer_config.json",
    ],
)  # fmt: skip
def test_any_other_file_that_an_engine_reads_needs_a_new_one(tiny_checkpoint: Path, other: Path, name: str) -> None:
    with (other / name).open("a") as file:
        file.write("\n")
    assert not shared(tiny_checkpoint, other)


def test_so_does_a_file_that_only_one_of_them_has(tiny_checkpoint: Path, other: Path) -> None:
    (other / "modeling_other.py").write_text("")
    assert not shared(tiny_checkpoint, other)
