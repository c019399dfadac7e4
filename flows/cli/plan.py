"""`simpleseg plan`: what a run would take of some hardware, before anything is loaded."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from flows.cli.console import BAD_INPUT, AsJson, bad_input, err, out
from simpleseg_core.config.files import load_config, load_profile
from tasks.runs.workspace import Workspace

if TYPE_CHECKING:
    from simpleseg_core.planning.stages import Assumptions, StagePlan

EXAMPLES = """\
Examples:

  simpleseg plan --gpu h100                                  the configured run, on as many GPUs as it asks for

  simpleseg plan --profile qwen2_5_vl_7b --gpu h200 --price 3.5

  simpleseg plan --profile qwen2_5_vl_3b --conversations 800000 --tokens 900 --json
"""


def plan(
    profile: Annotated[
        str | None, typer.Option(help="Plan for a profile (`simpleseg profile list`) instead of params.yaml.")
    ] = None,
    gpu: Annotated[str, typer.Option(help="b200, h200, h100, a100, a100-40, l40s, l4, rtx4090, rtx3090.")] = "h100",
    conversations: Annotated[int, typer.Option(min=1, help="In each table that a stage learns from.")] = 100_000,
    tokens: Annotated[int, typer.Option(min=2, help="Of a conversation on average, its image included.")] = 1_000,
    mfu: Annotated[float, typer.Option(min=0.01, max=1, help="Share of the GPU's peak that training reaches.")] = 0.35,
    price: Annotated[float | None, typer.Option(min=0, help="Of a GPU for an hour, for the cost.")] = None,
    as_json: AsJson = False,
) -> None:
    """Plan memory, hours and cost of pretrain, sft and rl; exit code 2 where a stage does not fit its GPUs.

    Memory is counted: a step of the configured training runs on tensors that are shapes only. That takes seconds for a
    small model and minutes for one of billions. Hours are estimates.
    """
    from simpleseg_core.planning.hardware import gpu_named
    from simpleseg_core.planning.stages import Assumptions, plan_stages
    from simpleseg_core.planning.stages import as_json as stage_json

    with bad_input():
        config = load_profile(profile) if profile else load_config(Workspace.find().params)
        card, assumed = gpu_named(gpu), Assumptions(conversations, tokens, mfu, price)
        with err.status("counting memory ..."):
            plans = list(plan_stages(config, card, assumed))
    if as_json:
        out.print_json(data=[stage_json(each, assumed) for each in plans], highlight=False)
    else:
        _show(plans, assumed, gpu)
    for each in plans:
        if not each.fits:
            err.print(f"[red bold]does not fit:[/] {each.stage} on {gpu}: {each.cure}", soft_wrap=True)
    if not all(each.fits for each in plans):
        raise typer.Exit(BAD_INPUT)


def _show(plans: "list[StagePlan]", assumed: "Assumptions", gpu: str) -> None:
    from simpleseg_core.planning.stages import GIB

    table = Table(box=None, pad_edge=False, title="GiB of each GPU", title_justify="left", title_style="dim")
    for name in (
        "stage",
        "GPUs",
        "states",
        "working",
        "engine",
        "needed",
        "room",
        "steps",
        "tokens/s",
        "hours",
        "cost",
    ):
        table.add_column(name, justify="left" if name == "stage" else "right")
    for each in plans:
        states = sum(each.memory[name] for name in ("weights", "gradients", "optimizer"))
        sizes = [states, each.memory["working"], each.memory.get("engine", 0), each.need, each.room]
        cells = [f"{size / GIB:.1f}" for size in sizes]
        cost = "-" if assumed.price is None else f"{each.cost(assumed.price):,.0f}"
        table.add_row(
            each.stage, str(each.gpus), *cells, f"{each.steps:,}", f"{each.tokens_per_s:,.0f}", f"{each.hours:,.1f}",
            cost, style="" if each.fits else "red",
        )  # fmt: skip
    out.print(table)
    out.print(
        f"[dim]On {gpu}. Memory is counted, of the longest rows that max_length allows. Hours are estimated: "
        f"{assumed.conversations:,} conversations of {assumed.tokens} tokens, MFU {assumed.mfu:.0%}.[/]",
        soft_wrap=True,
    )
