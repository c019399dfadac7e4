"""RL prompts worth drawing: neither solved by the SFT model nor hopeless for it, by how often its answers pass."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simpleseg_core.config import PromptFilterConfig
from simpleseg_core.data.outlines import row_rle
from simpleseg_core.files import read_state, write_json
from simpleseg_core.geometry import Rle, polygons_mask_iou
from simpleseg_core.grammar import Style, parse_polygons

Row = Mapping[str, Any]
"""A row of PROMPTS."""
AnswerPrompts = Callable[[Sequence[Row], int], Sequence[Sequence[str]]]
"""Prompts and the number of the first -> `samples` answers to each."""

_CHUNK = 256
"""Prompts answered at once; what they gave is saved before the next."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Selection:
    """Indices of the prompts to train on, and how many were left out for either reason."""

    kept: list[int]
    hopeless: int
    solved: int


def select_prompts(rates: Sequence[float], settings: PromptFilterConfig) -> Selection:
    """The prompts whose pass rate lies within `min_pass` and `max_pass`, bounds included.

    Raises:
        ValueError: none is left.
    """
    kept = [i for i, rate in enumerate(rates) if settings.min_pass <= rate <= settings.max_pass]
    hopeless = sum(rate < settings.min_pass for rate in rates)
    solved = len(rates) - len(kept) - hopeless
    if not kept:
        raise ValueError(
            f"rl.prompt_filter leaves none of {len(rates)} prompts: {hopeless} are below min_pass, {solved} above "
            "max_pass: widen the two, change rl.prompt_filter.iou, or set rl.prompt_filter.enabled=false"
        )
    return Selection(kept, hopeless, solved)


def pass_rates(
    rows: Sequence[Row], answer: AnswerPrompts, threshold: float, state: Path, mark: str, style: Style | None = None
) -> list[float]:
    """For each prompt the share of answers whose IoU with the true mask reaches the threshold.

    Args:
        state: JSON file with the rates found so far; a run with the same `mark` goes on from there.
        style: that the prompts ask for.
    """
    saved = read_state(state)
    rates: list[float] = list(saved["rates"]) if saved.get("mark") == mark else []
    for start in range(len(rates), len(rows), _CHUNK):
        part = rows[start : start + _CHUNK]
        for row, texts in zip(part, answer(part, start), strict=True):
            truth = row_rle(row)
            rates.append(sum(answer_iou(text, truth, style) >= threshold for text in texts) / len(texts))
        write_json(state, {"mark": mark, "rates": rates})
        _log.info("pass rates of %d of %d prompts", len(rates), len(rows))
    return rates


def answer_iou(text: str, truth: Rle, style: Style | None = None) -> float:
    """IoU of an answer with a true mask: 1 where both are empty, 0 for an answer that cannot be read."""
    parsed = parse_polygons(text, style=style)
    if parsed.error is not None:
        return 0.0
    return polygons_mask_iou(parsed.polygons, truth)
