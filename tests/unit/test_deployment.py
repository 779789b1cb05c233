"""The container files: start order, health checks, durability, loopback ports, secrets."""

import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from config.settings import Settings

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
LOCK = (ROOT / "requirements.lock").read_text()
SHARES = [
    "requirements-producer.lock",
    "requirements-cpu.lock",
    "requirements-gpu.lock",
    "requirements-api.lock",
]

OURS = {
    "migrate",
    "cpu-worker",
    "gpu-worker",
    "gpu-less-worker",
    "sweep",
    "api",
    "webhooks",
    "flower",
    "metrics",
}
SERVERS = {"postgres", "valkey", "objects"}
MONITORING = {"prometheus", "grafana"}
PROFILES = {
    "gpu-worker": ["gpu"],
    "gpu-less-worker": ["cpu-only"],
    "api": ["api"],
    "webhooks": ["api"],
    **{name: ["monitoring"] for name in ("metrics", *MONITORING)},
}


def pins(lock: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", lock, re.MULTILINE))


def stages() -> dict[str, list[str]]:
    """Return the Dockerfile's stages, each with its instructions."""
    instructions: dict[str, list[str]] = {}
    for line in DOCKERFILE.splitlines():
        if begins := re.fullmatch(r"FROM \S+ AS (\S+)", line):
            instructions[begins[1]] = []
        elif instructions and line:
            instructions[list(instructions)[-1]].append(line)
    return instructions


def test_all_services_are_defined() -> None:
    assert set(SERVICES) == OURS | SERVERS | MONITORING


def test_ports_are_published_on_the_loopback_only() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(ports) == 6
    assert all(re.fullmatch(r"127\.0\.0\.1:\$\{[A-Z_0-9]+:-\d+\}:\d+", port) for port in ports)


def test_secrets_are_required_and_not_in_the_files() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    required = set(re.findall(r"\$\{([A-Z_0-9]+):\?", text))
    optional = set(re.findall(r"\$\{([A-Z_0-9]+):-", text))
    assert required == {
        *("POSTGRES_PASSWORD", "VALKEY_PASSWORD", "FLOWER_BASIC_AUTH", "GRAFANA_PASSWORD"),
        *("S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY"),
    }
    example = dict(re.findall(r"^([A-Z_0-9]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert set(example) == required | optional
    assert {name for name in required if example[name]} == {"S3_ACCESS_KEY_ID"}
    assert SERVICES["flower"]["environment"]["FLOWER_BASIC_AUTH"].startswith("${FLOWER_BASIC_AUTH:?")


def test_every_variable_is_a_setting() -> None:
    names = {name for service in OURS for name in SERVICES[service]["environment"]}
    ours = {name.removeprefix("TRYON_").lower() for name in names if name.startswith("TRYON_")}
    assert ours <= set(Settings.model_fields)
    assert {"database_url", "broker_url", "s3_endpoint_url"} <= ours


PINNED = r"@sha256:[0-9a-f]{64}"


def test_images_are_pinned_by_digest() -> None:
    for name in SERVERS | MONITORING:
        assert re.search(rf":[\w.-]+{PINNED}$", SERVICES[name]["image"]), name
    sources = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert [
        source for source in sources if source not in stages() and not re.search(PINNED + "$", source)
    ] == []


def test_services_are_confined() -> None:
    for name, service in SERVICES.items():
        assert service["read_only"] is True, name
        assert service["tmpfs"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["pids_limit"], name
        assert re.fullmatch(r"(\$\{[A-Z_]+:-)?\d+[mg]\}?", service["mem_limit"]), name


def test_workers_reach_the_servers_only() -> None:
    assert COMPOSE["networks"] == {"data": {"internal": True}, "edge": None}
    published = {name for name, service in SERVICES.items() if "ports" in service}
    assert published == SERVERS | {"api", "flower", "grafana"}
    outward = published | {"webhooks"}
    for name, service in SERVICES.items():
        assert service["networks"] == (["data", "edge"] if name in outward else ["data"]), name


def test_each_service_has_only_the_credentials_that_it_uses() -> None:
    kinds = {
        "TRYON_DATABASE_URL": "database",
        "TRYON_BROKER_URL": "broker",
        "TRYON_S3_SECRET_ACCESS_KEY": "objects",
    }
    found = {name: {kinds[v] for v in SERVICES[name]["environment"] if v in kinds} for name in OURS}
    everything = {"database", "broker", "objects"}
    assert found == {
        "migrate": {"database"},
        "sweep": everything,
        "webhooks": {"database"},
        "flower": {"broker"},
        "metrics": {"database"},
        **dict.fromkeys(("cpu-worker", "gpu-worker", "gpu-less-worker", "api"), everything),
    }


def test_the_broker_is_full_before_its_container_is() -> None:
    (limit,) = re.findall(r"--maxmemory (\d+)mb", " ".join(SERVICES["valkey"]["command"]))
    assert int(limit) < 1024 * int(SERVICES["valkey"]["mem_limit"].removesuffix("g"))


def test_the_broker_persists_and_evicts_nothing() -> None:
    command = " ".join(SERVICES["valkey"]["command"])
    for option in ("--appendonly yes", "--maxmemory-policy noeviction", "--requirepass"):
        assert option in command


def test_servers_keep_their_data_in_named_volumes() -> None:
    used = {volume.split(":")[0] for name in SERVERS | MONITORING for volume in SERVICES[name]["volumes"]}
    mounted = {volume for volume in used if not volume.startswith("./")}
    assert mounted == set(COMPOSE["volumes"]) - {"compiled"} == SERVERS | MONITORING
    assert all((ROOT / volume).exists() for volume in used - mounted)


def test_the_object_store_sends_no_telemetry() -> None:
    assert "-master.telemetry=false" in SERVICES["objects"]["command"]


def test_the_migration_runs_before_the_workers() -> None:
    assert SERVICES["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert SERVICES["migrate"]["command"] == ["tryon", "db", "upgrade"]
    for name in OURS - {"migrate"}:
        assert SERVICES[name]["depends_on"] == {
            "migrate": {"condition": "service_completed_successfully"},
            "valkey": {"condition": "service_healthy"},
            "objects": {"condition": "service_healthy"},
        }


def test_long_running_services_have_a_health_check() -> None:
    for name in set(SERVICES) - {"migrate", "sweep", "webhooks"}:
        check = SERVICES[name]["healthcheck"]
        assert check["test"][0] in ("CMD", "CMD-SHELL")
        assert {"interval", "timeout", "retries"} <= set(check)


def test_the_gpu_queue_has_a_worker_with_a_gpu_and_one_without() -> None:
    with_gpu, without = SERVICES["gpu-worker"], SERVICES["gpu-less-worker"]
    assert (with_gpu["profiles"], without["profiles"]) == (["gpu"], ["cpu-only"])
    assert with_gpu["command"] == without["command"]
    assert with_gpu["environment"]["TRYON_DEVICE"] == "cuda"
    assert without["environment"]["TRYON_DEVICE"] == "cpu"
    (device,) = with_gpu["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}
    assert "deploy" not in without


def test_only_what_is_optional_has_a_profile() -> None:
    assert {name: s["profiles"] for name, s in SERVICES.items() if "profiles" in s} == PROFILES


def test_grafana_finds_its_source_and_its_dashboard() -> None:
    folder = ROOT / "deploy/monitoring"
    (source,) = yaml.safe_load((folder / "grafana-source.yml").read_text())["datasources"]
    host = re.fullmatch(r"http://(\w+):9090", source["url"])
    assert host is not None
    assert host[1] in SERVICES
    dashboard = json.loads((folder / "dashboard.json").read_text())
    assert {panel["datasource"]["uid"] for panel in dashboard["panels"]} == {source["uid"]}
    (provider,) = yaml.safe_load((folder / "grafana-dashboards.yml").read_text())["providers"]
    mounts = [volume.split(":")[1] for volume in SERVICES["grafana"]["volumes"]]
    assert any(mount.startswith(provider["options"]["path"] + "/") for mount in mounts)
    (scrape,) = yaml.safe_load((folder / "prometheus.yml").read_text())["scrape_configs"]
    assert scrape["static_configs"] == [{"targets": ["metrics:9808"]}]
    assert SERVICES["metrics"]["command"][:2] == ["tryon", "metrics"]


def test_our_services_run_without_privileges() -> None:
    for name in OURS:
        assert SERVICES[name]["cap_drop"] == ["ALL"]
        assert SERVICES[name]["build"]["target"] in ("producer", "api", "cpu", "gpu")


@pytest.mark.parametrize("target", ["producer", "api", "cpu", "gpu"])
def test_images_do_not_run_as_root(target: str) -> None:
    users = [line for line in stages()[target] if line.startswith("USER")]
    assert users == ["USER 10001"]


def test_packages_are_installed_by_hash_and_models_are_checked() -> None:
    syncs = [line for lines in stages().values() for line in lines if "uv pip sync" in line]
    assert len(syncs) == 4
    assert all("--require-hashes" in line for line in syncs)
    assert stages()["models"] == ["RUN tryon weights fetch"]


def test_every_file_of_the_packages_is_in_the_wheel() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["*"]
    files = [
        path
        for package in ("config", "db", "tasks", "worker")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix != ".py" and "__pycache__" not in path.parts
    ]
    assert files
    assert [path for path in files if not any(path.match(pattern) for pattern in patterns)] == []


def test_the_build_context_has_only_the_copied_files() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignored
    included = {line[1:] for line in ignored if line.startswith("!")}
    copied = {
        source
        for lines in stages().values()
        for line in lines
        if line.startswith("COPY ") and "--from" not in line
        for source in line.split()[1:-1]
    }
    assert copied - set(SHARES) == included - {"requirements-*.lock"}


@pytest.mark.parametrize("share", SHARES)
def test_an_image_has_the_versions_of_the_complete_lock(share: str) -> None:
    text = (ROOT / share).read_text()
    share_pins, all_pins = pins(text), pins(LOCK)
    assert share_pins
    assert {name: pin for name, pin in share_pins.items() if all_pins.get(name) != pin} == {}
    for name in share_pins:
        assert re.search(rf"^{re.escape(name)}==\S+.*\\\n    --hash=sha256:", text, re.MULTILINE), name
    assert "://" not in text


def test_the_producer_image_is_small_and_the_others_include_its_packages() -> None:
    producer, cpu, gpu, api = (set(pins((ROOT / share).read_text())) for share in SHARES)
    assert producer.isdisjoint({"torch", "numpy", "mediapipe", "opencv-python-headless", "flower"})
    assert producer <= cpu
    assert producer <= gpu
    assert producer | {"fastapi", "uvicorn"} <= api
    assert api.isdisjoint({"torch", "numpy", "mediapipe", "opencv-python-headless", "flower"})
    assert {"mediapipe", "flower"} <= cpu
    assert cpu.isdisjoint({"torch", "ultralytics"})
    assert {"torch", "ultralytics", "mediapipe"} <= gpu
    assert "opencv-python" not in cpu | gpu


def test_docker_reads_the_compose_file() -> None:
    docker = shutil.which("docker")
    has_compose = (
        docker and subprocess.run([docker, "compose", "version"], capture_output=True).returncode == 0
    )
    if not has_compose:
        pytest.skip("no docker client with the compose plugin is installed")
    example = dict(re.findall(r"^([A-Z_0-9]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))
    filled = {name: value or "a:b" for name, value in example.items()}
    for profile in ("gpu", "cpu-only", "monitoring"):
        checked = subprocess.run(
            [docker, "compose", "--profile", profile, "config", "--quiet"],
            cwd=ROOT,
            env=os.environ | filled,
            capture_output=True,
            text=True,
        )
        assert checked.returncode == 0, checked.stderr
