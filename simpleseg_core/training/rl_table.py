"""What a step has sampled as a table for people: prompts with all their answers, those that went worst first."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from simpleseg_core.config import Style
from simpleseg_core.files import write_json
from simpleseg_core.grammar import parse_polygons

if TYPE_CHECKING:  # who reads a table needs no torch
    from simpleseg_core.training.rl_measured import Measured
    from simpleseg_core.training.rl_rollout import SampledStep, Scored


@dataclass(frozen=True, slots=True)
class AnswerRow:
    """One answer, and what became of it."""

    text: str
    tokens: int
    finished: bool
    """Whether it ended by itself; else it was cut off, and is worth nothing."""
    error: str | None
    """Why it cannot be read."""
    reward: float
    terms: Mapping[str, float]
    ratio: float | None
    """pi / pi_old of the answer in its last minibatch; null where nothing was learned from it."""


@dataclass(frozen=True, slots=True)
class GroupRow:
    """A prompt (a row of PROMPTS) with its answers, best first."""

    prompt: Mapping[str, Any]
    version: int
    """Steps of training behind the weights that answered."""
    trained: bool
    """Whether the rewards differed enough to teach anything."""
    answers: list[AnswerRow]

    @property
    def reward(self) -> float:
        """Mean over the answers."""
        return fmean(answer.reward for answer in self.answers)


@dataclass(frozen=True, slots=True)
class RolloutTable:
    """The groups of one step."""

    step: int
    style: Style | None
    """That answers were asked for in."""
    groups: list[GroupRow]


def rollout_table(step: int, rollout: "SampledStep", measured: "Measured") -> RolloutTable:
    """The table of a step, counted from 1."""
    ratios = dict(zip(map(int, measured.values["answer"]), measured.values["ratio"], strict=True))
    groups, first = list[GroupRow](), 0
    for scored in rollout.scored:
        groups.append(_group(scored, ratios, first, rollout.style))
        first += len(scored.group.completions) if scored.trained else 0
    return RolloutTable(step, rollout.style, sorted(groups, key=lambda group: group.reward))


def _group(scored: "Scored", ratios: Mapping[int, float], first: int, style: Style | None) -> GroupRow:
    """A group whose first answer is the number `first` of those trained on."""
    group = scored.group
    answers = [
        AnswerRow(
            completion.text,
            len(completion.token_ids),
            completion.finished,
            parse_polygons(completion.text, style=style).error,
            reward,
            {name: values[i] for name, values in group.terms.items()},
            ratios.get(first + i) if scored.trained else None,
        )
        for i, (completion, reward) in enumerate(zip(group.completions, group.rewards, strict=True))
    ]
    answers.sort(key=lambda answer: -answer.reward)
    return GroupRow(dict(scored.row), scored.version, scored.trained, answers)


def rollouts_folder(work: Path) -> Path:
    """Where the stage keeps its tables, in the folder of its state."""
    return work / "rollouts"


def write_rollouts(table: RolloutTable, folder: Path) -> None:
    """Keep a table in a folder, a file for each step."""
    write_json(_file(folder, table.step), asdict(table))


def read_rollouts(folder: Path, step: int) -> RolloutTable:
    """The table of a step.

    Raises:
        ValueError: that step was not kept; the message says which were.
    """
    file = _file(folder, step)
    if not file.exists():
        kept = ", ".join(str(int(each.stem)) for each in sorted(folder.glob("*.json"))) or "none"
        raise ValueError(f"no rollouts of step {step} are kept (rl.table_every); there are those of: {kept}")
    return TypeAdapter(RolloutTable).validate_json(file.read_bytes())


def _file(folder: Path, step: int) -> Path:
    return folder / f"{step:06d}.json"
