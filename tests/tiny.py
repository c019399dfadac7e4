"""A very small nano model that tests share."""

import json
from dataclasses import dataclass

from PIL import Image

from simpleseg_core.config import ModelConfig, NanoConfig
from simpleseg_core.training.run import SupervisedRun
from simpleseg_core.training.samples import Conversation

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

    def held(self, index: int) -> Conversation:
        """One with two answers, of different lengths."""
        shown = self[index]
        return Conversation(shown.image, (*shown.questions, "and what else"), (*shown.answers, "[" * (index + 1)))


def losses(run: SupervisedRun) -> dict[int, float]:
    """Logged losses of a run by step."""
    return curve(run, "loss")


def curve(run: SupervisedRun, name: str) -> dict[int, float]:
    """What a run logged under a name, by step."""
    events = [json.loads(line) for line in (run.work / "events.jsonl").read_text().splitlines()]
    return {event["step"]: event["metrics"][name] for event in events if name in event.get("metrics", {})}
