"""Planned memory against what real steps take of a process, on random models of three sizes.

python -m benchmarks.plan
"""

import gc
import os
import re
import subprocess
import sys
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from transformers import AutoModelForImageTextToText, Qwen2_5_VLConfig

from simpleseg_core.config import ModelConfig, TrainConfig
from simpleseg_core.planning.memory import MicroBatch, StepMemory, inputs_of, step_memory
from simpleseg_core.training.loss import answer_losses
from simpleseg_core.training.optimizer import build_optimizer

MODEL = ModelConfig(architecture="qwen2_5_vl", base="a/b", min_pixels=28 * 28, max_pixels=224 * 224)


@dataclass(frozen=True, slots=True)
class Case:
    """A model and a micro-batch."""

    hidden: int
    layers: int
    rows: int
    tokens: int
    checkpointing: int
    chunk: int


CASES = (Case(512, 2, 2, 400, 1, 0), Case(512, 4, 2, 1000, 1, 0), Case(768, 6, 4, 600, 0, 256))


def train_config(case: Case) -> TrainConfig:
    return TrainConfig(
        batch_size=case.rows,
        micro_batch_size=case.rows,
        gradient_checkpointing=bool(case.checkpointing),
        loss_chunk=case.chunk,
    )


def shape(hidden: int, layers: int) -> Any:
    """A model of the family that is large enough for its tensors to outweigh what Python takes."""
    return Qwen2_5_VLConfig(
        image_token_id=31_990,
        tie_word_embeddings=True,
        text_config={
            "hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": hidden // 64,
            "num_key_value_heads": 2, "intermediate_size": 4 * hidden, "vocab_size": 32_000,
            "tie_word_embeddings": True,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [8, 12, 12]},
        },
        vision_config={
            "depth": layers, "hidden_size": 512, "num_heads": 8, "intermediate_size": 1408, "out_hidden_size": hidden,
            "patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2, "window_size": 112,
            "fullatt_block_indexes": [1, 3],
        },
    )  # fmt: skip


def step(config: Any, train: TrainConfig, tokens: int) -> None:
    """Two steps of a training: the optimizer's states are there in the second."""
    model = AutoModelForImageTextToText.from_config(config, dtype=torch.float32)
    if train.gradient_checkpointing:
        model.gradient_checkpointing_enable()
    module = cast(nn.Module, model).train()
    optimizer = build_optimizer(module, train.optimizer)
    inputs, keep, targets = inputs_of(MicroBatch.largest(config, MODEL, train.micro_batch_size, tokens))
    inputs["pixel_values"].normal_()
    for _ in range(2):
        answer_losses(module, model, inputs, keep, targets, train.loss_chunk).mean().backward()
        optimizer.step(1e-3)


def measure(case: Case) -> int:
    """Bytes by which two steps raise the peak of this process."""
    warm = train_config(case).model_copy(update={"micro_batch_size": 1})
    step(shape(128, 2), warm, 100)  # what libraries load when they are used
    gc.collect()
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    step(shape(case.hidden, case.layers), train_config(case), case.tokens)
    return (_status("VmHWM") - before) * 1024


def measured(case: Case) -> int:
    """The same in a process of its own; large blocks go back to the system when they are freed."""
    command = [sys.executable, "-m", "benchmarks.plan", *map(str, astuple(case))]
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "OMP_NUM_THREADS": "2"}
    return int(subprocess.run(command, env=environment, capture_output=True, check=True).stdout)


def planned(case: Case) -> StepMemory:
    config, train = shape(case.hidden, case.layers), train_config(case)
    return step_memory(config, MODEL, train, MicroBatch.largest(config, MODEL, case.rows, case.tokens), 1)


def main() -> None:
    if arguments := [int(each) for each in sys.argv[1:]]:
        sys.stdout.write(f"{measure(Case(*arguments))}\n")
        return
    sys.stdout.write(
        "| width | layers | rows | tokens | checkpointing | chunk | planned, MiB | measured, MiB | ratio |\n"
    )
    sys.stdout.write("|---|---|---|---|---|---|---|---|---|\n")
    for case in CASES:
        ours, real = planned(case).peak, measured(case)
        cells = [*astuple(case), round(ours / 2**20), round(real / 2**20), f"{ours / real:.3f}"]
        sys.stdout.write(f"| {' | '.join(map(str, cells))} |\n")


def _status(name: str) -> int:
    """A line of this process's status, in KiB."""
    found = re.search(rf"{name}:\s+(\d+)", Path("/proc/self/status").read_text())
    if found is None:
        raise SystemExit("/proc/self/status is needed: run this on Linux")
    return int(found[1])


if __name__ == "__main__":
    main()
