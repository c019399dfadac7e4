"""Reinforcement learning: the SFT model learns geometry from the reward of its own answers (GSPO)."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from shutil import copytree, rmtree

from simpleseg_core.config import Config
from simpleseg_core.contract import Context, Inputs, Outputs, StageResult
from simpleseg_core.data.records import PROMPTS, read_rows
from simpleseg_core.data.shards import ImageStore
from simpleseg_core.fingerprint import fingerprint

_PROBES = 64


def run(config: Config, inputs: Inputs, outputs: Outputs, context: Context) -> StageResult:
    """The SFT checkpoint and the RL prompts -> an HF checkpoint."""
    if not config.rl.enabled:
        rmtree(outputs["model"], ignore_errors=True)
        copytree(inputs["model"], outputs["model"])
        return StageResult(metrics={"steps": 0})
    from simpleseg_core.report.rollouts import render_rollouts
    from simpleseg_core.training.probe import probe_queries
    from simpleseg_core.training.rl import RLRun, train_rl

    table = inputs["dataset"] / "rl.parquet"
    prompts = read_rows(table, PROMPTS)
    if not prompts:
        raise ValueError(f"{table}: no prompts to learn from; raise data.rl_images and run the dataset stage again")
    _check_lengths(config, prompts, table, inputs["model"], context)
    training = RLRun(
        config=config,
        start=inputs["model"],
        prompts=prompts,
        images=inputs["images"].parent,
        probes=probe_queries(inputs["dataset"], _PROBES),
        render=partial(render_rollouts, images=ImageStore(inputs["images"].parent)),
        output=outputs["model"],
        fingerprint=fingerprint(
            rl=config.rl, model=config.model, seed=config.seed, prompts=table, start=inputs["model"]
        ),
    )
    last = train_rl(training, context)
    kept = ["reward", "reward_iou", "valid", "answer_tokens", "engine_gap_max", "probe_giou"]
    kept += ["prompts_kept", "prompts_hopeless", "prompts_solved"]
    return StageResult(metrics={"steps": config.rl.steps, **{name: last[name] for name in kept if name in last}})


def _check_lengths(
    config: Config, prompts: Sequence[Mapping[str, object]], table: Path, start: Path, context: Context
) -> None:
    """See that every prompt leaves room for its answer, as the model's own processor counts.

    Raises:
        ValueError: the longest does not.
    """
    from simpleseg_core.training.lengths import longest

    mark = fingerprint(table=table, model=config.model, start=start)
    found, rollout = longest(prompts, str(start), config.model, context.work / "lengths.json", mark), config.rl.rollout
    if found + rollout.max_tokens > rollout.max_length:
        raise ValueError(
            f"rl.rollout.max_length {rollout.max_length}: the longest prompt has {found} tokens and its answer may "
            f"have {rollout.max_tokens} (max_tokens): raise the one to {found + rollout.max_tokens}, or lower the other"
        )
