"""The transformers engine: slow, simple, and the reference for the other one."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from simpleseg_core.models.auto import read_model, read_processor
from simpleseg_core.models.loading import DTYPES
from simpleseg_core.rollout._generate import Generator
from simpleseg_core.rollout._protocol import Completion, EngineSettings, Request, Sampling, State
from simpleseg_core.rollout._weights import read_weights


class TransformersEngine:
    """`Rollout` on `model.generate`."""

    def __init__(self, model_dir: str, settings: EngineSettings) -> None:
        self._settings = settings
        trust = settings.trust_remote_code
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        model = read_model(model_dir, trust, dtype=DTYPES[settings.dtype])
        processor = read_processor(model_dir, trust, **settings.image_bounds)
        self._generator = Generator(self._placed(model), processor)

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[list[Completion]]:
        size = max(1, self._settings.max_num_seqs // sampling.n)
        parts = [requests[i : i + size] for i in range(0, len(requests), size)]
        with _seeded(sampling.seed, self._device):
            return [answers for part in parts for answers in self._generator.generate(part, sampling)]

    def load_weights(self, source: Path | State) -> None:
        state = source if isinstance(source, Mapping) else dict(read_weights(source))
        # Through from_pretrained, which knows both the names of checkpoints and those of modules.
        kind, config = type(self._generator.model), self._generator.model.config
        model = kind.from_pretrained(None, config=config, state_dict=state, dtype=DTYPES[self._settings.dtype])
        self._generator.model = self._placed(model)

    def close(self) -> None:
        self._generator.model = None

    def _placed(self, model: Any) -> Any:
        return model.to(self._device).eval()


@contextmanager
def _seeded(seed: int | None, device: torch.device) -> Iterator[None]:
    """Draw from a seed and leave the caller's random numbers as they were."""
    if seed is None:
        yield
        return
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
