"""A terminated benchmark removes its temporary folder."""

import os
import signal
import subprocess
import sys

from tests.support.waiting import wait_for
from tests.support.workers import ROOT


def test_a_terminated_benchmark_removes_its_temporary_folder(tmp_path):
    command = [sys.executable, "-c", "from tasks.cli import main; main()", "bench", "cascade"]
    with (tmp_path / "log").open("wb") as log:
        bench = subprocess.Popen(
            command, cwd=ROOT, env=os.environ | {"TMPDIR": str(tmp_path)}, stdout=log, stderr=log
        )
    try:
        wait_for(lambda: list(tmp_path.glob("tryon-bench-*")), "the benchmark's folder")
        bench.send_signal(signal.SIGTERM)
        exit_code = bench.wait(60)
    finally:
        bench.kill()
    assert exit_code == 130, (tmp_path / "log").read_text()
    assert not list(tmp_path.glob("tryon-bench-*"))
