"""Every stage that trains: what it takes of a GPU, how long, and whether it fits.

Hours are model FLOPs over the share of the GPUs' peak that training reaches (MFU), and, for answers that are drawn, the
weights and caches that every token reads over the memory's bandwidth. Both are estimates; memory is counted.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from simpleseg_core.config import Config, OptimizerConfig, TrainConfig
from simpleseg_core.planning.hardware import Gpu
from simpleseg_core.planning.memory import MicroBatch, StepMemory, step_memory
from simpleseg_core.planning.shape import model_shape
from simpleseg_core.training.throughput import Work

GIB = 2**30
_KEPT_FREE = 0.08
"""Share of a GPU that CUDA, its libraries and fragmentation take."""
_READ = 0.6
"""Share of the bandwidth that an engine reaches when it draws tokens."""


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What a plan takes for granted where no dataset is there to count."""

    conversations: int
    """In each table that a stage learns from."""
    tokens: int
    """Of a conversation on average, image included."""
    mfu: float = 0.35
    """Share of a GPU's peak that training reaches."""
    price: float | None = None
    """Of a GPU for an hour."""


@dataclass(frozen=True, slots=True)
class StagePlan:
    """One stage on its GPUs; memory in bytes of one of them."""

    stage: str
    gpus: int
    memory: dict[str, int]
    """`weights`, `gradients`, `optimizer`, `working`, and `engine` where answers are drawn beside."""
    room: int
    steps: int
    tokens_per_s: float
    hours: float
    cure: str
    """The knob to turn where it does not fit."""

    @property
    def need(self) -> int:
        """All that one GPU holds at once."""
        return sum(self.memory.values())

    @property
    def fits(self) -> bool:
        """Whether a GPU has room for it."""
        return self.need <= self.room

    def cost(self, price: float) -> float:
        """In the currency of the price."""
        return self.hours * self.gpus * price


def plan_stages(config: Config, gpu: Gpu, assumed: Assumptions) -> Iterator[StagePlan]:
    """The enabled training stages in their order.

    Raises:
        ValueError: the model's sizes are not to be had, or a row has no room for an image.
    """
    shape = model_shape(config.model)

    @cache
    def measured(train: TrainConfig) -> StepMemory:
        batch = MicroBatch.largest(shape, config.model, train.micro_batch_size, train.packing or train.max_length)
        return step_memory(shape, config.model, train, batch, train.workers)

    for name, train in (("pretrain", config.pretrain), ("sft", config.sft)):
        if train.enabled:
            yield _supervised(name, train, measured(_sizes_only(train)), gpu, assumed)
    if config.rl.enabled:
        yield _reinforced(config, measured(_sizes_only(_as_trained(config))), gpu, assumed)


def _supervised(name: str, train: TrainConfig, step: StepMemory, gpu: Gpu, assumed: Assumptions) -> StagePlan:
    steps = train.steps or -(-round(assumed.conversations * train.epochs) // train.batch_size)
    tokens = steps * train.batch_size * assumed.tokens
    seconds = step.flops.of_work(_work(step, tokens)) / (train.workers * gpu.tflops * 1e12 * assumed.mfu)
    return StagePlan(
        name, train.workers, _memory(step), _room(gpu), steps, tokens / seconds, seconds / 3600,
        _cure(name, train, step),
    )  # fmt: skip


def _reinforced(config: Config, step: StepMemory, gpu: Gpu, assumed: Assumptions) -> StagePlan:
    rl, rollout = config.rl, config.rl.rollout
    weights = step.weights * max(rl.trainer_workers, 1) // 2  # the engine's are bfloat16, whole
    engine = weights // rollout.tensor_parallel + rollout.kv_cache_mib * 2**20
    answers = rl.steps * rl.prompts * rl.group_size
    drawn, learned = answers * rollout.max_tokens / 2, answers * assumed.tokens
    per_token = (
        weights / rollout.max_num_seqs + rollout.kv_cache_mib * 2**20 / rollout.max_num_seqs
    ) / rollout.tensor_parallel
    drawing = drawn * per_token / (_READ * gpu.bandwidth_gb_s * 1e9) / rollout.engines
    # Forward once for the old policy, and forward and backward to learn: a third more than learning alone.
    training = 4 / 3 * step.flops.of_work(_work(step, learned)) / (rl.trainer_workers * gpu.tflops * 1e12 * assumed.mfu)
    colocated = rl.placement == "colocated"
    gpus = rl.trainer_workers if colocated else rl.trainer_workers + rollout.engines * rollout.tensor_parallel
    memory = _memory(step) | ({"engine": max(0, engine - step.working)} if colocated else {})
    seconds = drawing + training
    return StagePlan(
        "rl", gpus, memory, _room(gpu), rl.steps, (drawn + learned) / seconds, seconds / 3600,
        "raise rl.trainer_workers, lower rl.micro_batch_size or rl.rollout.kv_cache_mib, or place engines apart "
        "(rl.placement: disaggregated)",
    )  # fmt: skip


def _as_trained(config: Config) -> TrainConfig:
    """The trainer's step in the terms of a supervised one: rows of a prompt and an answer."""
    rl = config.rl
    return TrainConfig(
        batch_size=rl.micro_batch_size * rl.trainer_workers, micro_batch_size=rl.micro_batch_size,
        workers=rl.trainer_workers, strategy="fsdp2", optimizer=rl.optimizer, gradient_checkpointing=True,
        max_length=rl.rollout.max_length, loss_chunk=config.sft.loss_chunk, reduce_dtype=config.sft.reduce_dtype,
    )  # fmt: skip


def _sizes_only(train: TrainConfig) -> TrainConfig:
    """Stages that differ in what costs no memory are measured once."""
    optimizer = OptimizerConfig(name=train.optimizer.name)
    kept = (
        "batch_size",
        "steps",
        "epochs",
        "curriculum",
        "log_every",
        "checkpoint_every",
        "probe_every",
        "noise_every",
    )
    usual = {name: TrainConfig.model_fields[name].default for name in kept}
    return train.model_copy(update={**usual, "optimizer": optimizer, "enabled": True})


def _work(step: StepMemory, tokens: float) -> Work:
    """A quarter of a conversation are answers; an image token stands for four patches, in all images of the run."""
    return Work(tokens=tokens, answer_tokens=tokens / 4, patches=tokens * 2)


def _memory(step: StepMemory) -> dict[str, int]:
    return {
        "weights": step.weights, "gradients": step.gradients, "optimizer": step.optimizer, "working": step.working,
    }  # fmt: skip


def _room(gpu: Gpu) -> int:
    return int(gpu.memory_gib * GIB * (1 - _KEPT_FREE))


def _cure(name: str, train: TrainConfig, step: StepMemory) -> str:
    """Whichever of states and activations is the larger has its knobs named."""
    if step.working < step.peak - step.working:
        sharded = train.strategy == "fsdp2"
        return f"raise {name}.workers" if sharded else f"set {name}.strategy to fsdp2, and raise {name}.workers"
    knobs = [
        *([f"{name}.gradient_checkpointing: true"] if not train.gradient_checkpointing else []),
        *([f"lower {name}.micro_batch_size"] if train.micro_batch_size > 1 else []),
        *([f"{name}.loss_chunk: 1024"] if not train.loss_chunk else []),
        f"lower {name}.max_length or model.max_pixels",
    ]
    return "; ".join(knobs)


def as_json(plan: StagePlan, assumed: Assumptions) -> dict[str, Any]:
    """For programs; memory in GiB."""
    cost = {} if assumed.price is None else {"cost": round(plan.cost(assumed.price), 2)}
    return {
        "stage": plan.stage, "gpus": plan.gpus, "fits": plan.fits,
        "memory_gib": {name: round(size / GIB, 2) for name, size in plan.memory.items()},
        "need_gib": round(plan.need / GIB, 2), "room_gib": round(plan.room / GIB, 2), "steps": plan.steps,
        "tokens_per_s": round(plan.tokens_per_s), "hours": round(plan.hours, 2),
        "cure": None if plan.fits else plan.cure,
    } | cost  # fmt: skip
