"""Reinforcement learning: the SFT model learns geometry from the reward of its own answers (GSPO)."""

from pathlib import Path
from shutil import copytree, rmtree

from simpleseg_core.config import Config
from simpleseg_core.data.records import PROMPTS, read_rows
from simpleseg_core.stages._base import Context, Inputs, Outputs, StageResult
from simpleseg_core.training.checkpoint import fingerprint

_PROBES = 4


def run(config: Config, inputs: Inputs, outputs: Outputs, context: Context) -> StageResult:
    """The SFT checkpoint and the RL prompts -> an HF checkpoint."""
    if not config.rl.enabled:
        rmtree(outputs["model"], ignore_errors=True)
        copytree(inputs["model"], outputs["model"])
        return StageResult(metrics={"steps": 0})
    from simpleseg_core.training.rl import RLRun, train_rl

    table = inputs["dataset"] / "rl.parquet"
    prompts = read_rows(table, PROMPTS)
    if not prompts:
        raise ValueError(f"{table}: no prompts to learn from; raise data.rl_images and run the dataset stage again")
    job = RLRun(
        config=config,
        start=inputs["model"],
        prompts=prompts,
        images=inputs["images"].parent,
        probes=_probes(inputs["dataset"]),
        output=outputs["model"],
        fingerprint=fingerprint(config.rl, config.model, config.seed, table, inputs["model"]),
    )
    last = train_rl(job, context)
    kept = ["reward", "reward_iou", "valid", "answer_tokens", "engine_gap_max"]
    kept += ["prompts_kept", "prompts_hopeless", "prompts_solved"]
    return StageResult(metrics={"steps": config.rl.steps, **{name: last[name] for name in kept if name in last}})


def _probes(dataset: Path) -> list[dict[str, object]]:
    """A few queries of the first validation benchmark, the same in every run."""
    for table in sorted(dataset.glob("benchmarks/*val.parquet")):
        rows = read_rows(table, PROMPTS)
        return rows[:: max(1, len(rows) // _PROBES)][:_PROBES]
    return []
