"""Process defaults: silent by default, the user's own settings win, and workers get the same."""

import os
import subprocess
import sys

import pytest

from simpleseg_core.environment import apply_defaults, forget_ray_key, worker_env

_TELEMETRY = ("DO_NOT_TRACK", "DVC_NO_ANALYTICS", "MLFLOW_DISABLE_TELEMETRY", "RAY_USAGE_STATS_ENABLED")


def _in_bare_interpreter(code: str, **variables: str) -> str:
    environment = {"PATH": os.environ["PATH"], **variables}
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


@pytest.mark.parametrize(
    ("given", "exempt"),
    [
        ({"http_proxy": "http://proxy.test:3128"}, "127.0.0.1,localhost,::1"),
        ({"ALL_PROXY": "socks5://proxy.test", "NO_PROXY": "a.test, b.test"}, "a.test,b.test,127.0.0.1,localhost,::1"),
        ({"https_proxy": "http://proxy.test", "no_proxy": "localhost"}, "localhost,127.0.0.1,::1"),
        ({"http_proxy": "http://proxy.test", "no_proxy": "*"}, "*"),
        ({"no_proxy": "a.test"}, "a.test"),
        ({}, None),
    ],
)
def test_no_interpreter_asks_a_proxy_for_its_own_machine(given: dict[str, str], exempt: str | None) -> None:
    code = "import os, urllib.request as r; print(os.environ.get('no_proxy', os.environ.get('NO_PROXY')));"
    said = _in_bare_interpreter(code + "print(r.getproxies() == {} or r.proxy_bypass('127.0.0.1:4200'))", **given)
    assert said.splitlines()[0] == str(exempt)
    assert given.keys() <= {"no_proxy"} or said.splitlines()[1] in ("1", "True")


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


def test_a_local_ray_has_a_key_and_a_cluster_of_others_is_asked_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "SIMPLESEG_RAY_KEY"):
        monkeypatch.delenv(name, raising=False)
    apply_defaults()
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert len(os.environ["RAY_AUTH_TOKEN"]) == 64
    forget_ray_key()
    assert os.environ["RAY_AUTH_MODE"] == "disabled"
    assert "RAY_AUTH_TOKEN" not in os.environ


def test_a_key_that_the_user_has_exported_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SIMPLESEG_RAY_KEY", raising=False)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "mine")
    apply_defaults()
    forget_ray_key()
    assert (os.environ["RAY_AUTH_MODE"], os.environ["RAY_AUTH_TOKEN"]) == ("token", "mine")
