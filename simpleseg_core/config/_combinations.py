"""Settings that are fine by themselves and cannot work together, as far as the configuration alone can tell."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from simpleseg_core.config.parts import RouterConfig
from simpleseg_core.kinds import ARCHITECTURES

if TYPE_CHECKING:
    from simpleseg_core.config._root import Config


def impossible(config: "Config") -> Iterator[str]:
    """What cannot work, a line each: the setting, why, and what to change."""
    yield from _data(config)
    yield from _annotation(config)
    yield from _lengths(config)
    yield from _packing(config)
    yield from _experts(config)
    yield from _reinforcement(config)


def _data(config: "Config") -> Iterator[str]:
    web, contour = config.data.web, config.contour
    missing = [name for name in ("url", "text") if name not in web.columns]
    if config.data.source == "web" and web.schema_name == "generic" and missing:
        yield f"data.web.columns: the schema generic knows no column for {' and '.join(missing)}: name it there"
    if contour.min_area >= contour.max_area:
        yield f"contour.min_area {contour.min_area} leaves no mask below contour.max_area {contour.max_area}: lower it"


def _annotation(config: "Config") -> Iterator[str]:
    if config.contour.min_similarity is not None and config.segment.clip is None:
        yield "contour.min_similarity: nothing measures it: name a CLIP in segment.clip, or unset it"
    if config.describe.is_checked and not config.detect.reads_text:
        yield (
            f"describe.min_consistency: detect.engine is {config.detect.engine}, which looks at no text: choose "
            "another detector, or set it to 0"
        )


def _lengths(config: "Config") -> Iterator[str]:
    """A prompt and its answer share one length, and the prompt needs some of it."""
    describe, rollout, evaluate = config.describe, config.rl.rollout, config.evaluate
    lengths = {
        "describe": (describe.max_tokens, describe.max_length),
        "rl.rollout": (rollout.max_tokens, rollout.max_length),
        "evaluate": (evaluate.max_tokens, evaluate.max_length),
    }
    for name, (tokens, length) in lengths.items():
        if tokens >= length:
            yield (
                f"{name}.max_tokens {tokens} leaves no room for a prompt in {name}.max_length {length}: "
                "lower the one or raise the other"
            )


def _packing(config: "Config") -> Iterator[str]:
    for name in (name for name, train in (("pretrain", config.pretrain), ("sft", config.sft)) if train.packing):
        if config.model.attention == "flash_attention_2":
            yield (
                f"{name}.packing: model.attention flash_attention_2 does not keep conversations in a row apart: set it "
                "to 0, or model.attention to sdpa"
            )


def _experts(config: "Config") -> Iterator[str]:
    for name, train in (("pretrain", config.pretrain), ("sft", config.sft)):
        if train.router != RouterConfig() and not ARCHITECTURES.load(config.model.architecture).experts:
            yield f"{name}.router: model.architecture {config.model.architecture} has no experts: leave it out"


def _reinforcement(config: "Config") -> Iterator[str]:
    rl, style, points = config.rl, config.dataset.style, config.contour.max_points
    if not rl.enabled:
        return
    if rl.rewards.style != style:
        yield (
            f"rl.rewards.style {rl.rewards.style} pays for another grammar than dataset.style {style} teaches: "
            "make them the same"
        )
    if points is not None and points > rl.rewards.max_points:
        yield (
            f"contour.max_points {points} allows outlines that rl.rewards.max_points {rl.rewards.max_points} makes "
            "worth nothing: lower the one or raise the other"
        )
