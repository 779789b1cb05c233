"""The Kubernetes manifests fit its schemas, agree with the compose file, and name what exists."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from config.settings import Settings

ROOT = Path(__file__).parents[2]
BASE = ROOT / "deploy/kubernetes/base"
KEDA = ROOT / "deploy/kubernetes/keda"
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
VERSIONS = ("1.30.0", "1.36.0")
"""Oldest and newest Kubernetes whose schemas the manifests are checked against."""

CELERY_KILLS_AFTER_S = 30
"""Seconds after the time limit of a stage until Celery kills it (worker/celeryconfig.py)."""

Manifest = dict[str, Any]


def documents(folder: Path) -> list[tuple[str, Manifest]]:
    """Return (file, manifest) of all manifests of a folder but its kustomization."""
    return [
        (path.name, document)
        for path in sorted(folder.glob("*.yaml"))
        if path.name != "kustomization.yaml"
        for document in yaml.safe_load_all(path.read_text())
    ]


MANIFESTS = documents(BASE)
PODS = {
    manifest["metadata"]["name"]: manifest["spec"]["template"]["spec"]
    for _, manifest in MANIFESTS
    if manifest["kind"] in ("Deployment", "Job")
}
KUSTOMIZATION = yaml.safe_load((BASE / "kustomization.yaml").read_text())


def containers(pod: Manifest) -> list[Manifest]:
    return [*pod.get("initContainers", ()), *pod["containers"]]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("file", "manifest"), MANIFESTS)
def test_a_manifest_fits_the_schema(file: str, manifest: Manifest, version: str) -> None:
    kubernetes_validate.validate(manifest, version, strict=True)


def test_the_schema_check_can_fail() -> None:
    manifest = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": {"pods": 1}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(manifest, VERSIONS[0], strict=True)


def test_the_kustomization_has_every_file_and_image() -> None:
    assert set(KUSTOMIZATION["resources"]) == {file for file, _ in MANIFESTS}
    images = {container["image"] for pod in PODS.values() for container in containers(pod)}
    assert images == {image["name"] for image in KUSTOMIZATION["images"]}
    built = {service["image"] for service in COMPOSE.values() if "build" in service}
    assert images == built


def test_the_pods_are_those_of_the_compose_file() -> None:
    """But the servers, Flower, and the worker that needs no card."""
    ours = {name for name, service in COMPOSE.items() if "build" in service}
    assert set(PODS) == ours - {"flower", "gpu-less-worker"}
    for name, pod in PODS.items():
        (container,) = pod["containers"]
        assert container["image"] == COMPOSE[name]["image"]
        assert container["command"][:5] == COMPOSE[name]["command"][:5]


def test_pods_are_confined() -> None:
    for pod in PODS.values():
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == 10001
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False, "TRYON_*_SERVICE_HOST is no setting"
        for container in containers(pod):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert "memory" in container["resources"]["limits"]


def test_each_pod_has_only_the_credentials_that_it_uses() -> None:
    for name, pod in PODS.items():
        (container,) = pod["containers"]
        given = {variable["name"] for variable in container["env"]}
        needed = {
            variable
            for variable in COMPOSE[name]["environment"]
            if variable.endswith(("_DATABASE_URL", "_BROKER_URL", "_KEY_ID", "_ACCESS_KEY"))
        }
        assert given == needed, name
    (literals,) = (generator["literals"] for generator in KUSTOMIZATION["configMapGenerator"])
    names = {literal.partition("=")[0] for literal in literals}
    assert {name.removeprefix("TRYON_").lower() for name in names} <= set(Settings.model_fields)


def test_workers_may_finish_a_stage() -> None:
    stage_s = Settings.model_fields["stage_timeout_s"].default
    for name in ("cpu-worker", "gpu-worker"):
        assert PODS[name]["terminationGracePeriodSeconds"] > stage_s + CELERY_KILLS_AFTER_S


def test_everything_but_the_migration_waits_for_the_tables() -> None:
    for name in set(PODS) - {"migrate"}:
        (first,) = PODS[name]["initContainers"]
        assert first["command"] == ["tryon", "db", "current"]


def test_ports_and_selectors_lead_to_pods() -> None:
    ports = {
        (name, port["name"]) for name, pod in PODS.items() for port in pod["containers"][0].get("ports", ())
    }
    for _, manifest in MANIFESTS:
        if manifest["kind"] == "Service":
            component = manifest["spec"]["selector"]["app.kubernetes.io/component"]
            assert {(component, port["targetPort"]) for port in manifest["spec"]["ports"]} <= ports


def test_scaling_names_deployments_and_the_secret() -> None:
    (authentication, *scaled) = (manifest for _, manifest in documents(KEDA))
    (secret,) = authentication["spec"]["secretTargetRef"]
    assert (secret["name"], secret["key"]) == ("tryon", "TRYON_DATABASE_URL")
    assert {item["spec"]["scaleTargetRef"]["name"] for item in scaled} == {"cpu-worker", "gpu-worker"}
    for item in scaled:
        (trigger,) = item["spec"]["triggers"]
        assert trigger["authenticationRef"]["name"] == authentication["metadata"]["name"]
        queue = item["spec"]["scaleTargetRef"]["name"].removesuffix("-worker")
        assert re.findall(r"queue = '(\w+)'", trigger["metadata"]["query"]) == [queue, queue]
        assert all(isinstance(value, str) for value in trigger["metadata"].values()), "KEDA takes texts only"


@pytest.mark.parametrize("folder", [BASE, KEDA], ids=lambda folder: folder.name)
def test_kustomize_builds(folder: Path) -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed (https://kubernetes.io/docs/tasks/tools)")
    built = subprocess.run([kubectl, "kustomize", str(folder)], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    for manifest in yaml.safe_load_all(built.stdout):
        if not manifest["apiVersion"].startswith("keda.sh/"):
            kubernetes_validate.validate(manifest, VERSIONS[-1], strict=True)
