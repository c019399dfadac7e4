"""How fast a run is, and where its time goes.

Model FLOPs are those of the weights' products: 2 for each weight and token forward, 2 more to hand the gradient on, 2
more where the weight is trained (PaLM, arXiv 2204.02311, appendix B). Attention's own products and what is computed
twice to save memory do not count, nor does the projector, so that MFU says how much of the hardware goes into learning.
"""

import resource
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from simpleseg_core.training.collate import IGNORE, Batch
from simpleseg_core.training.parts import ModelPart, parameters_by_part

T = TypeVar("T")

PEAK_TFLOPS = {
    "B200": 2250, "H200": 989, "H100": 989, "A100": 312, "L40S": 362, "L4": 121, "RTX 4090": 165, "RTX 3090": 71,
}  # fmt: skip
"""Dense bfloat16, by what is in the name of the device; from the manufacturer's data sheets."""
_GIB = 2**30


@dataclass(frozen=True, slots=True)
class Work:
    """What a step went through."""

    samples: float = 0.0
    tokens: float = 0.0
    """Of text and image, padding excluded."""
    answer_tokens: float = 0.0
    patches: float = 0.0
    """What the vision tower sees of the images."""

    @classmethod
    def of(cls, batches: Sequence[Batch], samples: float) -> "Work":
        """Of a worker's micro-batches, which hold so many conversations, packed or not."""
        return cls(
            samples,
            sum(_tokens(batch) for batch in batches),
            sum(float((batch.labels != IGNORE).sum()) for batch in batches),
            sum(float(len(batch.inputs["pixel_values"])) for batch in batches),
        )

    def __add__(self, other: "Work") -> "Work":
        return Work(
            self.samples + other.samples,
            self.tokens + other.tokens,
            self.answer_tokens + other.answer_tokens,
            self.patches + other.patches,
        )


def _tokens(batch: Batch) -> float:
    """Packed rows have no mask, and hardly any padding."""
    told = batch.inputs.get("attention_mask")
    return float(batch.inputs["input_ids"].numel() if told is None else told.sum())


@dataclass(frozen=True, slots=True)
class Sizes:
    """FLOPs of a model for each thing that goes through it."""

    per_token: float
    per_answer_token: float
    per_patch: float

    @classmethod
    def of(cls, model: Any) -> "Sizes":
        """Of a model, sharded or not, with what of it is trained."""
        flops: Counter[ModelPart] = Counter()
        head = model.get_output_embeddings().weight
        words = {id(head), id(model.get_input_embeddings().weight)}
        for part, _, weight in parameters_by_part(model):
            if id(weight) not in words:
                behind = 2 if part == "language" or weight.requires_grad else 0
                flops[part] += weight.numel() * (2 + behind + 2 * weight.requires_grad)
        return cls(flops["language"], head.numel() * (4 + 2 * head.requires_grad), flops["vision"])

    def of_work(self, work: Work) -> float:
        """FLOPs of a step."""
        return self.per_token * work.tokens + self.per_answer_token * work.answer_tokens + self.per_patch * work.patches


class Throughput:
    """Watches the steps between two reports."""

    def __init__(self, sizes: Sizes, device: torch.device, dtype: torch.dtype, workers: int) -> None:
        """
        Args:
            device: of this worker; its memory is what is reported.
            dtype: what is computed in; peaks of devices are known in bfloat16.
            workers: over which the work is spread.
        """
        self._sizes, self._device, self._workers = sizes, device, workers
        self._peak = _peak(device) if dtype is torch.bfloat16 else None
        self._began, self._waited, self._work = time.perf_counter(), 0.0, Work()

    def waiting(self, items: Iterable[T]) -> Iterator[T]:
        """The items; the time until each is there counts as waiting for data."""
        iterator = iter(items)
        while True:
            began = time.perf_counter()
            try:
                item = next(iterator)
            except StopIteration:
                return
            self._waited += time.perf_counter() - began
            yield item

    def done(self, work: Work) -> None:
        """A step over all workers is done."""
        self._work += work

    def close(self) -> dict[str, float]:
        """What was measured since the last time.

        Returns:
            samples_per_s, tokens_per_s, answer_tokens_per_s: over all workers.
            data_wait: share of the time in which this worker waited for its batches.
            tflops: model TFLOP/s of a worker; mfu: its share of the device's peak, where that is known.
            peak_memory_gib: most that this worker has used so far, on its GPU where it has one.
        """
        seconds, work = time.perf_counter() - self._began, self._work
        tflops = self._sizes.of_work(work) / seconds / self._workers / 1e12
        found = {
            "samples_per_s": work.samples / seconds,
            "tokens_per_s": work.tokens / seconds,
            "answer_tokens_per_s": work.answer_tokens / seconds,
            "data_wait": self._waited / seconds,
            "tflops": tflops,
            "peak_memory_gib": _peak_memory(self._device) / _GIB,
        }
        self._began, self._waited, self._work = time.perf_counter(), 0.0, Work()
        return found | ({"mfu": tflops / self._peak} if self._peak else {})


def _peak(device: torch.device) -> float | None:
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((float(peak) for known, peak in PEAK_TFLOPS.items() if known in name), None)


def _peak_memory(device: torch.device) -> float:
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0
