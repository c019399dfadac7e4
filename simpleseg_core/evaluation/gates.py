"""Conditions on differences that fail a comparison, for scripts and CI: `giou < -1`, `valid.high < 0`."""

import operator
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from simpleseg_core.evaluation.comparison import Comparison
from simpleseg_core.metrics import METRICS
from simpleseg_core.names import did_you_mean

_FORM = re.compile(r"\s*(\w+)(?:\.(low|high))?\s*(<=|>=|<|>)\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*")
_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_BOUNDS = {None: "mean", "low": "low", "high": "high"}


@dataclass(frozen=True, slots=True)
class Gate:
    """A condition on the difference in one metric, in the metric's unit."""

    text: str
    metric: str
    bound: str
    """`mean`, or an end of its 95% interval: `low`, `high`."""
    holds: Callable[[float], bool]

    @classmethod
    def parse(cls, text: str) -> "Gate":
        """Read `METRIC[.low|.high] < NUMBER`, or with `<=`, `>`, `>=`.

        Raises:
            ValueError: not of that form, or no such metric.
        """
        if (found := _FORM.fullmatch(text)) is None:
            raise ValueError(f'--fail-if {text!r}: expected a metric, < or >, and a number, such as "giou < -1"')
        name, bound, sign, number = found.groups()
        if name not in METRICS:
            known = ", ".join(METRICS)
            raise ValueError(f"--fail-if {text!r}: no metric {name!r}{did_you_mean(name, METRICS)}: one of {known}")
        compared, limit = _OPERATORS[sign], float(number)
        return cls(text.strip(), name, _BOUNDS[bound], lambda value: compared(value, limit))


def failures(gates: Sequence[Gate], found: Sequence[Comparison]) -> Iterator[str]:
    """A line for every difference on a whole benchmark that a gate fails.

    A gate on a metric that nowhere applies fails too: what was not measured has not passed.
    """
    for gate in gates:
        measured = [
            (each.benchmark, run, table[gate.metric])
            for each in found
            for run, table in each.whole.differences.items()
            if gate.metric in table
        ]
        if not measured:
            yield f"{gate.text}: {gate.metric} applies to none of these queries"
        for benchmark, run, difference in measured:
            if gate.holds(getattr(difference, gate.bound)):
                interval = f"{difference.mean:+.2f} [{difference.low:+.2f}, {difference.high:+.2f}]"
                yield f"{gate.text}: {run} on {benchmark} has {interval}"
