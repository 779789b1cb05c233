"""The query by which Kubernetes scales the workers counts what is to be done, and uses indexes."""

import pytest
import yaml
from sqlalchemy import text

from db import jobs
from db.session import engine
from tests.integration.test_jobs import run, submit
from tests.support.workers import ROOT
from worker.lab.rows_bench.fill import fill

SCALING = ROOT / "deploy/kubernetes/keda/scaling.yaml"
QUERIES = {
    manifest["spec"]["scaleTargetRef"]["name"].removesuffix("-worker"): manifest["spec"]["triggers"][0][
        "metadata"
    ]["query"]
    for manifest in yaml.safe_load_all(SCALING.read_text())
    if manifest["kind"] == "ScaledObject"
}

pytestmark = pytest.mark.usefixtures("database")


def open_stages(queue):
    with engine().connect() as connection:
        return connection.execute(text(QUERIES[queue])).scalar_one()


def test_ready_and_running_stages_count_and_postponed_ones_do_not():
    assert (open_stages("cpu"), open_stages("gpu")) == (0, 0)
    submit("a")
    submit("b")
    claimed = jobs.claim("a", "pose", worker="w", lease_s=30)
    assert (open_stages("cpu"), open_stages("gpu")) == (4, 0)
    jobs.postpone(claimed, {"name": "StorageError"}, delay_s=600)
    assert open_stages("cpu") == 3
    run("pose", "b")
    run("cloth", "b")
    assert (open_stages("cpu"), open_stages("gpu")) == (1, 1)


def test_the_queries_read_open_stages_only():
    with engine().begin() as connection:
        fill(connection, finished=10_000, queued=1_000)
    with engine().connect() as connection:
        connection.execute(text("ANALYZE stages"))
        for query in QUERIES.values():
            plan = "\n".join(row[0] for row in connection.execute(text(f"EXPLAIN {query}")))
            assert "Seq Scan" not in plan, plan
