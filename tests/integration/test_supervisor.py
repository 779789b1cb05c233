"""The supervisor restarts what crashes, stops what it started, and leaves no process behind."""

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

PATIENCE_S = 60

# A child with a child of its own.
FAMILY = "import subprocess, sys; subprocess.Popen(['sleep', '3600']).wait()"
# A child that does not listen.
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "print('deaf', flush=True); time.sleep(3600)"
)


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


@pytest.fixture
def own_folder(servers: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A data folder of the test's own, beside the session's servers."""
    monkeypatch.setenv("TRYON_DATA_DIR", str(tmp_path))
    settings.cache_clear()
    yield tmp_path
    settings.cache_clear()


def child(supervisor: Supervisor, name: str) -> Child:
    return next(child for child in supervisor.children if child.name == name)


def wait_until(condition: Callable[[], bool], supervisor: Supervisor) -> None:
    supervisor._ready = lambda _: condition()
    supervisor.wait_ready(PATIENCE_S)


def said(supervisor: Supervisor, name: str, text: str) -> Callable[[], bool]:
    return lambda: text in child(supervisor, name).process.tail()


@pytest.mark.usefixtures("own_folder")
def test_children_and_theirs_are_stopped() -> None:
    with Supervisor(commands={"family": python(FAMILY), "stubborn": python(STUBBORN)}) as supervisor:
        wait_until(lambda: len(supervisor.descendants()) == 3, supervisor)
        wait_until(said(supervisor, "stubborn", "deaf"), supervisor)
        processes = [psutil.Process(pid) for pid in supervisor.descendants()]
        supervisor._hurry = True
    _, alive = psutil.wait_procs(processes, timeout=PATIENCE_S)
    assert alive == []


@pytest.mark.usefixtures("own_folder")
def test_a_crashed_child_is_started_again_and_its_children_are_ended() -> None:
    with Supervisor(commands={"family": python(FAMILY)}) as supervisor:
        wait_until(lambda: len(supervisor.descendants()) == 2, supervisor)
        before = [psutil.Process(pid) for pid in supervisor.descendants()]
        child(supervisor, "family").process.signal(signal.SIGKILL)
        wait_until(
            lambda: len(supervisor.descendants() - {process.pid for process in before}) == 2, supervisor
        )
        _, alive = psutil.wait_procs(before, timeout=PATIENCE_S)
        assert alive == []
        assert child(supervisor, "family").crashes == 1


@pytest.mark.usefixtures("own_folder")
def test_a_child_that_cannot_start_shows_its_log() -> None:
    wrong = python(f"import sys; print('no such device'); sys.exit({os.EX_CONFIG})")
    with (
        Supervisor(commands={"worker": wrong}, ready=lambda _: False) as supervisor,
        pytest.raises(ServerError, match=r"(?s)worker cannot start.*worker\.log.*no such device"),
    ):
        supervisor.wait_ready(PATIENCE_S)


@pytest.mark.usefixtures("own_folder")
def test_children_are_told_where_the_servers_are() -> None:
    code = "import os; print('at', os.environ['TRYON_DATA_DIR'], flush=True); import time; time.sleep(3600)"
    with Supervisor(commands={"teller": python(code)}) as supervisor:
        wait_until(said(supervisor, "teller", f"at {supervisor.data_dir}"), supervisor)


# Runs a supervisor with its own Valkey, tells all pids when they are there, and goes on until a signal.
PARENT = f"""
import psutil
from worker.machine.supervisor import Supervisor
family = [{sys.executable!r}, "-c", {FAMILY!r}]
with Supervisor(commands={{"family": family}}, ready=lambda s: len(s.descendants()) == 2) as supervisor:
    supervisor.wait_ready()
    pids = supervisor.descendants() | {{supervisor.servers.valkey.process.pid}}
    print(*pids, flush=True)
    supervisor.run()
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
            code = parent.wait(PATIENCE_S)
        finally:
            parent.kill()
    if number == signal.SIGKILL:
        # The kernel ends the supervisor's children; theirs are their own to look after, as Celery does.
        processes.remove(sleeper)
        sleeper.kill()
    _, alive = psutil.wait_procs(processes, timeout=PATIENCE_S)
    assert alive == []
    if number == signal.SIGKILL:
        assert (rest, code) == ("", -signal.SIGKILL)
    else:
        assert (rest, code) == ("stopping\n", 0)
        assert not (own_folder / "embedded.json").exists()


def test_the_dashboard_is_on_the_loopback_only() -> None:
    commands = default_commands(cpu_processes=2, flower_port=5555)
    assert list(commands) == ["worker-cpu", "worker-gpu", "sweep", "flower"]
    assert "--address=127.0.0.1" in commands["flower"]
    assert "flower" not in default_commands(cpu_processes=2, flower_port=None)
