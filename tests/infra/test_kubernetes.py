"""The manifests as kustomize renders them: the schemas of Kubernetes and KubeRay, and what we promise of them."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.graph import STAGES

_HEAVY = ("ingest", "detect", "segment", "describe", "pretrain", "sft", "rl", "evaluate")
_FOLDERS = ("services", "cluster", *(f"jobs/{stage}" for stage in _HEAVY))
_KUBERNETES = "1.33"
Manifest = dict[str, Any]


def _rendered(infra: Path, folder: str) -> list[Manifest]:
    tool = next(([path] for name in ("kustomize",) if (path := shutil.which(name))), None) or (
        ["kubectl"] if shutil.which("kubectl") else None
    )
    if tool is None:
        pytest.skip("neither kustomize nor kubectl is here")
    command = [*tool, "kustomize" if tool == ["kubectl"] else "build", str(infra / "k8s" / folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return list(yaml.load_all(done.stdout, yaml.CSafeLoader))


@pytest.fixture(scope="module")
def manifests(infra: Path) -> dict[str, list[Manifest]]:
    return {folder: _rendered(infra, folder) for folder in _FOLDERS}


def _pods(manifest: Manifest) -> Iterator[Manifest]:
    """Every pod template in a manifest."""
    if "containers" in manifest.get("spec", {}):
        yield manifest
    for value in manifest.values():
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, dict):
                yield from _pods(each)


def _each(manifests: dict[str, list[Manifest]]) -> Iterator[tuple[str, Manifest]]:
    for folder, found in manifests.items():
        for manifest in found:
            yield f"{folder}: {manifest['kind']} {manifest['metadata']['name']}", manifest


def test_manifests_have_the_schemas_of_kubernetes(manifests: dict[str, list[Manifest]]) -> None:
    validator = pytest.importorskip("kubernetes_validate", reason="`make infra-check` installs it")
    for name, manifest in _each(manifests):
        if not manifest["apiVersion"].startswith("ray.io/"):
            validator.validate(manifest, _KUBERNETES, strict=True)
        for template in _pods(manifest):  # KubeRay's kinds are none of Kubernetes', but their pods are
            pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": template["spec"]}
            assert validator.validate(pod, _KUBERNETES, strict=True), name


def test_manifests_have_the_schemas_of_kuberay(manifests: dict[str, list[Manifest]]) -> None:
    folder = os.environ.get("SIMPLESEG_KUBERAY_CRDS")
    if not folder:
        pytest.skip("set SIMPLESEG_KUBERAY_CRDS to KubeRay's ray-operator/config/crd/bases")
    from jsonschema import Draft202012Validator

    schemas = dict(map(_crd, Path(folder).glob("*ray*.yaml")))
    found = [
        f"{name}: {list(error.path)} {error.message[:200]}"
        for name, manifest in _each(manifests)
        if manifest["apiVersion"].startswith("ray.io/")
        for error in Draft202012Validator(schemas[manifest["kind"]]).iter_errors(manifest)
    ]
    assert found == []


def _crd(file: Path) -> tuple[str, Manifest]:
    """The kind and the schema of a definition, without leave for fields that it does not name."""
    definition = yaml.load(file.read_text(), yaml.CSafeLoader)["spec"]
    schema = next(each for each in definition["versions"] if each["name"] == "v1")["schema"]["openAPIV3Schema"]
    _close(schema)
    return definition["names"]["kind"], schema | {"properties": schema["properties"] | {"metadata": {"type": "object"}}}


def _close(schema: Any) -> None:
    if isinstance(schema, dict):
        if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
            schema.setdefault("additionalProperties", False)
        for value in schema.values():
            _close(value)
    elif isinstance(schema, list):
        for value in schema:
            _close(value)


def test_a_job_runs_the_stage_that_it_is_called_after(manifests: dict[str, list[Manifest]]) -> None:
    assert set(_HEAVY) <= STAGES.keys()
    for stage in _HEAVY:
        (job,) = manifests[f"jobs/{stage}"]
        assert job["metadata"]["name"] == stage
        assert f"simpleseg run --from {stage} --until {stage} --set ray.address=auto" in job["spec"]["entrypoint"]


def test_ray_is_the_one_of_the_lock(repository: Path, manifests: dict[str, list[Manifest]]) -> None:
    pinned = re.search(r"^ray(?:\[.*\])?==(\S+)", (repository / "requirements" / "gpu.txt").read_text(), re.M)
    assert pinned
    specs = [
        manifests["cluster"][0]["spec"],
        *(manifests[f"jobs/{stage}"][0]["spec"]["rayClusterSpec"] for stage in _HEAVY),
    ]
    assert {str(spec["rayVersion"]) for spec in specs} == {pinned[1]}
    assert all(spec["authOptions"] == {"mode": "token"} for spec in specs)


def test_pods_of_ray_share_the_working_copy_have_shared_memory_and_may_be_on_spot_nodes(
    manifests: dict[str, list[Manifest]],
) -> None:
    for name, manifest in _each(manifests):
        for template in _pods(manifest) if manifest["kind"].startswith("Ray") else ():
            spec = template["spec"]
            volumes = {volume["name"]: volume for volume in spec["volumes"]}
            assert volumes["shared-memory"]["emptyDir"]["medium"] == "Memory", name
            (container,) = spec["containers"]
            assert {"/work", "/dev/shm"} <= {mount["mountPath"] for mount in container["volumeMounts"]}  # noqa: S108
            if "nvidia.com/gpu" in container["resources"]["limits"]:
                assert any(each["key"] == "nvidia.com/gpu" for each in spec["tolerations"]), name
            if container["name"] == "ray-worker":
                assert (
                    sum("spot" in each["key"] or "capacity" in each["key"].lower() for each in spec["tolerations"]) >= 2
                )


def test_no_pod_has_more_rights_than_it_needs(manifests: dict[str, list[Manifest]]) -> None:
    for name, manifest in _each(manifests):
        for template in _pods(manifest):
            spec = template["spec"]
            assert spec["securityContext"]["runAsNonRoot"], name
            assert spec["automountServiceAccountToken"] is False, name
            for container in spec["containers"]:
                assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}, name


def test_no_secret_stands_in_a_manifest(manifests: dict[str, list[Manifest]]) -> None:
    for name, manifest in _each(manifests):
        assert manifest["kind"] != "Secret", name
        for template in _pods(manifest):
            for container in template["spec"]["containers"]:
                plain = [each["name"] for each in container.get("env", ()) if "value" in each]
                assert not [each for each in plain if re.search("PASSWORD|SECRET|AUTH_STRING|TOKEN|DATABASE", each)], (
                    name
                )
