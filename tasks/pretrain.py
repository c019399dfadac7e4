"""Pre-training: the base model goes on with pairs made of annotated images, or starts from scratch on a curriculum."""

from simpleseg_core.config import Config
from simpleseg_core.contract import Context, Inputs, Outputs, StageResult
from tasks._train import run_training


def run(config: Config, inputs: Inputs, outputs: Outputs, context: Context) -> StageResult:
    """`model.base` -> an HF checkpoint."""
    return run_training("pretrain", config.pretrain, config.model.base, config, inputs, outputs["model"], context)
