"""Supervised fine-tuning: the pre-trained model learns the grammar of polygons on referring expressions."""

from simpleseg_core.config import Config
from simpleseg_core.contract import Context, Inputs, Outputs, StageResult
from tasks._train import run_training


def run(config: Config, inputs: Inputs, outputs: Outputs, context: Context) -> StageResult:
    """The pre-trained checkpoint -> an HF checkpoint."""
    return run_training("sft", config.sft, str(inputs["model"]), config, inputs, outputs["model"], context)
