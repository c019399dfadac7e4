"""Weights read shard by shard: a model is built without memory for its weights, and each worker reads only its slices
of the safetensors files, so that no process ever holds the whole model."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset
from transformers import AutoModelForImageTextToText, GenerationConfig, PreTrainedModel
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key
from transformers.utils.hub import cached_file, get_checkpoint_shard_files

from simpleseg_core.config import ModelConfig
from simpleseg_core.models.attention import attend_by_length
from simpleseg_core.models.auto import read_config
from simpleseg_core.models.loading import DTYPES


def skeleton(path: str | Path, config: ModelConfig) -> PreTrainedModel:
    """The model of a local folder or hub id, its parameters on the meta device; buffers are as they should be."""
    remote = config.trust_remote_code
    described = read_config(path, remote)
    with _weightless():
        model: PreTrainedModel = AutoModelForImageTextToText.from_config(
            described, dtype=DTYPES[config.dtype], trust_remote_code=remote, attn_implementation=config.attention
        )
    attend_by_length(model)
    if cached_file(str(path), "generation_config.json", _raise_exceptions_for_missing_entries=False):
        model.generation_config = GenerationConfig.from_pretrained(str(path))
    return model


class Slices:
    """The weights of a checkpoint by their names in the model, to be read in part."""

    def __init__(self, path: str | Path, model: PreTrainedModel) -> None:
        """Find them; the model is not sharded yet, for that hides its class, by which older names are known.

        Raises:
            OSError: no safetensors files are found.
            ValueError: a weight is in none of them.
        """
        transforms = get_model_conversion_mapping(model)
        self.complete = not any(isinstance(each, WeightConverter) for each in transforms)
        """Whether every weight lies in the files as it does in the model, under whatever name."""
        renamings = [each for each in transforms if isinstance(each, WeightRenaming)]
        known = model.state_dict()
        self._wanted = known.keys() - set(model.all_tied_weights_keys)
        self._places = {
            rename_source_key(stored, renamings, [], model.base_model_prefix, known)[0]: (file, stored)
            for file in _files(str(path))
            for stored in _names(file)
        }
        # As from_pretrained leaves them, for save_pretrained to turn back.
        vars(model)["_weight_conversions"] = [each for each in transforms if each.was_used()]
        missing = sorted(self._wanted - self._places.keys())
        if missing and self.complete:
            raise ValueError(f"{path}: {len(missing)} weights are missing, among them {missing[0]}")

    def fill(self, model: PreTrainedModel, device: torch.device) -> None:
        """Give a skeleton, sharded or not, its weights; of a sharded one, this worker's slices alone are read.

        Raises:
            ValueError: a weight has another shape in the files.
        """
        likes = model.state_dict()
        with ExitStack() as stack:
            files = {file: stack.enter_context(safe_open(file, "pt")) for file, _ in self._places.values()}
            weights = dict[str, Tensor]()
            for name in self._wanted:
                file, stored = self._places[name]
                weights[name] = _read(files[file], stored, likes[name], device)
        model.load_state_dict(weights, strict=False, assign=True)
        model.tie_weights()


@contextmanager
def _weightless() -> Iterator[None]:
    """Parameters made in the block lie on the meta device; what is computed while a model is built, buffers, do not."""
    register = nn.Module.register_parameter

    def without_memory(module: nn.Module, name: str, value: nn.Parameter | None) -> None:
        if value is not None and not value.is_meta:  # one that is tied stays the same object
            value = nn.Parameter(value.detach().to("meta"), requires_grad=value.requires_grad)
        register(module, name, value)

    nn.Module.register_parameter = without_memory  # type: ignore[assignment]
    try:
        yield
    finally:
        nn.Module.register_parameter = register  # type: ignore[method-assign]


def _files(path: str) -> list[str]:
    """The safetensors files of a local folder or hub id."""
    index = cached_file(path, "model.safetensors.index.json", _raise_exceptions_for_missing_entries=False)
    if index is not None:
        files: list[str] = get_checkpoint_shard_files(path, index)[0]
        return files
    return [cast(str, cached_file(path, "model.safetensors"))]


def _names(file: str) -> list[str]:
    with safe_open(file, "pt") as stored:
        names: list[str] = stored.keys()
        return names


def _read(file: Any, name: str, like: Tensor, device: torch.device) -> Tensor:
    """This worker's slice of a weight, in the type and the place of `like`."""
    stored = file.get_slice(name)
    if list(stored.get_shape()) != list(like.shape):
        raise ValueError(f"{name} is {stored.get_shape()} in the checkpoint and {list(like.shape)} in the model")
    if not isinstance(like, DTensor):
        return cast(Tensor, stored[...]).to(device, like.dtype)
    shape, offset = compute_local_shape_and_global_offset(like.shape, like.device_mesh, like.placements)
    own = tuple(slice(start, start + size) for start, size in zip(offset, shape, strict=True))
    part = stored[own] if 0 not in shape else torch.empty(shape)  # more workers than rows
    return DTensor.from_local(
        part.to(device, like.dtype),
        like.device_mesh,
        like.placements,
        run_check=False,
        shape=like.shape,
        stride=like.stride(),
    )
