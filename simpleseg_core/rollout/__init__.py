"""Generation of answers: one protocol, the vLLM engine, its reference in transformers, and the transfer of weights."""

from simpleseg_core.rollout._generate import Generator
from simpleseg_core.rollout._protocol import Completion, EngineSettings, Request, Rollout, Sampling, State
from simpleseg_core.rollout._settings import describer_settings, engine_settings
from simpleseg_core.rollout._vocabulary import forbidden_ids, stop_ids
from simpleseg_core.rollout._weights import Packed, pack_weights, read_weights, write_weights

__all__ = [
    "Completion", "EngineSettings", "Generator", "Packed", "Request", "Rollout", "Sampling", "State",
    "describer_settings", "engine_settings", "forbidden_ids", "open_engine", "pack_weights", "read_weights", "stop_ids",
    "transformers_engine", "vllm_engine", "write_weights",
]  # fmt: skip


def vllm_engine(model_dir: str, settings: EngineSettings | None = None) -> Rollout:
    """vLLM in this process, on the GPU or the CPU; imports vLLM only now."""
    from simpleseg_core.rollout._vllm import VllmEngine

    return VllmEngine(str(model_dir), settings or EngineSettings())


def transformers_engine(model_dir: str, settings: EngineSettings | None = None) -> Rollout:
    """The reference: transformers' own `generate`."""
    from simpleseg_core.rollout._transformers import TransformersEngine

    return TransformersEngine(str(model_dir), settings or EngineSettings())


def open_engine(name: str, model_dir: str, settings: EngineSettings | None = None) -> Rollout:
    """The engine of a configuration's `engine` key.

    Raises:
        ValueError: no engine of that name.
    """
    engines = {"vllm": vllm_engine, "transformers": transformers_engine}
    if name not in engines:
        raise ValueError(f"engine: {name!r} is not one of {', '.join(engines)}")
    return engines[name](model_dir, settings)
