"""Process-wide defaults, set before heavy libraries are imported: silence towards vendors, threads, CPU workarounds.

Every default is a `setdefault`: what the user has exported wins.
"""

import os
from pathlib import Path

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
    # Ray would otherwise write a token into the home folder, which two users of a machine then fight over.
    "RAY_AUTH_MODE": "disabled",
    # Ray must not hide the GPUs from a task that asked for none; 2.60 warns until the new behaviour is chosen.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
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
    # Figures go to files; a backend that asks for a screen would fail on a server.
    "MPLBACKEND": "Agg",
}

# On the CPU torch.compile wants a C++ compiler, which a fresh machine may lack, and eager is as fast at nano scale.
_CPU_ONLY = {"TORCHDYNAMO_DISABLE": "1"}


def has_gpu() -> bool:
    """Whether an NVIDIA driver answers on this machine, found out without importing torch."""
    return Path("/dev/nvidiactl").exists()


def silence_telemetry() -> None:
    """Stop every library of the stack from calling home, unless the user has said otherwise."""
    _set_defaults(_TELEMETRY_OFF)


def apply_defaults(*, threads: int = 1, offline: bool = False) -> None:
    """Set the defaults in this process, before torch, vLLM, Ray, Prefect or MLflow are imported.

    Args:
        threads: OpenMP threads of this process.
        offline: never ask the Hugging Face hub; for profiles whose models are all local.
    """
    _set_defaults(_defaults() | _asked_for(threads, offline))


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
