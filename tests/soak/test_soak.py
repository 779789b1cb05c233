"""The soak's short form, with every fault of the long one."""

import json
import os
import subprocess
import sys

from tests.support.workers import ROOT


def test_a_short_soak_loses_no_job(tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TRYON_")}
    options = ("--jobs", "50", "--minutes", "0.4", "--seed", "1", "--json", "--keep", tmp_path / "soak")
    process = subprocess.run(
        [sys.executable, "-m", "tests.soak", *options],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert process.stdout, process.stderr[-3000:]
    report = json.loads(process.stdout)
    assert report["ok"], report
    assert len(report["faults"]) == 7
    assert report["kills"] > 0
    assert report["postponed"] > 0, "the store's outages were noticed"
