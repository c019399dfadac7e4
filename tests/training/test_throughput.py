"""What a run says about its speed is what was done, over the time that it took."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from simpleseg_core.models.architectures import architecture
from simpleseg_core.models.loading import load_model, load_processor
from simpleseg_core.training import throughput
from simpleseg_core.training.collate import Collator
from simpleseg_core.training.parts import parameters_by_part
from simpleseg_core.training.throughput import Sizes, Throughput, Work
from tests.tiny import TINY, FourColours

CPU = torch.device("cpu")


class Clock:
    now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(throughput, "time", clock)
    return clock


def test_rates_are_over_the_time_since_the_last_report(clock: Clock) -> None:
    watch = Throughput(Sizes(per_token=1e9, per_answer_token=2e9, per_patch=3e9), CPU, torch.float32, workers=2)

    def slow() -> Iterator[int]:
        for number in range(2):
            clock.now += 3
            yield number

    for _ in watch.waiting(slow()):
        clock.now += 2
        watch.done(Work(samples=8, tokens=100, answer_tokens=20, patches=50))
    found = watch.close()
    memory = found.pop("peak_memory_gib")
    assert 0.05 < memory < 50
    assert found == pytest.approx(
        {
            "samples_per_s": 1.6,
            "tokens_per_s": 20,
            "answer_tokens_per_s": 4,
            "data_wait": 0.6,
            "tflops": (100 + 2 * 20 + 3 * 50) * 2 * 1e9 / 10 / 2 / 1e12,
        }
    )
    clock.now += 1
    assert watch.close()["tokens_per_s"] == 0


def test_a_share_of_the_peak_is_told_where_the_peak_is_known(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H100 80GB HBM3")
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 2**31)
    watch = Throughput(Sizes(1e12, 0, 0), torch.device("cuda"), torch.bfloat16, workers=1)
    watch.done(Work(tokens=989))
    clock.now += 2
    assert watch.close().items() >= {"mfu": 0.5, "peak_memory_gib": 2.0}.items()


def test_flops_are_those_of_the_weights_that_are_trained(tiny_checkpoint: Path) -> None:
    model = load_model(tiny_checkpoint, TINY)
    counts = dict.fromkeys(("vision", "projector", "language"), 0)
    for part, name, weight in parameters_by_part(model):
        assert ("visual" in name) == (part != "language") and ("merger" in name) == (part == "projector"), name
        counts[part] += weight.numel()
    head = model.lm_head.weight.numel()
    language = counts["language"] - head
    assert Sizes.of(model) == Sizes(6 * language, 6 * head, 6 * counts["vision"])
    for part, _, weight in parameters_by_part(model):
        weight.requires_grad_(part == "language")
    assert Sizes.of(model) == Sizes(6 * language, 6 * head, 2 * counts["vision"]), "no gradient passes the tower"


@pytest.mark.parametrize("packing", [0, 500])
def test_tokens_are_counted_without_padding(tiny_checkpoint: Path, packing: int) -> None:
    collate = Collator(load_processor(tiny_checkpoint, TINY), 512, architecture("qwen2_5_vl"), packing)
    conversations = [FourColours()[index] for index in range(4)]
    alone = [
        Work.of([Collator(collate._processor, 512, architecture("qwen2_5_vl"))([each])], 1) for each in conversations
    ]
    assert Work.of([collate(conversations)], 4) == sum(alone, Work())
