"""The model and its three training stages."""

from typing import Literal

from pydantic import Field, model_validator

from simpleseg_core.config._base import Section
from simpleseg_core.config.dataset import Task
from simpleseg_core.config.rewards import RewardConfig

Architecture = Literal["qwen2_5_vl", "kimi_vl"]
Dtype = Literal["float32", "bfloat16"]


class NanoConfig(Section):
    """Sizes of a Qwen2.5-VL built from scratch (used when `model.base` is `scratch`)."""

    hidden_size: int = Field(192, gt=0)
    layers: int = Field(4, gt=0)
    heads: int = Field(6, gt=0)
    kv_heads: int = Field(2, gt=0)
    intermediate_size: int = Field(576, gt=0)
    vision_hidden_size: int = Field(128, gt=0)
    vision_layers: int = Field(3, gt=0)
    vision_heads: int = Field(4, gt=0)
    patch_size: int = Field(8, gt=0)
    rope_theta: float = Field(10.0, gt=1)
    """A small base: with 10,000 the width axis turns too slowly to be read at this size."""
    initializer_range: float = Field(0.04, gt=0)

    @model_validator(mode="after")
    def _heads_divide(self) -> "NanoConfig":
        if self.hidden_size % self.heads or self.heads % self.kv_heads or self.vision_hidden_size % self.vision_heads:
            raise ValueError(
                "model.nano: heads must divide hidden_size, kv_heads must divide heads (likewise for vision)"
            )
        return self


class ModelConfig(Section):
    """Which weights the run starts from."""

    architecture: Architecture = "qwen2_5_vl"
    base: str = "checkpoints/nano-base"
    """Hub id, local HF folder, or `scratch` (a nano model with random weights)."""
    nano: NanoConfig = NanoConfig()
    dtype: Dtype = "float32"
    min_pixels: int = Field(64 * 64, gt=0)
    max_pixels: int = Field(64 * 64, gt=0)
    """Images are resized (aspect kept) so that their area lies between the two."""
    trust_remote_code: bool = False
    """Only for checkpoints that ship code (Kimi-VL); never on by default."""

    @model_validator(mode="after")
    def _pixels_are_ordered(self) -> "ModelConfig":
        if self.min_pixels > self.max_pixels:
            raise ValueError("model.min_pixels exceeds model.max_pixels: lower one or raise the other")
        return self


class OptimizerConfig(Section):
    """Optimizer and schedule: linear warm-up, then cosine to the floor."""

    name: Literal["adamw", "muon"] = "adamw"
    """`muon` is the Kimi variant: Muon for matrices with RMS matching, AdamW for embeddings, head, norms and biases."""
    lr: float = Field(1e-3, gt=0)
    min_lr: float = Field(1e-5, ge=0)
    warmup_ratio: float = Field(0.03, ge=0, lt=1)
    weight_decay: float = Field(0.05, ge=0)
    betas: tuple[float, float] = (0.9, 0.95)
    grad_clip: float = Field(1.0, gt=0)


class Phase(Section):
    """A stretch of a curriculum over fresh RefShapes scenes."""

    until: float = Field(1.0, gt=0, le=1)
    """Share of the run's samples at which the phase ends."""
    tasks: dict[Task, float]
    """Relative frequency of each task."""
    max_objects: int = Field(4, ge=1)
    max_turns: int = Field(4, ge=1)


class TrainConfig(Section):
    """A supervised stage (pre-training or SFT)."""

    enabled: bool = True
    """Off: the stage passes its input model on unchanged."""
    steps: int | None = Field(None, gt=0)
    """Optimizer steps; unset: `epochs` passes over the data."""
    epochs: float = Field(1.0, gt=0)
    batch_size: int = Field(32, gt=0)
    """Conversations in one optimizer step, over all workers."""
    micro_batch_size: int = Field(32, gt=0)
    """Conversations in one forward pass of one worker."""
    optimizer: OptimizerConfig = OptimizerConfig()
    strategy: Literal["ddp", "fsdp2"] = "ddp"
    workers: int = Field(1, gt=0)
    threads: int = Field(2, gt=0)
    """CPU threads of each worker (ignored on GPUs)."""
    gradient_checkpointing: bool = False
    max_length: int = Field(1024, gt=0)
    """Tokens of one conversation, image included; longer ones are an error of the data stage."""
    log_every: int = Field(10, gt=0)
    checkpoint_every: int = Field(100, gt=0)
    probe_every: int = Field(200, gt=0)
    """Steps between two sets of probe images (image, truth, prediction)."""
    curriculum: tuple[Phase, ...] = ()
    """Set: train on fresh RefShapes scenes, phase by phase, instead of the dataset stage's files (how the base
    checkpoint is made)."""
    loader_workers: int = Field(0, ge=0)
    """Processes that prepare batches; 0 prepares them in the training process."""

    @model_validator(mode="after")
    def _batches_divide(self) -> "TrainConfig":
        if self.batch_size % (self.micro_batch_size * self.workers):
            raise ValueError("batch_size must be a multiple of micro_batch_size x workers: change one of the three")
        ends = [phase.until for phase in self.curriculum]
        if ends and (sorted(set(ends)) != ends or ends[-1] != 1):
            raise ValueError("curriculum: `until` must rise from phase to phase and end at 1")
        if self.curriculum and self.steps is None:
            raise ValueError("curriculum: fresh scenes have no epochs, set `steps`")
        return self


class RolloutConfig(Section):
    """How answers are sampled during RL."""

    engine: Literal["vllm", "transformers"] = "vllm"
    temperature: float = Field(1.0, gt=0)
    top_p: float = Field(1.0, gt=0, le=1)
    max_tokens: int = Field(160, gt=0)
    max_length: int = Field(1024, gt=0)
    """Tokens of a prompt and its answer together, image included."""
    kv_cache_mib: int = Field(128, gt=0)
    max_num_seqs: int = Field(64, gt=0)
    gpu_memory_utilization: float = Field(0.5, gt=0, le=1)
    engines: int = Field(1, gt=0)
    """Engines that share the prompts of a rollout batch, each in a process of its own."""
    tensor_parallel: int = Field(1, gt=0)
    """GPUs of one engine."""


class PromptFilterConfig(Section):
    """Which prompts RL draws from, by the share of the SFT model's answers that pass."""

    enabled: bool = False
    samples: int = Field(4, gt=0)
    """Answers for each prompt, drawn as rollouts are."""
    iou: float = Field(0.5, gt=0, le=1)
    """IoU at which an answer passes."""
    min_pass: float = Field(0.25, ge=0, le=1)
    """A prompt that passes more rarely is hopeless, and left out."""
    max_pass: float = Field(0.75, ge=0, le=1)
    """A prompt that passes more often is solved, and left out."""

    @model_validator(mode="after")
    def _bounds_are_ordered(self) -> "PromptFilterConfig":
        if self.min_pass > self.max_pass:
            raise ValueError("prompt_filter: min_pass is above max_pass, which leaves no prompt: swap them")
        return self


class RLConfig(Section):
    """Group sequence policy optimisation (GSPO, arXiv 2507.18071)."""

    enabled: bool = True
    steps: int = Field(30, gt=0)
    """Rollout batches; each gives `minibatches` optimizer steps."""
    prompts: int = Field(16, gt=0)
    """Prompts in a rollout batch."""
    group_size: int = Field(8, ge=2)
    """Answers for each prompt."""
    minibatches: int = Field(2, gt=0)
    micro_batch_size: int = Field(32, gt=0)
    """Answers in one forward pass of the trainer."""
    clip_low: float = Field(3e-4, gt=0)
    clip_high: float = Field(4e-4, gt=0)
    kl: float = Field(0.0, ge=0)
    """Weight of the KL term towards the SFT model (k3 estimator)."""
    normalise_std: bool = True
    """Divide group advantages by the group's standard deviation."""
    max_resample: int = Field(2, ge=0)
    """Extra draws of prompts in a step to replace groups in which all rewards are equal."""
    optimizer: OptimizerConfig = OptimizerConfig(lr=1e-4, min_lr=1e-5, weight_decay=0.0)
    rewards: RewardConfig = RewardConfig()
    rollout: RolloutConfig = RolloutConfig()
    prompt_filter: PromptFilterConfig = PromptFilterConfig()
    trainer_threads: int = Field(1, gt=0)
    checkpoint_every: int = Field(5, gt=0)
    probe_every: int = Field(10, gt=0)

    @model_validator(mode="after")
    def _minibatches_divide(self) -> "RLConfig":
        if self.prompts * self.group_size % self.minibatches:
            raise ValueError("rl.prompts x rl.group_size must be a multiple of rl.minibatches")
        return self
