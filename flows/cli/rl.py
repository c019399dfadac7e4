"""`simpleseg rl`: what reinforcement learning has sampled, in the terminal."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from flows.cli.console import AsJson, bad_input, out
from tasks.runs.workspace import Workspace

if TYPE_CHECKING:
    from simpleseg_core.training.rl_table import AnswerRow, GroupRow

EXAMPLES = """\
Examples:

  simpleseg rl replay 10               the prompts of step 10 with their answers, the worst first

  simpleseg rl replay 10 --prompts 1   the worst prompt only

  simpleseg rl replay 10 --json | jq '.groups[0].answers[].text'
"""
app = typer.Typer(
    help="Look at what reinforcement learning has sampled.", no_args_is_help=True, rich_markup_mode="rich"
)


@app.command(epilog=EXAMPLES)
def replay(
    step: Annotated[int, typer.Argument(min=1, help="A step whose rollouts were kept (rl.table_every).")],
    prompts: Annotated[int, typer.Option(min=1, help="How many prompts to show.")] = 8,
    as_json: AsJson = False,
) -> None:
    """Print the rollouts of a step: prompts, answers, reward terms, ratios and lengths."""
    from simpleseg_core.training.rl_table import read_rollouts, rollouts_folder

    with bad_input():
        table = read_rollouts(rollouts_folder(Workspace.find().work("rl")), step)
    if as_json:
        out.print_json(data=asdict(table), highlight=False)
        return
    for number, group in enumerate(table.groups[:prompts], 1):
        out.print(_printed(number, group))
    if len(table.groups) > prompts:
        out.print(f"{len(table.groups) - prompts} more prompts went better: --prompts shows more")


def _printed(number: int, group: "GroupRow") -> Table:
    """A prompt with its answers, a line each."""
    terms = list(group.answers[0].terms)
    note = "" if group.trained else ", rewards too alike to teach"
    head = (
        f"{number}. {group.prompt['expression']}: mean reward {group.reward:.3f}, step {group.version}'s weights{note}"
    )
    table = Table(title=escape(head), title_justify="left", box=None)
    for column in ("reward", *terms, "ratio", "tokens"):
        table.add_column(column, justify="right")
    table.add_column("answer", overflow="fold")
    for answer in group.answers:
        table.add_row(*_numbers(answer), escape(answer.text) + _flags(answer))
    return table


def _numbers(answer: "AnswerRow") -> list[str]:
    ratio = "" if answer.ratio is None else f"{answer.ratio:.5f}"
    return [f"{answer.reward:.3f}", *(f"{value:.2f}" for value in answer.terms.values()), ratio, str(answer.tokens)]


def _flags(answer: "AnswerRow") -> str:
    flags = [] if answer.finished else ["cut off"]
    flags += [answer.error] if answer.error else []
    return f" [red]{escape('; '.join(flags))}[/]" if flags else ""
