"""Warnings that mean nothing are left out; a layer that should have got weights and has not is still named."""

import logging

import pytest

from simpleseg_core.rollout._quiet import hush_vllm


@pytest.mark.parametrize(
    ("layer", "tied", "heard"),
    [
        ("RotaryEmbedding", True, False),
        ("QKVParallelLinear", True, True),
        ("ParallelLMHead", True, False),
        ("ParallelLMHead", False, True),
    ],
)
def test_only_layers_without_weights_of_their_own_may_lack_them(
    layer: str, tied: bool, heard: bool, caplog: pytest.LogCaptureFixture
) -> None:
    hush_vllm(tied_head=not tied)
    hush_vllm(tied_head=tied)
    logger = logging.getLogger("vllm.model_executor.model_loader.reload.layerwise")
    logger.addHandler(caplog.handler)
    try:
        logger.warning("%s: Failed to load weights", layer)
    finally:
        logger.removeHandler(caplog.handler)
    assert bool(caplog.messages) == heard
