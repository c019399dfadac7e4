"""The Compose file: its schema, loopback only, no password that we chose, limits and health checks everywhere."""

import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

_ONE_SHOT = {"buckets"}


@pytest.fixture(scope="module")
def compose(infra: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((infra / "compose.yaml").read_text())
    return content


@pytest.mark.parametrize(
    ("schema", "file"),
    [
        ("compose-spec", "compose.yaml"),
        ("compose-spec", "compose.gpu.yaml"),
        ("github-workflows", "ci/github.yaml"),
        ("gitlab-ci", "ci/gitlab.yaml"),
    ],
)
def test_files_of_others_have_their_schema(infra: Path, schema: str, file: str) -> None:
    pytest.importorskip("check_jsonschema", reason="`make infra-check` installs it")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", str(infra / file)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_everything_listens_on_loopback_only(compose: dict[str, Any]) -> None:
    ports = [port for service in compose["services"].values() for port in service.get("ports", ())]
    assert len(ports) == 5
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []
    assert [name for name, service in compose["services"].items() if service.get("network_mode") == "host"] == []


def test_a_service_has_limits_a_health_check_and_a_fixed_version(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}, name
        assert not service["image"].endswith(":latest"), name
        assert ":" in service["image"], name
        if name not in _ONE_SHOT | {"worker"}:  # the worker answers no requests; Prefect's page shows when it was seen
            assert service["healthcheck"]["test"], name
            assert service["restart"] == "unless-stopped", name


def test_what_is_mounted_is_there(infra: Path, compose: dict[str, Any]) -> None:
    mounts = [mount.split(":")[0] for service in compose["services"].values() for mount in service.get("volumes", ())]
    named = {mount for mount in mounts if not mount.startswith((".", "/"))}
    assert named == set(compose["volumes"])
    assert [mount for mount in mounts if mount.startswith(".") and not (infra / mount).exists()] == []


def test_nothing_starts_without_passwords_of_its_own(infra: Path, compose: dict[str, Any], tmp_path: Path) -> None:
    text = (infra / "compose.yaml").read_text()
    asked = set(re.findall(r"\$\{(\w+)(?::\?[^}]*)?\}", text))
    with_default = set(re.findall(r"\$\{(\w+):-", text))
    assert not [name for name in with_default if re.search("PASSWORD|SECRET|KEY|TOKEN", name)]
    made = {line.split("=")[0] for line in _make_env(infra, tmp_path).read_text().splitlines() if "=" in line}
    assert asked | {compose["secrets"]["prefect_password"]["environment"]} == made


def _make_env(infra: Path, folder: Path) -> Path:
    file = folder / ".env"
    subprocess.run([str(infra / "make-env.sh"), str(file)], check=True, capture_output=True)
    return file


def test_passwords_are_random_private_and_kept(infra: Path, tmp_path: Path) -> None:
    file = _make_env(infra, tmp_path)
    before = file.read_text()
    secrets = re.findall(r"^\w+=([0-9a-f]{48})$", before, re.MULTILINE)
    assert (len(secrets), len(set(secrets))) == (9, 9)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert _make_env(infra, tmp_path).read_text() == before
    ignored = subprocess.run(["git", "check-ignore", "-q", "infra/.env"], cwd=infra.parent)
    assert ignored.returncode == 0


def test_prometheus_asks_services_that_are_there(infra: Path, compose: dict[str, Any]) -> None:
    jobs = yaml.safe_load((infra / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    targets = {
        target.split(":")[0] for job in jobs for each in job.get("static_configs", ()) for target in each["targets"]
    }
    assert targets - {"127.0.0.1"} == {"machine", "prefect", "grafana"}
    assert targets - {"127.0.0.1"} <= compose["services"].keys()


def test_alerts_lead_to_sections_of_the_runbook(infra: Path) -> None:
    groups = yaml.safe_load((infra / "prometheus" / "alerts.yml").read_text())["groups"]
    said = [rule["annotations"]["summary"] for group in groups for rule in group["rules"]]
    sections = [section for text in said for section in re.findall(r'docs/operations\.md, "([^"]+)"', text)]
    assert len(sections) == len(said) > 0
    runbook = (infra.parent / "docs" / "operations.md").read_text()
    assert [section for section in sections if f"## {section}\n" not in runbook] == []


def test_scripts_are_sound_and_executable(infra: Path) -> None:
    scripts = [*infra.rglob("*.sh"), *infra.rglob("*.sbatch")]
    assert len(scripts) >= 5
    for script in scripts:
        assert subprocess.run(["bash", "-n", str(script)], capture_output=True).stderr == b""
        assert "set -euo pipefail" in script.read_text()
        assert script.suffix == ".sbatch" or os.access(script, os.X_OK)


def test_a_stage_on_slurm_starts_ray_on_every_node_with_a_key_and_runs_the_stage(infra: Path, tmp_path: Path) -> None:
    tools = tmp_path / ".venv" / "bin"
    tools.mkdir(parents=True)
    for name, does in (
        ("scontrol", "echo localhost"),
        ("srun", 'echo "$RAY_AUTH_MODE ${#RAY_AUTH_TOKEN} $*"'),
    ):
        (tools / name).write_text(f"#!/bin/sh\n{does}\n")
        (tools / name).chmod(0o755)
    job = {
        "SLURM_SUBMIT_DIR": str(tmp_path),
        "SLURM_JOB_NODELIST": "n[1-2]",
        "SLURM_JOB_ID": "12345",
        "SLURM_JOB_NUM_NODES": "2",
    }
    environment = {"PATH": f"{tools}:{os.environ['PATH']}", **job}
    command = [str(shutil.which("bash")), str(infra / "slurm" / "stage.sbatch")]
    done = subprocess.run([*command, "sft"], env=environment, capture_output=True, text=True)
    assert done.stdout.startswith("token 64 "), done.stderr
    assert "ray symmetric-run --address 127.0.0.1:22345 --min-nodes 2" in done.stdout
    assert done.stdout.rstrip().endswith("simpleseg run --from sft --until sft --set ray.address=127.0.0.1:22345")
    assert "usage" in subprocess.run(command, env=environment, capture_output=True, text=True).stderr
