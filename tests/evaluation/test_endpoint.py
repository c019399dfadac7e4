"""Answers over OpenAI's protocol, from vLLM's own server."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from simpleseg_core.config.evaluation import ModelUnderTest
from simpleseg_core.data.shards import ImageStore
from simpleseg_core.evaluation import endpoint
from simpleseg_core.evaluation.answers import EngineAnswers
from simpleseg_core.evaluation.endpoint import EndpointAnswers
from simpleseg_core.rollout import EngineSettings, Sampling, transformers_engine
from tests.evaluation.fabricated import write_benchmark

PATIENCE_S = 240


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture(scope="module")
def server(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of `vllm serve` with the tiny checkpoint."""
    port, log = free_port(), tmp_path_factory.mktemp("server") / "log"
    options = {
        "--host": "127.0.0.1", "--port": port, "--dtype": "float32", "--max-model-len": 512, "--max-num-seqs": 8,
        "--model": tiny_checkpoint, "--served-model-name": "tiny",
    }  # fmt: skip
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--enforce-eager"]
    arguments = [str(part) for pair in options.items() for part in pair]
    with log.open("w") as out:
        process = subprocess.Popen(
            [*command, *arguments], stdout=out, stderr=out, env=os.environ | {"VLLM_CPU_KVCACHE_SPACE": "1"}
        )
    try:
        wait_for(f"http://127.0.0.1:{port}/health", process, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(30)


def wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end and process.poll() is None:
        try:
            httpx.get(address, timeout=5).raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.2)
        else:
            return
    pytest.fail(f"no server: {log.read_text()[-3000:]}")


@pytest.fixture
def prompts(tmp_path: Path) -> list[dict[str, Any]]:
    return write_benchmark(tmp_path, "val", 3)


def test_a_server_answers_as_the_engine_does(
    server: str, prompts: list[dict[str, Any]], tmp_path: Path, tiny_checkpoint: Path
) -> None:
    model = ModelUnderTest(name="theirs", kind="endpoint", where=server)
    images = ImageStore(tmp_path)
    over_http = EndpointAnswers(model, images, max_tokens=24, at_once=2).answer(prompts)
    engine = transformers_engine(str(tiny_checkpoint), EngineSettings(max_length=512))
    here = EngineAnswers(engine, images, Sampling(max_tokens=24)).answer(prompts)
    assert [answer.tokens for answer in over_http] == [answer.tokens for answer in here]
    assert [answer.text for answer in over_http] == [answer.text for answer in here]


def test_a_model_that_is_not_served_is_named(server: str, prompts: list[dict[str, Any]], tmp_path: Path) -> None:
    model = ModelUnderTest(name="theirs", kind="endpoint", where=server, served="another")
    with pytest.raises(ConnectionError, match=r"theirs does not answer .*another.* where and served"):
        EndpointAnswers(model, ImageStore(tmp_path), max_tokens=24, at_once=2).answer(prompts)


def test_a_server_that_is_away_is_named(
    prompts: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "_RETRIES", 1)
    model = ModelUnderTest(name="theirs", kind="endpoint", where=f"http://127.0.0.1:{free_port()}/v1")
    with pytest.raises(ConnectionError, match=r"127\.0\.0\.1.*start it, or correct"):
        EndpointAnswers(model, ImageStore(tmp_path), max_tokens=24, at_once=2).answer(prompts)
