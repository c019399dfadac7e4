"""Planned memory and hours against real steps of the published model sizes on a GPU: random weights, no data.

    python -m benchmarks.plan_gpu [--cases 3b-lora 3b-vision-frozen ...]

Each case is a shipped profile with changed keys, on one GPU, with the largest micro-batches that it allows. What
is measured: the most that PyTorch's allocator held, and the share of the GPU's peak that the model FLOPs reached (MFU),
the median of three steps after two. Each case runs in a process of its own.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any, cast

import torch
from torch import nn
from transformers import AutoModelForImageTextToText
from transformers.initialization import no_init_weights

from simpleseg_core.config import Config, TrainConfig
from simpleseg_core.config.files import load_profile
from simpleseg_core.models.attention import attend_by_length
from simpleseg_core.models.loading import DTYPES
from simpleseg_core.planning.memory import MicroBatch, StepMemory, inputs_of, step_memory
from simpleseg_core.planning.shape import model_shape
from simpleseg_core.training.lora import add_adapters
from simpleseg_core.training.loss import answer_losses
from simpleseg_core.training.optimizer import build_optimizer
from simpleseg_core.training.parts import freeze
from simpleseg_core.training.throughput import PEAK_TFLOPS, Sizes, Work

GIB = 2**30
_WARM, _TIMED = 2, 3


@dataclass(frozen=True, slots=True)
class Case:
    """A shipped profile with other values of `sft`."""

    profile: str
    changed: Mapping[str, Any]


CASES = {
    "3b": Case("qwen2_5_vl_3b", {"workers": 1, "strategy": "ddp", "micro_batch_size": 1, "max_length": 4096}),
    "3b-short": Case("qwen2_5_vl_3b", {"workers": 1, "strategy": "ddp", "micro_batch_size": 2, "max_length": 2048}),
    "3b-lora": Case("qwen2_5_vl_3b_lora", {}),
    "7b-lora": Case("qwen2_5_vl_7b", {"workers": 1, "strategy": "ddp", "micro_batch_size": 4, "lora": {"rank": 64}}),
}


def settings(case: Case) -> tuple[Config, TrainConfig, MicroBatch]:
    """The configuration of a case, its `sft`, and its largest micro-batch."""
    config = load_profile(case.profile)
    train = TrainConfig.model_validate(config.sft.model_dump() | dict(case.changed))
    rows, tokens = train.micro_batch_size, train.max_length
    return config, train, MicroBatch.largest(model_shape(config.model), config.model, rows, tokens)


def planned(case: Case) -> StepMemory:
    """What `simpleseg plan` counts."""
    config, train, batch = settings(case)
    return step_memory(model_shape(config.model), config.model, train, batch, 1)


def measure(case: Case, call_per_window: bool) -> tuple[float, float, float]:
    """Bytes at the peak, seconds of a step of one micro-batch, and MFU."""
    config, train, batch = settings(case)
    model = _model(config, train)
    if not call_per_window:
        attend_by_length(model)
    optimizer = build_optimizer(cast(nn.Module, model), train.optimizer)
    inputs, keep, targets = inputs_of(batch)
    inputs["pixel_values"].normal_()
    inputs, keep, targets = {name: each.cuda() for name, each in inputs.items()}, keep.cuda(), targets.cuda()
    times = []
    for _ in range(_WARM + _TIMED):
        torch.cuda.synchronize()
        began = time.perf_counter()
        with torch.autocast("cuda", DTYPES[config.model.dtype], enabled=config.model.dtype != "float32"):
            losses = answer_losses(cast(nn.Module, model), model, inputs, keep, targets, train.loss_chunk)
        losses.mean().backward()
        optimizer.step(1e-6)
        torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    seconds = median(times[_WARM:])
    work = Work(batch.rows, batch.rows * batch.tokens, float(keep.sum()), batch.rows * batch.side**2)
    return torch.cuda.max_memory_allocated(), seconds, Sizes.of(model).of_work(work) / seconds / (_peak() * 1e12)


def _model(config: Config, train: TrainConfig) -> Any:
    dtype = DTYPES[config.model.dtype] if train.lora else torch.float32
    with torch.device("cuda"), no_init_weights():
        model: Any = AutoModelForImageTextToText.from_config(model_shape(config.model), dtype=dtype)
    for weight in model.parameters():
        nn.init.normal_(weight, std=0.02)
    freeze(model, train.rates)
    if train.lora:
        add_adapters(model, train.lora, train.rates)
    if train.gradient_checkpointing:
        model.gradient_checkpointing_enable()
    return model.cuda().train()


def _peak() -> float:
    """TFLOP/s of this GPU in bfloat16."""
    name = torch.cuda.get_device_name()
    return next(peak for known, peak in PEAK_TFLOPS.items() if known in name)


def _row(name: str, plan: float | None, options: list[str]) -> str:
    command = [sys.executable, "-m", "benchmarks.plan_gpu", "--child", name, *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return f"| {name} | failed: {done.stderr.strip().splitlines()[-1]} |"
    peak, seconds, mfu = map(float, done.stdout.split())
    batch = settings(CASES[name])[-1]
    expected = ("", "") if plan is None else (f"{plan:.2f}", f"{plan * GIB / peak:.3f}")
    speed = batch.rows * batch.tokens / seconds
    return f"| {name} | {expected[0]} | {peak / GIB:.2f} | {expected[1]} | {speed:.0f} | {mfu:.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--measured-only", action="store_true", help="plan nothing: counting takes minutes of a CPU")
    parser.add_argument("--call-per-window", action="store_true", help="attention as transformers calls it")
    parser.add_argument("--child", choices=CASES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(*measure(CASES[arguments.child], arguments.call_per_window))
        return
    options = ["--call-per-window"] * arguments.call_per_window
    print("| case | planned, GiB | measured, GiB | ratio | tokens/s | MFU |\n|---|---|---|---|---|---|")
    for name in arguments.cases:
        print(_row(name, None if arguments.measured_only else planned(CASES[name]).peak / GIB, options), flush=True)


if __name__ == "__main__":
    main()
