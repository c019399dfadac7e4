"""The model that a supervised run starts from, as its workers hold it."""

from typing import cast

import torch
from transformers import PreTrainedModel, ProcessorMixin

from simpleseg_core.models.loading import load_model, load_processor
from simpleseg_core.models.nano import build_nano
from simpleseg_core.training.lora import add_adapters
from simpleseg_core.training.parallel import Sharding, blocks, copied, load_sharded, shard
from simpleseg_core.training.parts import freeze
from simpleseg_core.training.run import SupervisedRun


def placed(run: SupervisedRun, device: torch.device, world_size: int) -> tuple[torch.nn.Module, ProcessorMixin]:
    """The model on its device, spread over the workers, with what learns of it in float32; and its processor."""
    model, processor = _sharded(run, device) if is_sharded(run, world_size) else _whole(run, device)
    freeze(model, run.train.rates)
    if run.train.lora:
        torch.manual_seed(run.seed)
        add_adapters(model, run.train.lora, run.train.rates)
    if run.train.gradient_checkpointing:
        model.gradient_checkpointing_enable()
    module = cast(torch.nn.Module, model)
    return module if is_sharded(run, world_size) else copied(module, run.train, world_size), processor


def is_sharded(run: SupervisedRun, world_size: int) -> bool:
    """Whether each worker holds but a part of the model."""
    return world_size > 1 and run.train.strategy == "fsdp2"


def _whole(run: SupervisedRun, device: torch.device) -> tuple[PreTrainedModel, ProcessorMixin]:
    """The starting weights in float32, the master copy whatever the compute type; below adapters they need none."""
    if run.start == "scratch":
        model, processor = build_nano(run.model, run.seed)
    else:
        stored = run.model if run.train.lora else run.model.model_copy(update={"dtype": "float32"})
        model, processor = load_model(run.start, stored), load_processor(run.start, run.model)
    cast(torch.nn.Module, model).to(device)
    return model, processor


def _sharded(run: SupervisedRun, device: torch.device) -> tuple[PreTrainedModel, ProcessorMixin]:
    """The same, shared between the workers."""
    sharding = Sharding.of(run.train, run.model)
    if run.start == "scratch":
        model, processor = build_nano(run.model, run.seed)
        return shard(model, blocks(model), device, sharding), processor
    return load_sharded(run.start, run.model, device, sharding), load_processor(run.start, run.model)
