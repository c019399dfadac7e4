"""The model and its three training stages."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from simpleseg_core.config._base import Operational, Section
from simpleseg_core.config.dataset import Task
from simpleseg_core.config.held_out import HeldOutConfig
from simpleseg_core.config.parts import LoraConfig, RatesConfig, RouterConfig
from simpleseg_core.config.rewards import RewardConfig
from simpleseg_core.kinds import ARCHITECTURES

Dtype = Literal["float32", "bfloat16"]
ArchitectureName = Annotated[str, AfterValidator(ARCHITECTURES.known), WithJsonSchema(ARCHITECTURES.schema())]
ObjectiveName = Literal[
    "gspo", "gspo_token", "luspo", "gmpo", "grpo", "dr_grpo", "sapo", "cispo", "maxrl", "gdpo"
]  # fmt: skip
Momentum = Annotated[float, Field(ge=0, lt=1)]


class NanoConfig(Section):
    """Sizes of a model built from scratch (used when `model.base` is `scratch`)."""

    hidden_size: int = Field(192, gt=0)
    layers: int = Field(4, gt=0, le=1000)
    heads: int = Field(6, gt=0)
    kv_heads: int = Field(2, gt=0)
    intermediate_size: int = Field(576, gt=0)
    vision_hidden_size: int = Field(128, gt=0)
    vision_layers: int = Field(3, gt=0, le=1000)
    vision_heads: int = Field(4, gt=0)
    patch_size: int = Field(8, gt=0)
    rope_theta: float = Field(10.0, gt=1, le=1e9)
    """A small base: with 10,000 the width axis turns too slowly to be read at this size."""
    initializer_range: float = Field(0.04, gt=0, le=1)

    @model_validator(mode="after")
    def _heads_divide(self) -> "NanoConfig":
        if self.hidden_size % self.heads or self.heads % self.kv_heads or self.vision_hidden_size % self.vision_heads:
            raise ValueError(
                "model.nano: heads must divide hidden_size, kv_heads must divide heads (likewise for vision)"
            )
        return self


class ModelConfig(Section):
    """Which weights the run starts from."""

    architecture: ArchitectureName = "qwen2_5_vl"
    """Name of a file in `simpleseg_core/models/architectures`; `base` is a checkpoint of it."""
    base: str = "checkpoints/nano-base"
    """Hub id, local HF folder, or `scratch` (a nano model with random weights)."""
    nano: NanoConfig = NanoConfig()
    dtype: Dtype = "float32"
    attention: Operational[Literal["eager", "sdpa", "flash_attention_2"] | None] = None
    """How attention is computed; `flash_attention_2` needs the package flash-attn, and a GPU. Unset: what transformers
    takes by itself, sdpa where the model has it."""
    min_pixels: int = Field(64 * 64, gt=0)
    max_pixels: int = Field(64 * 64, gt=0)
    """Images are resized (aspect kept) so that their area lies between the two."""
    trust_remote_code: bool = False
    """Run the code that a checkpoint ships; never on by default."""

    @model_validator(mode="after")
    def _pixels_are_ordered(self) -> "ModelConfig":
        if self.min_pixels > self.max_pixels:
            raise ValueError("model.min_pixels exceeds model.max_pixels: lower one or raise the other")
        return self


class OptimizerConfig(Section):
    """Optimizer and schedule: linear warm-up, then cosine to the floor."""

    name: Literal["adamw", "muon"] = "adamw"
    """`muon`: Muon for matrices with RMS matching (arXiv 2502.16982), AdamW for embeddings, head, norms and biases."""
    lr: float = Field(1e-3, gt=0, le=1)
    min_lr: float = Field(1e-5, ge=0, le=1)
    warmup_ratio: float = Field(0.03, ge=0, lt=1)
    weight_decay: float = Field(0.05, ge=0, le=1)
    betas: tuple[Momentum, Momentum] = (0.9, 0.95)
    grad_clip: float = Field(1.0, gt=0, le=1e6)

    @model_validator(mode="after")
    def _the_rate_falls(self) -> "OptimizerConfig":
        if self.min_lr > self.lr:
            raise ValueError(f"min_lr {self.min_lr:g} is above lr {self.lr:g}, and the schedule ends there: lower it")
        return self


class Phase(Section):
    """A stretch of a curriculum over fresh RefShapes scenes."""

    until: float = Field(1.0, gt=0, le=1)
    """Share of the run's samples at which the phase ends."""
    tasks: dict[Task, Annotated[float, Field(ge=0)]] = Field(min_length=1)
    """Relative frequency of each task."""
    max_objects: int = Field(4, ge=1, le=6)
    max_turns: int = Field(4, ge=1, le=64)


class TrainConfig(Section):
    """A supervised stage (pre-training or SFT)."""

    enabled: bool = True
    """Off: the stage passes its input model on unchanged."""
    steps: int | None = Field(None, gt=0)
    """Optimizer steps; unset: `epochs` passes over the data."""
    epochs: float = Field(1.0, gt=0, le=10_000)
    batch_size: int = Field(32, gt=0)
    """Conversations in one optimizer step, over all workers."""
    micro_batch_size: Operational[int] = Field(32, gt=0)
    """Conversations in one forward pass of one worker."""
    optimizer: OptimizerConfig = OptimizerConfig()
    rates: RatesConfig = RatesConfig()
    """Factors of the learning rate of vision tower, projector and language model; 0 freezes."""
    router: RouterConfig = RouterConfig()
    """Of models that are mixtures of experts."""
    lora: LoraConfig | None = None
    """Set: train low-rank adapters instead of the weights, and merge them at the end."""
    strategy: Operational[Literal["ddp", "fsdp2"]] = "ddp"
    """Each worker holds the whole model (`ddp`) or a shard of it (`fsdp2`)."""
    reshard: Operational[bool] = True
    """With fsdp2: let go of a layer's weights behind its forward pass and gather them again for its backward pass: less
    memory for half as much traffic again."""
    gradient_sync: Operational[Literal["step", "micro_batch"] | None] = None
    """How often workers sum up gradients. Once a step is less traffic, and with fsdp2 costs each GPU the memory of all
    gradients. Unset: `step` with ddp, `micro_batch` with fsdp2."""
    reduce_dtype: Operational[Dtype] = "float32"
    """In which type gradients travel between workers; bfloat16 halves the traffic and rounds the sums."""
    workers: Operational[int] = Field(1, gt=0, le=10_000)
    threads: Operational[int] = Field(2, gt=0, le=10_000)
    """CPU threads of each worker (ignored on GPUs)."""
    gradient_checkpointing: Operational[bool] = False
    loss_chunk: Operational[int] = Field(0, ge=0)
    """Answer tokens whose logits are computed at a time, and once more for the gradient; those of a whole vocabulary
    take most of the memory of a large model. 0: the logits of all positions at once, faster for a small vocabulary."""
    max_length: Operational[int] = Field(1024, gt=0)
    """Tokens of one conversation, image included; longer ones are an error of the data stage."""
    packing: Operational[int] = Field(0, ge=0)
    """Tokens of a row in which whole conversations are laid one behind the other, none seeing another, so that hardly
    anything is padded; 0: a row each. What is learned is the same."""
    log_every: Operational[int] = Field(10, gt=0)
    checkpoint_every: Operational[int] = Field(100, gt=0)
    probe_every: Operational[int] = Field(200, gt=0)
    """Steps between two sets of probe images (image, truth, prediction)."""
    noise_every: Operational[int] = Field(10, ge=0)
    """Steps between two measurements of the gradient noise scale, the batch size that it recommends; 0: none."""
    held_out: HeldOutConfig | None = None
    """Set: measure loss and gIoU on what is kept out of the training; keep the best state; end early."""
    curriculum: tuple[Phase, ...] = ()
    """Set: train on fresh RefShapes scenes, phase by phase, instead of the dataset stage's files (how the base
    checkpoint is made)."""
    loader_workers: Operational[int | None] = Field(None, ge=0, le=10_000)
    """Processes of each worker that prepare batches; 0 prepares them in the training process. Unset: one for each core
    but one that the workers and their threads leave, up to 4."""
    max_failures: Operational[int] = Field(3, ge=0)
    """How often a run may lose a worker and go on from its newest checkpoint."""
    stall_s: Operational[float] = Field(1800.0, gt=0, le=604_800)
    """Longest that a worker may take to start, for a step, or to save: one that takes longer is said to hang, with the
    place, and counts as lost."""

    @model_validator(mode="after")
    def _batches_divide(self) -> "TrainConfig":
        if self.batch_size % (self.micro_batch_size * self.workers):
            raise ValueError("batch_size must be a multiple of micro_batch_size x workers: change one of the three")
        if self.rates == RatesConfig(vision=0, projector=0, language=0):
            raise ValueError("rates: all parts are frozen, and nothing would learn: raise one above 0")
        if self.lora and self.strategy == "fsdp2" and self.workers > 1:
            raise ValueError("lora: adapters are not sharded: set strategy to ddp, which copies them and the model")
        ends = [phase.until for phase in self.curriculum]
        if ends and (sorted(set(ends)) != ends or ends[-1] != 1):
            raise ValueError("curriculum: `until` must rise from phase to phase and end at 1")
        if self.curriculum and self.steps is None:
            raise ValueError("curriculum: fresh scenes have no epochs, set `steps`")
        return self


class RolloutConfig(Section):
    """How answers are sampled during RL."""

    engine: Literal["vllm", "transformers"] = "vllm"
    temperature: float = Field(1.0, gt=0, le=100)
    top_p: float = Field(1.0, gt=0, le=1)
    max_tokens: int = Field(160, gt=0)
    max_length: int = Field(1024, gt=0)
    """Tokens of a prompt and its answer together, image included."""
    kv_cache_mib: Operational[int] = Field(128, gt=0)
    max_num_seqs: Operational[int] = Field(64, gt=0)
    gpu_memory_utilization: Operational[float] = Field(0.5, gt=0, le=1)
    engines: Operational[int] = Field(1, gt=0, le=10_000)
    """Engines that share the prompts of a rollout batch, each in a process of its own."""
    prompts_per_call: int = Field(32, gt=0)
    """Prompts that an engine is given at a time; the answers drawn depend on it, but not on the number of engines."""
    tensor_parallel: Operational[int] = Field(1, gt=0, le=10_000)
    """GPUs of one engine."""


class PromptFilterConfig(Section):
    """Which prompts RL draws from, by the share of the SFT model's answers that pass."""

    enabled: bool = False
    samples: int = Field(4, gt=0, le=10_000)
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
    """Reinforcement learning from rule-based rewards, by group sequence policy optimisation unless told otherwise."""

    enabled: bool = True
    objective: ObjectiveName = "gspo"
    """A row of the table in `simpleseg_core/training/objectives`, where its paper and equation are named."""
    steps: int = Field(30, gt=0)
    """Rollout batches; each gives `minibatches` optimizer steps."""
    prompts: int = Field(16, gt=0)
    """Prompts in a rollout batch."""
    group_size: int = Field(8, ge=2)
    """Answers for each prompt."""
    minibatches: int = Field(2, gt=0)
    micro_batch_size: Operational[int] = Field(32, gt=0)
    """Answers in one forward pass of the trainer."""
    images_at_once: Operational[int] = Field(32, gt=0)
    """Images that go through the trainer's vision tower together; where a minibatch has more, each is encoded once
    more for its gradient, and memory is bounded by these."""
    clip_low: float | None = Field(None, gt=0, le=1)
    """Unset: what the objective's paper takes (3e-4 for gspo), as for `clip_high`."""
    clip_high: float | None = Field(None, gt=0, le=100)
    importance_cap: float | None = Field(None, ge=1, le=1000)
    """Set: each answer weighs as much as the trainer finds it likelier than the engine that drew it, up to this."""
    kl: float = Field(0.0, ge=0, le=1000)
    """Weight of the KL term towards the SFT model (k3 estimator)."""
    normalise_std: bool = True
    """Divide group advantages by the group's standard deviation (dr_grpo and maxrl never do, gdpo always does)."""
    min_spread: float = Field(0.01, ge=0, le=1)
    """IoU by which the best and the worst answer to a prompt must differ for the two to teach anything; also the least
    that `normalise_std` divides by. Smaller differences are what rounding to the grid gives and takes."""
    max_resample: int = Field(2, ge=0, le=100)
    """Extra draws of prompts in a step to replace groups whose rewards differ by less than `min_spread`."""
    optimizer: OptimizerConfig = OptimizerConfig(lr=1e-4, min_lr=1e-5, weight_decay=0.0)
    rewards: RewardConfig = RewardConfig()
    rollout: RolloutConfig = RolloutConfig()
    prompt_filter: PromptFilterConfig = PromptFilterConfig()
    placement: Operational[Literal["colocated", "disaggregated"]] = "colocated"
    """Whether an engine generates on the GPUs of the trainer's workers while these wait, or on GPUs of its own. Without
    GPUs all share the CPUs."""
    trainer_workers: Operational[int] = Field(1, gt=0, le=10_000)
    """Processes that share the trainer's model (FSDP2), a GPU each."""
    trainer_threads: Operational[int] = Field(1, gt=0, le=10_000)
    asynchronous: bool = False
    """Generate the answers of the next step while this one trains: they are one step stale, always."""
    timeout_s: Operational[float] = Field(1800.0, gt=0, le=604_800)
    """Longest that a call to an engine or to the trainer may take; whoever takes longer is replaced."""
    max_replacements: Operational[int] = Field(10, ge=0, le=10_000)
    """Engines that a run may lose and replace, and how often its trainer may start again."""
    checkpoint_every: Operational[int] = Field(5, gt=0)
    probe_every: Operational[int] = Field(10, gt=0)
    table_every: Operational[int] = Field(5, ge=0)
    """Steps between two tables of rollouts: every prompt with its answers and what they earned; 0: none."""
    noise_every: Operational[int] = Field(5, ge=0)
    """Steps between two measurements of the gradient noise scale, as in `sft`."""

    @property
    def min_reward_spread(self) -> float:
        """What `min_spread` is in rewards: a term's share of the total is its weight's.

        Where IoU has no weight, the term of the greatest stands in for it.
        """
        weights = self.rewards.weights
        return self.min_spread * float((weights["iou"] or max(weights.values())) / sum(weights.values()))

    @model_validator(mode="after")
    def _minibatches_divide(self) -> "RLConfig":
        if self.prompts * self.group_size % self.minibatches:
            raise ValueError("rl.prompts x rl.group_size must be a multiple of rl.minibatches")
        return self
