"""The images: built from the locks, which agree; not as root; what they copy is there."""

import json
import re
from pathlib import Path

import pytest
import yaml


def _pins(file: Path) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)(?:\[.*\])?==([^\s;]+)", file.read_text(), re.MULTILINE))


@pytest.mark.parametrize("extra", ["cpu", "gpu"])
def test_what_servers_need_is_pinned_as_in_the_locks(repository: Path, extra: str) -> None:
    server, lock = (_pins(repository / "requirements" / f"{name}.txt") for name in ("server", extra))
    assert {name: (pin, lock[name]) for name, pin in server.items() if lock.get(name, pin) != pin} == {}
    assert {"psycopg2-binary", "boto3", "dvc-s3", "flask-wtf"} == server.keys() & {
        "psycopg2-binary",
        "boto3",
        "dvc-s3",
        "flask-wtf",
    }
    assert "torch" not in server
    assert (
        re.findall(r"^.*(?:https?:|file:| @ ).*$|^-.*$", (repository / "requirements" / "server.txt").read_text(), re.M)
        == []
    )


def test_images_run_as_nobody_special_and_copy_what_is_there(repository: Path) -> None:
    text = (repository / "infra" / "docker" / "Dockerfile").read_text()
    stages = re.split(r"^FROM ", text, flags=re.MULTILINE)[1:]
    names = [stage.split()[2] for stage in stages]
    for name, stage in zip(names, stages, strict=True):
        if name in ("server", "worker"):
            assert re.findall(r"^USER (\S+)", stage, re.MULTILINE)[-1:] == ["10001:10001"], name
    for source in re.findall(r"^COPY (?:--chown=\S+ )?([\w./${}]+) ", text, re.MULTILINE):
        assert (repository / source.replace("${EXTRA}", "cpu")).exists(), source
    assert set(re.findall(r"COPY --from=(\S+)", text)) <= set(names)


def test_services_ask_for_targets_that_the_images_have(repository: Path) -> None:
    services = yaml.safe_load((repository / "infra" / "compose.yaml").read_text())["services"]
    builds = [service["build"] for service in services.values() if "build" in service]
    dockerfile = (repository / "infra" / "docker" / "Dockerfile").read_text()
    assert {build["target"] for build in builds} == {"server", "worker"}
    assert all(f" AS {build['target']}\n" in dockerfile for build in builds)
    assert {build["dockerfile"] for build in builds} == {"infra/docker/Dockerfile"}


def test_the_container_for_developers_is_set_up_by_make(repository: Path) -> None:
    content = json.loads((repository / ".devcontainer" / "devcontainer.json").read_text())
    assert content["postCreateCommand"] == "make setup"


def test_a_task_of_skypilot_names_stage_and_bucket(repository: Path) -> None:
    task = yaml.safe_load((repository / "infra" / "skypilot" / "stage.yaml").read_text())
    assert {"STAGE", "BUCKET"} <= task["envs"].keys()
    assert task["file_mounts"]["/simpleseg-work"]["source"] == "${BUCKET}"
    assert all(value == "" for value in task["secrets"].values())
