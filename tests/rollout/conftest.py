"""Both engines on a model with random weights, and questions for them."""

import json
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
from PIL import Image

from simpleseg_core.rollout import EngineSettings, Request, Rollout, transformers_engine, vllm_engine

SETTINGS = EngineSettings(max_length=256, max_num_seqs=32, kv_cache_mib=64)


SHIPPED = {
    "do_sample": True, "temperature": 0.1, "top_k": 1, "top_p": 0.001, "repetition_penalty": 3.0,
    "no_repeat_ngram_size": 1, "min_new_tokens": 9, "max_new_tokens": 4,
}  # fmt: skip
"""Sampling defaults as published models bring them, strong enough to change every answer."""


@pytest.fixture(scope="session")
def checkpoint(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with sampling defaults of its own, which no engine may follow."""
    folder = Path(copytree(tiny_checkpoint, tmp_path_factory.mktemp("shipped") / "tiny"))
    file = folder / "generation_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | SHIPPED))
    return folder


@pytest.fixture(scope="session")
def vllm(checkpoint: Path) -> Iterator[Rollout]:
    engine = vllm_engine(str(checkpoint), SETTINGS)
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def reference(checkpoint: Path) -> Rollout:
    return transformers_engine(str(checkpoint), SETTINGS)


@pytest.fixture(scope="session")
def requests_() -> list[Request]:
    """Questions of different lengths about images of different content."""
    random = np.random.default_rng(0)
    images = [Image.fromarray(random.integers(0, 255, (64, 64, 3), dtype=np.uint8)) for _ in range(4)]
    questions = ["outline of the red circle", "where", "outline of the biggest blue square left of it", "box of it?"]
    return [Request(image, question) for image, question in zip(images, questions, strict=True)]
