"""What vLLM warns of although nothing is wrong, on the CPU and where weights are loaded into a running engine."""

import logging
import re

_RELOAD = "vllm.model_executor.model_loader.reload.layerwise"
_HARMLESS = {
    "vllm.engine.arg_utils": "The global random seed is set",
    "vllm.config.vllm": "Enforce eager set|Inductor compilation was disabled|Model Runner V2 requires Triton",
    "vllm.platforms.cpu": "Triton is not installed|Reset SSM cache type",
    "vllm.v1.worker.cpu_worker": "lib(tcmalloc|iomp) is not found|CPU backend doesn't allow to use",
    # Tables, which no checkpoint holds.
    _RELOAD: r"(FusedMMInputNorm|M?RotaryEmbedding): Failed to load weights",
}
_TIED = {_RELOAD: "ParallelLMHead: Failed to load weights"}
"""Nothing is wrong with this where the head is the embedding; elsewhere everything is."""


def hush_vllm(*, tied_head: bool) -> None:
    """Leave out the messages that mean nothing for a model whose head is, or is not, its embedding; all others stay."""
    for name, harmless in _HARMLESS.items():
        logger = logging.getLogger(name)
        for former in [each for each in logger.filters if isinstance(each, _Harmless)]:
            logger.removeFilter(former)
        tied = f"|{_TIED[name]}" if tied_head and name in _TIED else ""
        logger.addFilter(_Harmless(harmless + tied))


class _Harmless(logging.Filter):
    def __init__(self, pattern: str) -> None:
        super().__init__()
        self._pattern = re.compile(pattern)

    def filter(self, record: logging.LogRecord) -> bool:
        return self._pattern.match(record.getMessage()) is None
