"""Process-wide defaults, set before heavy libraries are imported: silence towards vendors, threads, CPU workarounds.

Every default is a `setdefault`: what the user has exported wins.
"""

import os
from pathlib import Path
from secrets import token_hex

_TELEMETRY_OFF = {
    "DO_NOT_TRACK": "1",  # the common convention: Prefect, vLLM, Hugging Face
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "RAY_USAGE_STATS_ENABLED": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "DVC_NO_ANALYTICS": "1",
    "ITERATIVE_DO_NOT_TRACK": "1",  # the collector that DVC's sister packages share
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}

_LOCAL_SERVICES = {
    # Ray must not hide the GPUs from a task that asked for none; 2.60 warns until the new behaviour is chosen.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # Ray's agents would otherwise write their titles over their environment, which says whose they are.
    "SPT_NOENV": "1",
    # One more process for each training, which tells it to save in time; ours save often and go on from there.
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    # How soon the end of a training is noticed; Ray's 2 s are as long as a small stage.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    # The temporary server of a flow without a server: its first start, on a busy laptop, takes more than 20 s.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    # Job execution starts seven more processes beside the MLflow UI, for features that we do not use.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}

_LIBRARIES = {
    # One process holds the engine: the multiprocess mode takes 20 s to start and buys nothing for one engine.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_LOGGING_LEVEL": "WARNING",
    # A thread that waits must soon sleep: with two processes on two cores, spinning takes the time of whoever works.
    # Not at once, though: the next operation is microseconds away (a step of SFT takes 1.33 s instead of 1.62 s).
    "GOMP_SPINCOUNT": "10000",
    # Tokenising in threads and forking do not go together, and our texts are short.
    "TOKENIZERS_PARALLELISM": "false",
    # Bars of single weights say nothing, and a log gets every one of their lines.
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    # Figures go to files; a backend that asks for a screen would fail on a server.
    "MPLBACKEND": "Agg",
}

_RAY_KEY = "SIMPLESEG_RAY_KEY"
"""Tells a key of ours from one that the user has exported."""
_PROXIED = ("http_proxy", "https_proxy", "all_proxy", "ws_proxy", "grpc_proxy")
_EXEMPT = ("no_proxy", "NO_PROXY")
LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")
"""Where our own processes find each other; a proxy would look for them on its own machine."""

_CPU_ONLY = {
    # torch.compile wants a C++ compiler, which a fresh machine may lack, and eager is as fast at nano scale.
    "TORCHDYNAMO_DISABLE": "1",
    # vLLM's kernels of latent attention take large models' sizes only; without them it is multiplied out.
    "VLLM_MLA_DISABLE": "1",
}


def has_gpu() -> bool:
    """Whether an NVIDIA driver answers on this machine, found out without importing torch."""
    return Path("/dev/nvidiactl").exists()


def silence_telemetry() -> None:
    """Stop every library of the stack from calling home, unless the user has said otherwise."""
    _set_defaults(_TELEMETRY_OFF)


def bypass_proxies(*hosts: str) -> None:
    """Where a proxy is set, let every library reach these hosts, and loopback, without it; what is exempt stays so."""
    if not any(os.environ.get(name) for scheme in _PROXIED for name in (scheme, scheme.upper())):
        return
    exempt = [host.strip() for name in _EXEMPT for host in os.environ.get(name, "").split(",") if host.strip()]
    if set(exempt) != {"*"}:
        value = ",".join(dict.fromkeys([*exempt, *LOOPBACK_HOSTS, *hosts]))
        os.environ.update(dict.fromkeys(_EXEMPT, value))


def apply_defaults(*, threads: int = 1, offline: bool = False) -> None:
    """Set the defaults in this process, before torch, vLLM, Ray, Prefect or MLflow are imported.

    Args:
        threads: OpenMP threads of this process.
        offline: never ask the Hugging Face hub; for profiles whose models are all local.
    """
    _set_defaults(_defaults() | _asked_for(threads, offline))
    _lock_ray()


def _lock_ray() -> None:
    """Let the processes of a local Ray answer only whoever has this key: its agents speak HTTP, as any web page can.

    Without a key in the environment Ray would write one into the home folder, which two users then fight over.
    """
    if "RAY_AUTH_MODE" not in os.environ:
        key = token_hex(32)
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": key, _RAY_KEY: key}


def forget_ray_key() -> None:
    """Speak to a cluster of others as they have set it up: with the user's key where one is exported, else without."""
    if os.environ.get(_RAY_KEY) and os.environ.pop(_RAY_KEY) == os.environ.get("RAY_AUTH_TOKEN"):
        del os.environ["RAY_AUTH_TOKEN"]
        os.environ["RAY_AUTH_MODE"] = "disabled"


def worker_env(*, threads: int = 1, offline: bool = False) -> dict[str, str]:
    """Variables for a process elsewhere: Ray's `runtime_env`, a subprocess. What the user has exported wins here too.

    One thread by default: OpenMP threads of two processes that share cores spin at each other's barriers, which makes
    vLLM on two cores some twenty times slower.
    """
    return {name: os.environ.get(name, value) for name, value in _defaults().items()} | _asked_for(threads, offline)


def _defaults() -> dict[str, str]:
    return _TELEMETRY_OFF | _LOCAL_SERVICES | _LIBRARIES | ({} if has_gpu() else _CPU_ONLY)


def _asked_for(threads: int, offline: bool) -> dict[str, str]:
    return {"OMP_NUM_THREADS": str(threads)} | ({"HF_HUB_OFFLINE": "1"} if offline else {})


def _set_defaults(defaults: dict[str, str]) -> None:
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
