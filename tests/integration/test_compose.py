"""The services of the compose file start by their own commands and environments, and a job passes through.

Processes take the place of containers, and the embedded servers that of the images of PostgreSQL, Valkey and
SeaweedFS: addresses and ports are replaced, nothing else is added to a service's environment.
"""

import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import yaml

from tests.support.waiting import wait_for
from tests.support.workers import ROOT
from worker.lab.demo import variants
from worker.machine.embedded.servers import NAMES, EmbeddedServers

SERVICES = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
LONG_RUNNING = ("cpu-worker", "gpu-less-worker", "sweep", "api", "webhooks", "flower", "metrics")
FILLED_IN = {"FLOWER_BASIC_AUTH": "shop:secret"}
"""What a user writes into .env, besides the servers' credentials, which come from the embedded servers."""

PORT = {"api": "8000", "flower": "5555", "metrics": "9808"}
"""The ports that the commands listen on without an option."""

READY_S = 120
JOB_S = 120


def filled(text):
    """Return the text with compose's variables replaced: by FILLED_IN, or by their defaults."""

    def value(found):
        return FILLED_IN.get(found[1]) or found[3] if found[2] == ":-" else FILLED_IN.get(found[1], "")

    return re.sub(r"\$\{(\w+)(:-|:\?)([^}]*)\}", value, str(text)).replace("$$", "$")


class Deployment:
    """The services as processes."""

    def __init__(self, servers: dict[str, str], folder: Path) -> None:
        # Compose publishes the store on this machine under another address than the services use.
        self._servers = servers | {"TRYON_S3_PUBLIC_URL": servers["TRYON_S3_ENDPOINT_URL"]}
        self._folder = folder
        self.ports = {name: self._free_port() for name in PORT}
        self._processes: dict[str, subprocess.Popen] = {}

    def environment(self, service):
        """Return what the service's container has: its own variables, and those of the image."""
        own = {name: filled(value) for name, value in SERVICES[service].get("environment", {}).items()}
        image = {
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "HOME": str(self._folder),
            "TRYON_DATA_DIR": str(ROOT / ".tryon"),
            "YOLO_CONFIG_DIR": str(self._folder),
        }
        return image | {name: self._servers.get(name, value) for name, value in own.items()}

    def command(self, service, words):
        """Return a command of the service, on the loopback and on a free port."""
        words = [filled(word).replace("0.0.0.0", "127.0.0.1") for word in words]  # noqa: S104 - replaced here
        return [*words, "--port", str(self.ports[service])] if service in PORT else words

    def run(self, service, words):
        """Run a command in a container of the service, as `docker compose run` does; return its output."""
        done = subprocess.run(
            words, cwd=ROOT, env=self.environment(service), capture_output=True, text=True, timeout=READY_S
        )
        assert done.returncode == 0, f"{service}: {done.stdout}{done.stderr}"
        return done.stdout

    def start(self, service):
        """Start a service."""
        with self.log(service).open("w") as log:
            self._processes[service] = subprocess.Popen(
                self.command(service, SERVICES[service]["command"]),
                cwd=ROOT,
                env=self.environment(service),
                stdout=log,
                stderr=log,
            )

    def is_healthy(self, service):
        """Run the service's own health check; a service without one has to run."""
        assert self._processes[service].poll() is None, f"{service} ended:\n{self.log(service).read_text()}"
        check = SERVICES[service].get("healthcheck")
        if check is None:
            return True
        kind, *words = check["test"]
        words = ["sh", "-c", *words] if kind == "CMD-SHELL" else words
        port = (PORT[service], str(self.ports[service])) if service in PORT else ("", "")
        words = [filled(word).replace(*port) for word in words]
        done = subprocess.run(words, cwd=ROOT, env=self.environment(service), capture_output=True, timeout=60)
        return done.returncode == 0

    def log(self, service):
        """Return the file of the service's log."""
        return self._folder / f"{service}.log"

    def stop(self):
        """Stop all services as `docker compose stop` does, and return the exit status of each."""
        for process in self._processes.values():
            process.terminate()
        codes = {}
        for name, process in self._processes.items():
            try:
                codes[name] = process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                codes[name] = process.wait()
        return codes

    @staticmethod
    def _free_port():
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return probe.getsockname()[1]


@pytest.fixture
def deployment(tmp_path):
    with EmbeddedServers(tmp_path / "servers", only=NAMES) as servers:
        running = Deployment(servers.environment(), tmp_path)
        yield running
        running.stop()


@pytest.mark.full
def test_a_job_passes_through_the_deployment(deployment):
    assert set(LONG_RUNNING) | {"migrate", "gpu-worker"} == {
        name for name, service in SERVICES.items() if "build" in service
    }
    deployment.run("migrate", SERVICES["migrate"]["command"])
    key = deployment.run("api", ["tryon", "keys", "add", "shop"]).strip()
    deployment.run("cpu-worker", ["tryon", "create-buckets"])
    for service in LONG_RUNNING:
        deployment.start(service)
    for service in LONG_RUNNING:
        wait_for(lambda service=service: deployment.is_healthy(service), f"{service} to be healthy", READY_S)

    (person,) = variants.make(variants.people(None), 1, seed=0)
    (garment,) = variants.make(variants.garments(None), 1, seed=0)
    address = f"http://127.0.0.1:{deployment.ports['api']}"
    with httpx.Client(base_url=address, headers={"Authorization": f"Bearer {key}"}) as client:
        job = client.post("/v1/tryons", files={"person": person, "garment": garment}).json()["id"]

        def ended():
            record = client.get(f"/v1/tryons/{job}").json()
            return record if record["status"] not in ("queued", "running") else None

        record = wait_for(ended, "the job to end", JOB_S)
        assert record["status"] == "succeeded", record
        picture = httpx.get(client.get(f"/v1/tryons/{job}/result").headers["location"])
        assert picture.content.startswith(b"\x89PNG")
        assert httpx.get(f"{address}/v1/tryons/{job}").status_code == 401

    def counted():
        page = httpx.get(f"http://127.0.0.1:{deployment.ports['metrics']}/metrics").text
        return re.search(r'^tryon_jobs_total\{error="",status="succeeded"\} 1\.0$', page, re.MULTILINE)

    wait_for(counted, "the sweep to count the job")
    flower = f"http://127.0.0.1:{deployment.ports['flower']}/api/task/info/{job}"
    assert httpx.get(flower).status_code == 401
    name, _, password = FILLED_IN["FLOWER_BASIC_AUTH"].partition(":")
    wait_for(lambda: httpx.get(flower, auth=(name, password)).json()["state"] == "SUCCESS", "Flower's news")
    warnings = re.findall(r".*(?:WARNING|ERROR|CRITICAL).*", deployment.log("sweep").read_text())
    assert warnings == []
    # uvicorn ends by the signal itself, after it has closed its connections.
    assert set(deployment.stop().values()) <= {0, -signal.SIGTERM}
