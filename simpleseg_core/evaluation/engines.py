"""Engines for several models in turn: those of one architecture share one, for loading weights beats starting again."""

from pathlib import Path
from types import TracebackType

from simpleseg_core.config import Config
from simpleseg_core.rollout import EngineSettings, Rollout, open_engine


class EnginePool:
    """Holds one engine at a time; a context manager that closes it."""

    def __init__(self, config: Config) -> None:
        self._name = config.evaluate.engine
        self._settings = engine_settings(config)
        self._engine: Rollout | None = None
        self._weights: Path | None = None

    def of(self, weights: Path) -> Rollout:
        """An engine that holds the weights of a checkpoint folder; the one handed out before is no longer valid."""
        if self._engine is None or self._weights is None or not _alike(weights, self._weights):
            self.close()
            self._engine = open_engine(self._name, str(weights), self._settings)
        elif weights != self._weights:
            self._engine.load_weights(weights)
        self._weights = weights
        return self._engine

    def close(self) -> None:
        """Free the memory of the engine, if there is one."""
        if self._engine is not None:
            self._engine.close()
        self._engine, self._weights = None, None

    def __enter__(self) -> "EnginePool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def engine_settings(config: Config) -> EngineSettings:
    """How the engine of `evaluate` uses the machine."""
    section = config.evaluate
    return EngineSettings(
        dtype=config.model.dtype,
        max_length=section.max_length,
        max_num_seqs=section.max_num_seqs,
        kv_cache_mib=section.kv_cache_mib,
        gpu_memory_utilization=section.gpu_memory_utilization,
        tensor_parallel=section.tensor_parallel,
        min_pixels=config.model.min_pixels,
        max_pixels=config.model.max_pixels,
        trust_remote_code=config.model.trust_remote_code,
    )


def _alike(first: Path, second: Path) -> bool:
    """Whether two checkpoints differ in their weights only."""
    return all(_text(first / name) == _text(second / name) for name in ("config.json", "tokenizer.json"))


def _text(file: Path) -> str | None:
    return file.read_text() if file.is_file() else None
