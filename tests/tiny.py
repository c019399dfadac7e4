"""A very small nano model that tests share."""

import json
from dataclasses import dataclass

from PIL import Image

from simpleseg_core.config import ModelConfig, NanoConfig
from simpleseg_core.training.collate import Conversation
from simpleseg_core.training.supervised import SupervisedRun

TINY = ModelConfig(
    nano=NanoConfig(
        hidden_size=64,
        layers=2,
        heads=2,
        kv_heads=1,
        intermediate_size=96,
        vision_hidden_size=64,
        vision_layers=1,
        vision_heads=2,
    )
)
"""A quarter of a million parameters: enough to memorise a handful of answers."""


@dataclass(frozen=True)
class FourColours:
    """Four images, each with one right answer."""

    def __getitem__(self, index: int) -> Conversation:
        colour = ("red", "green", "blue", "yellow")[index % 4]
        return Conversation(Image.new("RGB", (64, 64), colour), ("what is here",), (f"{colour} [{index % 4}00,20]",))


def losses(run: SupervisedRun) -> dict[int, float]:
    """Logged losses of a run by step."""
    events = [json.loads(line) for line in (run.work / "events.jsonl").read_text().splitlines()]
    return {event["step"]: event["metrics"]["loss"] for event in events if event.get("metrics")}
