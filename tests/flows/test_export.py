"""`simpleseg export`: folders that other tools read, and what it says when there is nothing to write."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from flows.cli.app import app
from tasks.runs.workspace import Workspace
from tests.export.annotated import write_annotations


def export(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["export", *arguments])


@pytest.fixture
def annotated(workspace: Workspace) -> Workspace:
    write_annotations(workspace.root / "data", shards=1)
    return workspace


@pytest.mark.parametrize(
    ("format_", "files"),
    [
        ("coco", {"instances.json", "images/00000003.jpg"}),
        ("labelme", {"00000000.json", "00000000.jpg"}),
        ("hf", {"README.md", "data/train-00000-of-00001.parquet"}),
        ("sheets", {"00000.png"}),
    ],
)
def test_each_format_fills_a_new_folder(annotated: Workspace, format_: str, files: set[str]) -> None:
    result = export(format_, "--out", "out/new")
    assert result.exit_code == 0, result.output
    folder = annotated.root / "out" / "new"
    assert files <= {str(path.relative_to(folder)) for path in folder.rglob("*")}
    assert "in out/new" in result.output
    assert [path.name for path in (annotated.root / "out").iterdir()] == ["new"]


def test_an_unknown_format_is_refused_with_the_known_ones(annotated: Workspace) -> None:
    result = export("labelm", "--out", "out")
    assert result.exit_code == 2
    said = " ".join(result.output.split())
    assert "no export format 'labelm', did you mean `labelme`?: choose one of coco, hf, labelme, sheets" in said


@pytest.mark.parametrize("folder", ["out[v2]", "out[/x]", "out[red]"])
def test_a_folder_is_named_as_it_is(annotated: Workspace, folder: str) -> None:
    result = export("coco", "--out", folder)
    assert result.exit_code == 0, result.output
    assert f"in {folder}" in result.output


def test_a_folder_inside_a_file_is_refused(annotated: Workspace) -> None:
    result = export("coco", "--out", "params.yaml/x")
    assert result.exit_code == 2
    assert "params.yaml/x.partial: Not a directory" in result.output


def test_exact_masks_on_request(annotated: Workspace) -> None:
    assert export("coco", "--out", "exact", "--masks", "rle").exit_code == 0
    document = json.loads((annotated.root / "exact" / "instances.json").read_text())
    assert {type(item["segmentation"]) for item in document["annotations"]} == {dict}


def test_nothing_is_overwritten(annotated: Workspace) -> None:
    (annotated.root / "out").mkdir()
    (annotated.root / "out" / "mine.txt").write_text("keep")
    result = export("coco", "--out", "out")
    assert result.exit_code == 2
    assert "name a new folder" in " ".join(result.output.split())
    assert [path.name for path in (annotated.root / "out").iterdir()] == ["mine.txt"]


def test_without_annotations_the_command_that_makes_them_is_named(workspace: Workspace) -> None:
    result = export("coco", "--out", "out")
    assert result.exit_code == 2
    assert "simpleseg run --until describe" in " ".join(result.output.split())
    assert not Path("out").exists()


def test_an_image_that_no_shard_holds_leaves_nothing_behind(annotated: Workspace) -> None:
    write_annotations(annotated.root / "other", shards=1, per_shard=2)
    (annotated.root / "other" / "images" / "00000.tar").replace(annotated.root / "data" / "images" / "00000.tar")
    result = export("labelme", "--out", "out")
    assert result.exit_code == 1
    assert "come from different runs" in " ".join(result.output.split())
    assert not list(annotated.root.glob("out*"))
