"""Both engines on a model with random weights, and questions for them."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from simpleseg_core.rollout import EngineSettings, Request, Rollout, transformers_engine, vllm_engine

SETTINGS = EngineSettings(max_length=256, max_num_seqs=32, kv_cache_mib=64)


@pytest.fixture(scope="session")
def vllm(tiny_checkpoint: Path) -> Iterator[Rollout]:
    engine = vllm_engine(str(tiny_checkpoint), SETTINGS)
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def reference(tiny_checkpoint: Path) -> Rollout:
    return transformers_engine(str(tiny_checkpoint), SETTINGS)


@pytest.fixture(scope="session")
def requests_() -> list[Request]:
    """Questions of different lengths about images of different content."""
    random = np.random.default_rng(0)
    images = [Image.fromarray(random.integers(0, 255, (64, 64, 3), dtype=np.uint8)) for _ in range(4)]
    questions = ["outline of the red circle", "where", "outline of the biggest blue square left of it", "box of it?"]
    return [Request(image, question) for image, question in zip(images, questions, strict=True)]
