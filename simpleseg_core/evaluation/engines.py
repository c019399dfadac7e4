"""Engines for several models in turn: those of one architecture share one, for loading weights beats starting again."""

import json
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from simpleseg_core.config import Config, ModelConfig
from simpleseg_core.models.architectures import architecture_of
from simpleseg_core.rollout import EngineSettings, Rollout, engine_settings, open_engine

_READ_ONCE = (".json", ".jinja", ".model", ".py", ".tiktoken", ".txt")


class SharedEngine:
    """Holds one engine at a time; a context manager that closes it."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._engine: Rollout | None = None
        self._weights: Path | None = None

    def of(self, weights: Path) -> Rollout:
        """An engine that holds the weights of a checkpoint folder; the one handed out before is no longer valid."""
        if self._engine is None or self._weights is None or not _alike(weights, self._weights):
            self.close()
            self._engine = open_engine(self._config.evaluate.engine, str(weights), _settings(self._config, weights))
        elif weights != self._weights:
            self._engine.load_weights(weights)
        self._weights = weights
        return self._engine

    def close(self) -> None:
        """Free the memory of the engine, if there is one."""
        if self._engine is not None:
            self._engine.close()
        self._engine, self._weights = None, None

    def __enter__(self) -> "SharedEngine":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def own_model(model: ModelConfig, weights: Path) -> ModelConfig | None:
    """The configured model as that of a checkpoint, whose architecture may be another; None where it is unknown."""
    try:
        own = architecture_of(json.loads((weights / "config.json").read_text(encoding="utf-8")).get("model_type", ""))
    except ValueError:
        return None
    return model.model_copy(update={"architecture": own.name})


def _settings(config: Config, weights: Path) -> EngineSettings:
    """Settings for a checkpoint: bounds on images in the words of its architecture, its own where that is unknown."""
    if (model := own_model(config.model, weights)) is None:
        return replace(engine_settings(config.evaluate, config.model), image_bounds={})
    return engine_settings(config.evaluate, model)


def _alike(first: Path, second: Path) -> bool:
    """Whether two checkpoints differ in their weights only."""
    return _beside_weights(first) == _beside_weights(second)


def _beside_weights(folder: Path) -> dict[str, bytes]:
    """What an engine reads once, when it starts: shape, tokens, chat template, image bounds, ends of answers, code."""
    files = [file for file in folder.iterdir() if file.suffix in _READ_ONCE and ".safetensors" not in file.name]
    return {file.name: file.read_bytes() for file in files}
