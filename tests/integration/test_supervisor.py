"""The supervisor restarts crashed children, stops what it started, and leaves no process behind."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from config.settings import settings
from worker.machine.embedded.process import ServerError
from worker.machine.supervisor import Child, Supervisor, default_commands

TIMEOUT_S = 60

# A child that has a child itself.
PARENT_OF_SLEEP = "import subprocess, sys; subprocess.Popen(['sleep', '3600']).wait()"
# A child that ignores SIGTERM.
IGNORES_SIGTERM = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "print('ignoring', flush=True); time.sleep(3600)"
)


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


@pytest.fixture
def own_folder(servers: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A data folder for one test; the servers are those of the session."""
    monkeypatch.setenv("TRYON_DATA_DIR", str(tmp_path))
    settings.cache_clear()
    yield tmp_path
    settings.cache_clear()


def child(supervisor: Supervisor, name: str) -> Child:
    return next(child for child in supervisor.children if child.name == name)


def wait_until(condition: Callable[[], bool], supervisor: Supervisor) -> None:
    supervisor._ready = lambda _: condition()
    supervisor.wait_ready(TIMEOUT_S)


def logged(supervisor: Supervisor, name: str, text: str) -> Callable[[], bool]:
    return lambda: text in child(supervisor, name).process.tail()


@pytest.mark.usefixtures("own_folder")
def test_children_and_their_children_are_stopped() -> None:
    with Supervisor(
        commands={"family": python(PARENT_OF_SLEEP), "stubborn": python(IGNORES_SIGTERM)}
    ) as supervisor:
        wait_until(lambda: len(supervisor.descendants()) == 3, supervisor)
        wait_until(logged(supervisor, "stubborn", "ignoring"), supervisor)
        processes = [psutil.Process(pid) for pid in supervisor.descendants()]
        supervisor._stop_now = True
    _, alive = psutil.wait_procs(processes, timeout=TIMEOUT_S)
    assert alive == []


@pytest.mark.usefixtures("own_folder")
def test_a_crashed_child_is_restarted_and_its_children_are_killed() -> None:
    with Supervisor(commands={"family": python(PARENT_OF_SLEEP)}) as supervisor:
        wait_until(lambda: len(supervisor.descendants()) == 2, supervisor)
        before = [psutil.Process(pid) for pid in supervisor.descendants()]
        child(supervisor, "family").process.signal(signal.SIGKILL)
        wait_until(
            lambda: len(supervisor.descendants() - {process.pid for process in before}) == 2, supervisor
        )
        _, alive = psutil.wait_procs(before, timeout=TIMEOUT_S)
        assert alive == []
        assert child(supervisor, "family").crashes == 1


@pytest.mark.usefixtures("own_folder")
def test_the_log_of_a_child_that_cannot_start_is_shown() -> None:
    failing = python(f"import sys; print('no such device'); sys.exit({os.EX_CONFIG})")
    with (
        Supervisor(commands={"worker": failing}, ready=lambda _: False) as supervisor,
        pytest.raises(ServerError, match=r"(?s)worker cannot start.*worker\.log.*no such device"),
    ):
        supervisor.wait_ready(TIMEOUT_S)


@pytest.mark.usefixtures("own_folder")
def test_children_get_the_endpoints_in_their_environment() -> None:
    code = "import os; print('at', os.environ['TRYON_DATA_DIR'], flush=True); import time; time.sleep(3600)"
    with Supervisor(commands={"child": python(code)}) as supervisor:
        wait_until(logged(supervisor, "child", f"at {supervisor.data_dir}"), supervisor)


# Runs a supervisor with its own Valkey, prints all process ids when it is ready, and runs until a signal.
PARENT = f"""
import psutil
from worker.machine.supervisor import Supervisor
family = [{sys.executable!r}, "-c", {PARENT_OF_SLEEP!r}]
with Supervisor(commands={{"family": family}}, ready=lambda s: len(s.descendants()) == 2) as supervisor:
    supervisor.wait_ready()
    pids = supervisor.descendants() | {{supervisor.servers.valkey.process.pid}}
    try:
        print(*pids, flush=True)
        supervisor.run()
    except KeyboardInterrupt:  # the signal may come before `run`, which catches it
        pass
    print("stopping", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_signal_leaves_orphans(
    own_folder: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    monkeypatch.delenv("TRYON_BROKER_URL")
    with subprocess.Popen(python(PARENT), stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        try:
            processes = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
            assert len(processes) == 3
            sleeper = next(process for process in processes if process.name() == "sleep")
            assert (own_folder / "embedded.json").exists()
            parent.send_signal(number)
            rest = parent.stdout.read()
            code = parent.wait(TIMEOUT_S)
        finally:
            parent.kill()
    if number == signal.SIGKILL:
        # The kernel ends the supervisor's children only; each child, such as Celery, ends its own children.
        processes.remove(sleeper)
        sleeper.kill()
    _, alive = psutil.wait_procs(processes, timeout=TIMEOUT_S)
    assert alive == []
    if number == signal.SIGKILL:
        assert (rest, code) == ("", -signal.SIGKILL)
    else:
        assert (rest, code) == ("stopping\n", 0)
        assert not (own_folder / "embedded.json").exists()


def test_the_dashboard_is_on_the_loopback_only() -> None:
    commands = default_commands(cpu_processes=2, flower_port=5555, api_port=8000)
    assert list(commands) == ["worker-cpu", "worker-gpu", "sweep", "api", "webhooks", "flower"]
    assert "--address=127.0.0.1" in commands["flower"]
    assert "--host" not in commands["api"], "its default is the loopback"
    assert "flower" not in default_commands(cpu_processes=2, flower_port=None)
