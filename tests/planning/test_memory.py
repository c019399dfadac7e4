"""Planned memory: what real steps take, and what sharding, checkpointing and chunks save of it."""

import pytest
from transformers import AutoModelForImageTextToText, PreTrainedConfig

from benchmarks.plan import CASES, MODEL, measured, shape
from simpleseg_core.config import LoraConfig, ModelConfig, OptimizerConfig, RatesConfig, TrainConfig
from simpleseg_core.planning._fake import fake_tensors
from simpleseg_core.planning.memory import MicroBatch, StepMemory, step_memory
from simpleseg_core.planning.shape import model_shape

CASE = CASES[0]


def planned(workers: int = 1, **changes: object) -> StepMemory:
    train = TrainConfig(batch_size=CASE.rows * workers, micro_batch_size=CASE.rows, workers=workers)
    train = train.model_copy(update={"strategy": "fsdp2", "gradient_checkpointing": True, **changes})
    config = shape(CASE.hidden, CASE.layers)
    return step_memory(config, MODEL, train, MicroBatch.largest(config, MODEL, CASE.rows, CASE.tokens), workers)


def parameters_of(shape: PreTrainedConfig) -> int:
    """How many numbers a model learns, without making them."""
    with fake_tensors():
        return int(sum(each.numel() for each in AutoModelForImageTextToText.from_config(shape).parameters()))


@pytest.fixture(scope="module")
def one() -> StepMemory:
    return planned()


def test_the_plan_is_what_a_real_step_takes(one: StepMemory) -> None:
    assert one.peak == pytest.approx(measured(CASE), rel=0.10)


def test_states_are_what_arithmetic_says(one: StepMemory) -> None:
    count = parameters_of(shape(CASE.hidden, CASE.layers))
    assert (one.weights, one.gradients, one.optimizer) == (4 * count, 4 * count, 8 * count)


def test_sharding_divides_states_and_not_activations(one: StepMemory) -> None:
    shared = planned(4)
    for part in ("weights", "gradients", "optimizer"):
        assert getattr(shared, part) == pytest.approx(getattr(one, part) / 4, rel=0.01)
    assert shared.working > one.working / 2


def test_muon_keeps_half_of_adamws_states_and_shards_them(one: StepMemory) -> None:
    alone, shared = (planned(workers, optimizer=OptimizerConfig(name="muon")) for workers in (1, 4))
    assert one.optimizer / 2 < alone.optimizer < one.optimizer, "embeddings and norms stay with AdamW"
    assert shared.optimizer == pytest.approx(alone.optimizer / 4, rel=0.01)


def test_checkpointing_and_chunks_save_what_they_are_for(one: StepMemory) -> None:
    assert planned(gradient_checkpointing=False).working > 1.5 * one.working
    assert planned(loss_chunk=128).working < one.working


def test_adapters_need_no_gradients_and_states_of_what_lies_below(one: StepMemory) -> None:
    adapted = planned(lora=LoraConfig(rank=4))
    assert adapted.weights > one.weights
    assert adapted.optimizer == 2 * adapted.gradients < one.optimizer / 5


@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_frozen_needs_no_gradients_and_states(one: StepMemory, workers: int) -> None:
    frozen = planned(workers, rates=RatesConfig(vision=0, projector=0))
    assert frozen.weights == pytest.approx(one.weights / workers, rel=0.01)
    assert frozen.optimizer == 2 * frozen.gradients < one.optimizer / workers


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("Qwen/Qwen2.5-VL-3B-Instruct", 3.75),
        ("Qwen/Qwen2.5-VL-7B-Instruct", 8.29),
        ("Qwen/Qwen3-VL-4B-Instruct", 4.44),
        ("Qwen/Qwen3-VL-8B-Instruct", 8.77),
    ],
)
def test_published_models_have_their_published_sizes(name: str, billions: float) -> None:
    assert parameters_of(model_shape(ModelConfig(base=name))) / 1e9 == pytest.approx(billions, abs=0.01)


def test_an_image_that_takes_all_tokens_is_told() -> None:
    with pytest.raises(ValueError, match=r"model\.max_pixels .* an image takes 64 tokens of the 60"):
        MicroBatch.largest(shape(128, 2), MODEL, 1, 60)
