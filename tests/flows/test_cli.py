"""The command line: what it prints, what it refuses, and with which exit code."""

import json
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from flows.cli import main
from flows.cli.app import app
from simpleseg_core.config.files import load_config
from tasks.graph import STAGES
from tasks.runs.workspace import Workspace


def cli(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


_WEB = ("run", "--set", "data.source=web", "--set", "data.web.filters.max_punsafe=0.1")


def words(result: Result) -> str:
    """Everything printed, with the terminal's line breaks and frames undone."""
    return " ".join(result.output.replace("│", " ").split())


@pytest.mark.parametrize("command", ["run", "refresh", "status", "predict", "ui", "doctor", "stage"])
def test_every_command_explains_itself_with_examples(command: str) -> None:
    result = cli(command, "--help")
    assert result.exit_code == 0
    assert "Examples:" in result.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "--until", "train"), "no stage 'train', did you mean `pretrain`?: choose one of ingest, detect"),
        (("run", "--set", "contour.tolerence=1"), "did you mean `contour.tolerance`"),
        (("run", "--set", "data.source=coco"), "--set data.coco.root=FOLDER"),
        (("run", "--set", "data.source=coco", "--set", "data.coco.root=/nope"), "/nope/instances.json: no such file"),
        (("run", "--set", "model.base=./nowhere"), "./nowhere: no such folder; set model.base"),
        (("run", "--set", "model.base=nobody/none"), "model.base is nobody/none, which is not on this machine"),
        (("run", "--set", "segment.clip=nobody/none"), "segment.clip is nobody/none, which is not on this machine"),
        (("run", "--set", "ingest.sink=foo://bar"), "ingest.sink: foo://bar is no place that can be used"),
        ((*_WEB, "--set", "data.web.metadata=foo://bar"), "data.web.metadata: foo://bar is no place"),
        (
            (*_WEB, "--set", "data.web.metadata=http://127.0.0.1:9/a.parquet"),
            "data.web.metadata: no parquet file at http://127",
        ),
        ((*_WEB, "--set", "data.web.metadata=/nope"), "data.web.metadata: no parquet file at /nope"),
        (("run", "--set", "data.refshapes.photo_dir=/nope"), "/nope: no such folder; set data.refshapes.photo_dir"),
        (("stage", "train"), "no stage 'train'"),
        (("stage", "contuor"), "did you mean `contour`"),
        (("accept", "pre-train"), "did you mean `pretrain`"),
        (("config", "show", "contour.tolerence"), "did you mean `contour.tolerance`"),
        (("run", "--set", "detect.engine=transfomers"), "did you mean `transformers`"),
        (("data", "check", ".", "--dataset", "refcocco"), "did you mean `refcoco`"),
        (("export", "coc", "--out", "x"), "did you mean `coco`"),
        (("annotate", ".", "--format", "labelm"), "did you mean `labelme`"),
        (("predict", "stage.py", "star", "--model", "nano-bse"), "did you mean `nano-base`"),
        (("statos",), "Did you mean 'status'"),
        (("profile", "lst"), "Did you mean 'list'"),
        (("profile", "use", "nanoo"), "did you mean `nano`"),
        (("config", "check", "--set", "sft.batch_size=7"), "multiple of micro_batch_size"),
        (("config", "show", "contour.nothing"), "no key `contour.nothing`"),
        (("predict", "none.jpg", "red circle"), "none.jpg: no such image file"),
        (("predict", "stage.py"), "say what to outline in one way"),
        (("predict", "stage.py", "red circle", "--point", "0.5,0.5"), "say what to outline in one way"),
        (("predict", "stage.py", "--point", "3,4"), "--point 3,4: expected 2 numbers in 0..1"),
        (("predict", "stage.py", "--bbox", "0.1,0.2,0.3"), "expected 4 numbers"),
        (("predict", "stage.py", "--bbox", "0.7,0.2,0.3,0.9"), "--bbox 0.7,0.2,0.3,0.9: the box holds nothing"),
        (("predict", "stage.py", "--bbox", "0.2,0.9,0.3,0.9"), "the box holds nothing"),
        (("predict", "stage.py", "  "), "say what to outline in one way"),
        (("predict", "stage.py", "red circle"), "nothing is trained here yet: `simpleseg run`"),
        (("ui", "--host", "0.0.0.0"), "name the one that your team opens"),
        (("ui", "--host", "::"), "name the one that your team opens"),
        (("ui", "--host", "box.example.org"), "names go to --name"),
        (("ui", "--host", "192.0.2.7"), "192.0.2.7 is no address of this machine"),
        (("run", "--untill", "sft"), "No such option"),
        (("data", "check", "--dataset", "refcoco"), "name that FOLDER too"),
        (("data", "check", "--images", "."), "name that FOLDER too"),
    ],
)
def test_bad_input_is_refused_with_its_cure_and_exit_code_2(
    workspace: Workspace, arguments: tuple[str, ...], said: str
) -> None:
    before = workspace.params.read_text()
    result = cli(*arguments)
    assert result.exit_code == 2
    assert said in words(result)
    assert workspace.params.read_text() == before


def test_outside_a_working_copy_the_first_step_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = cli("status")
    assert result.exit_code == 2
    assert "go to a clone of the repository first" in words(result)


def test_status_says_what_would_run_and_why(workspace: Workspace) -> None:
    said = words(cli("status"))
    assert "ingest would run it has not run yet" in said


def test_the_version_is_the_one_of_the_package(repository: Path) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    assert words(cli("--version")) == f"simpleseg {project['version']}"


def test_status_is_there_for_programs(workspace: Workspace) -> None:
    states = json.loads(cli("status", "--json").stdout)
    assert {each["stage"] for each in states} <= set(STAGES)
    assert states[0] == {"stage": "ingest", "state": "would run", "why": ["it has not run yet"]}


def test_the_doctor_speaks_to_programs(workspace: Workspace) -> None:
    result = cli("doctor", "--json")
    found = json.loads(result.stdout)
    assert {"Python", "git", "vLLM"} <= {each["name"] for each in found}
    assert result.exit_code == (0 if all(each["ok"] for each in found) else 1)


def test_the_configuration_is_there_for_programs(workspace: Workspace) -> None:
    assert json.loads(cli("config", "show", "--json").stdout) == load_config(workspace.params).model_dump(mode="json")
    assert json.loads(cli("config", "show", "contour.tolerance", "--json").stdout) == 0.02


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("simpleseg sta", {"stage", "status"}),
        ("simpleseg stage con", {"contour"}),
        ("simpleseg run --until ev", {"evaluate"}),
        ("simpleseg profile use kim", {"kimi_vl"}),
        ("simpleseg config show contour.tol", {"contour.tolerance"}),
        ("simpleseg export lab", {"labelme"}),
    ],
)
def test_the_shell_completes_names(typed: str, offered: set[str]) -> None:
    asked = {"_SIMPLESEG_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split()) - 1)}
    result = CliRunner().invoke(app, [], env=asked, prog_name="simpleseg")
    assert set(result.output.split()) == offered


def test_a_profile_is_shown_and_written(workspace: Workspace) -> None:
    assert "sft.workers: 1 -> 8" in words(cli("profile", "show", "qwen2_5_vl_7b"))
    assert "* nano" in words(cli("profile", "list"))
    result = cli("profile", "use", "qwen2_5_vl_7b")
    assert result.exit_code == 0
    assert load_config(workspace.params).model.base == "Qwen/Qwen2.5-VL-7B-Instruct"
    assert "differs" not in words(cli("config", "check"))


def test_a_profile_replaces_an_unusable_file(workspace: Workspace) -> None:
    workspace.params.write_text("seed: {")
    assert cli("config", "check").exit_code == 2
    assert cli("profile", "use", "nano").exit_code == 0
    assert cli("config", "check").exit_code == 0


def test_the_configuration_is_shown_whole_and_in_part(workspace: Workspace) -> None:
    assert words(cli("config", "show", "seed")) == "0"
    assert "lr:" in cli("config", "show", "sft.optimizer").output
    (workspace.root / "copy.yaml").write_text(cli("config", "show").output)
    assert load_config(workspace.root / "copy.yaml") == load_config(workspace.params)
    workspace.params.write_text(workspace.params.read_text().replace("photo_dir:", "photo_dir: photos[/b]"))
    assert "photos[/b]" in cli("config", "show", "data.refshapes").output
    assert "contour" in json.loads(cli("config", "schema").output)["properties"]


@pytest.mark.parametrize("arguments", [("config", "check"), ("run",), ("stage", "contour"), ("annotate", ".")])
def test_escape_sequences_in_params_yaml_are_shown_not_sent(workspace: Workspace, arguments: tuple[str, ...]) -> None:
    workspace.params.write_text('"\\e[31mseed\\e]0;owned\\a": 1\n')
    result = cli(*arguments)
    assert result.exit_code == 2
    assert "\x1b" not in result.output and "\x07" not in result.output
    assert "\\x1b[31mseed" in result.output


def test_an_error_that_nobody_expected_is_shown_as_text(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*arguments: object) -> None:
        raise RuntimeError("\x1b[31m s3://KEY:hunter2@bucket")

    monkeypatch.setattr("sys.argv", ["simpleseg", "config", "check"])
    monkeypatch.setattr("flows.cli.config.load_config", fail)
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert ended.value.code == 1
    assert "Traceback" in said and "\\x1b[31m s3://***@bucket" in said
    assert "\x1b" not in said and "hunter2" not in said
