"""Weight files: what is written is read, aliases are written once."""

from pathlib import Path

import pytest
import torch

from simpleseg_core.rollout import read_weights, write_weights


def test_round_trip_in_another_type(tmp_path: Path) -> None:
    state = {"a": torch.randn(3, 2), "b": torch.randn(4).expand(2, 4)}
    write_weights(state, tmp_path / "model.safetensors", torch.bfloat16)
    read = dict(read_weights(tmp_path / "model.safetensors"))
    assert read.keys() == state.keys()
    for name, value in state.items():
        torch.testing.assert_close(read[name], value.bfloat16(), rtol=0, atol=0)
    assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"]


def test_tied_tensors_are_written_once(tmp_path: Path) -> None:
    embedding = torch.randn(5, 2)
    write_weights({"embed": embedding, "head": embedding}, tmp_path / "model.safetensors")
    assert dict(read_weights(tmp_path)).keys() == {"embed"}


def test_folder_without_weights_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no \.safetensors file here"):
        list(read_weights(tmp_path))
