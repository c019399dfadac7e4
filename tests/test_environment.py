"""Process defaults: silent by default, the user's own settings win, and workers get the same."""

import os
import subprocess
import sys

import pytest

from simpleseg_core.environment import apply_defaults, worker_env

_TELEMETRY = ("DO_NOT_TRACK", "DVC_NO_ANALYTICS", "MLFLOW_DISABLE_TELEMETRY", "RAY_USAGE_STATS_ENABLED")


def _in_bare_interpreter(code: str) -> str:
    environment = {"PATH": os.environ["PATH"]}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    ).stdout.strip()


@pytest.mark.parametrize("name", _TELEMETRY)
def test_every_interpreter_of_the_environment_is_silent(name: str) -> None:
    assert _in_bare_interpreter(f"import os; print({name!r} in os.environ)") == "True"


@pytest.mark.parametrize(
    ("library", "enabled"),
    [
        ("vllm", "from vllm.usage.usage_lib import is_usage_stats_enabled as f; print(f())"),
        ("mlflow", "from mlflow.telemetry.utils import is_telemetry_disabled as f; print(not f())"),
        ("dvc", "from dvc.analytics import is_enabled as f; print(f())"),
        ("ray", "from ray._common.usage.usage_lib import usage_stats_enabled as f; print(f())"),
        ("prefect", "from prefect._internal.analytics.enabled import is_telemetry_enabled as f; print(f())"),
    ],
)
def test_each_library_agrees_that_its_telemetry_is_off(library: str, enabled: str) -> None:
    assert _in_bare_interpreter(enabled).splitlines()[-1] == "False", library


def test_what_the_user_has_exported_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_LOGGING_LEVEL", "DEBUG")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    apply_defaults(threads=2)
    assert os.environ["VLLM_LOGGING_LEVEL"] == "DEBUG"
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert worker_env()["VLLM_LOGGING_LEVEL"] == "DEBUG"


def test_workers_get_the_threads_they_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert worker_env(threads=3)["OMP_NUM_THREADS"] == "3"


def test_the_hub_is_closed_only_when_asked() -> None:
    assert "HF_HUB_OFFLINE" not in worker_env()
    assert worker_env(offline=True)["HF_HUB_OFFLINE"] == "1"
