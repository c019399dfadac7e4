"""`simpleseg compare`: runs side by side on the queries that all of them answered."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from flows.cli.console import FAILED, AsJson, bad_input, err, out
from simpleseg_core.config import Config
from simpleseg_core.config.files import load_config
from tasks.runs.workspace import NoWorkspaceError, Workspace

if TYPE_CHECKING:
    from simpleseg_core.evaluation import Comparison
    from simpleseg_core.evaluation.comparison import Answers

EXAMPLES = """\
Examples:

  simpleseg compare sft rl                            two models of this working copy

  simpleseg compare rl@HEAD~3 rl --out changes.html   the same model at an earlier commit, with pictures

  simpleseg compare rl@8f0c6d1f5c0e4b9e9a52c62d3ad1b7e4 rl --fail-if "giou < -1"   a run of MLflow; exit code 1

  simpleseg compare sft theirs/predictions --out table.tex
"""
_SUFFIXES = (".html", ".json", ".md", ".tex", ".txt")


def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...",
            help="Two or more; the first is what the others are compared with. A model under test (sft, rl), "
            "MODEL@COMMIT, MODEL@ID of an MLflow run that evaluated, or a folder or file of predictions.",
        ),
    ],
    out_files: Annotated[
        list[Path] | None,
        typer.Option("--out", metavar="FILE", help="Write it as .html (with pictures), .md, .tex, .txt or .json."),
    ] = None,
    fail_if: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CONDITION",
            help='Exit with 1 where a difference is so: "giou < -1", "giou.high < 0" (end of the 95% interval).',
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare runs on the queries that all of them answered: paired differences with intervals, worst and best."""
    from simpleseg_core.evaluation import Gate, compare_runs, comparison_json, failures

    with bad_input():
        gates = [Gate.parse(text) for text in fail_if or ()]
        for file in out_files or ():
            _check_output(file)
        workspace, config = _here()
        found = compare_runs(_answers(runs, workspace, config), samples=config.evaluate.bootstrap_samples)
    for file in out_files or ():
        file.write_text(_written(file, found, workspace), encoding="utf-8")
    if as_json:
        out.print_json(data=comparison_json(found), highlight=False)
    else:
        _show(found, out_files or ())
    if failed := list(failures(gates, found)):
        for line in failed:
            err.print(f"[red]fails[/] {escape(line)}", soft_wrap=True)
        raise typer.Exit(FAILED)


def _here() -> tuple[Workspace | None, Config]:
    try:
        workspace = Workspace.find()
    except NoWorkspaceError:
        return None, Config()
    return workspace, load_config(workspace.params)


def _answers(runs: Sequence[str], workspace: Workspace | None, config: Config) -> dict[str, "Answers"]:
    from tasks.compare import read_run

    if len(set(runs)) < max(2, len(runs)):
        raise ValueError("name two runs or more, each once: the first is what the others are compared with")

    def of_mlflow(workspace: Workspace, run_id: str) -> str:
        from tasks.runs.tracking.store import Store

        return Store.open(workspace, config.tracking).predictions(run_id)

    return {name: read_run(workspace, name, of_mlflow) for name in runs}


def _check_output(file: Path) -> None:
    if file.suffix not in _SUFFIXES:
        raise ValueError(f"--out {file}: end its name in {', '.join(_SUFFIXES)}")
    if not file.parent.is_dir():
        raise ValueError(f"--out {file}: its folder is not there")


def _written(file: Path, found: "Sequence[Comparison]", workspace: Workspace | None) -> str:
    from simpleseg_core.data.shards import ImageStore
    from simpleseg_core.evaluation import comparison_json
    from simpleseg_core.report import TABLE_FORMATS, render_comparison, text_report
    from tasks.compare import drawable_queries

    if file.suffix == ".json":
        return json.dumps(comparison_json(found), indent=2) + "\n"
    if file.suffix == ".html":
        drawable = drawable_queries(workspace) if workspace else lambda row: False
        return render_comparison(found, ImageStore((workspace.root if workspace else Path()) / "data"), drawable)
    return text_report(found, TABLE_FORMATS[file.suffix]) + "\n"


def _show(found: "Sequence[Comparison]", out_files: Sequence[Path]) -> None:
    from simpleseg_core.metrics import HEADLINES
    from simpleseg_core.report import comparison_table, parts_table

    for each in found:
        left_out = f", {each.left_out} left out: not every run answered them" if each.left_out else ""
        out.print(f"[bold]{escape(each.benchmark)}[/]  {each.queries} queries{left_out}", soft_wrap=True)
        out.print(escape(comparison_table(each, "simple", HEADLINES)) + "\n", soft_wrap=True)
    out.print(f"gIoU on parts of {escape(found[0].benchmark)}", soft_wrap=True)
    out.print(escape(parts_table(found[0], "giou", "simple")), soft_wrap=True)
    for file in out_files:
        out.print(f"written   {escape(str(file))}", soft_wrap=True)
