"""Metrics agree with the rows, count each job once, and are served to a real Prometheus."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text
from sqlalchemy.orm import Session

from config.errors import NoPersonError, StorageError
from config.settings import settings
from db import jobs, session, webhooks
from db.models import Job
from db.session import engine
from tests.integration.test_jobs import run, submit
from tests.support.waiting import wait_for
from tests.support.workers import ROOT
from worker.queue import metrics, sweep

pytestmark = pytest.mark.usefixtures("database")

MONITORING = ROOT / "deploy/monitoring"
INSTALL = "install Debian's package `prometheus` (apt-get install prometheus)"
STAGE_NAMES = ("pose", "cloth", "parse", "generate")


@pytest.fixture
def counting(database):
    """A sweep has run: what ends from now on is counted."""
    jobs.record_sweep(leases_lost=0)


def values(page=None):
    """Return (name, labels) -> value of all samples."""
    families = text_string_to_metric_families((page or metrics.exposition()).decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def value(name, **labels):
    return values()[(name, tuple(sorted(labels.items())))]


def run_all(job_id):
    submit(job_id)
    for stage in STAGE_NAMES:
        run(stage, job_id)


def fail(job_id, error):
    submit(job_id)
    claimed = jobs.claim(job_id, "pose", worker="w", lease_s=30)
    jobs.fail(claimed, error.record(), retry_after_s=None)


def test_ended_jobs_are_counted_once_by_outcome_and_error(counting):
    run_all("good")
    fail("bad", NoPersonError("nobody"))
    submit("gone")
    jobs.cancel("gone")
    ended = jobs.record_sweep(leases_lost=3)
    assert [(job.id, job.status) for job in ended] == [
        ("good", "succeeded"),
        ("bad", "failed"),
        ("gone", "canceled"),
    ]
    assert jobs.record_sweep(leases_lost=0) == []
    assert value("tryon_jobs_total", status="succeeded", error="") == 1
    assert value("tryon_jobs_total", status="failed", error="NoPersonError") == 1
    assert value("tryon_jobs_total", status="failed", error="StorageError") == 0
    assert value("tryon_jobs_total", status="canceled", error="") == 1
    assert value("tryon_leases_lost_total") == 3
    assert value("tryon_stage_attempts_total", stage="pose") == 2
    assert value("tryon_stages_total", stage="pose", status="failed") == 1
    assert value("tryon_stage_run_seconds_count", stage="generate") == 1
    assert value("tryon_stage_run_seconds_sum", stage="generate") == pytest.approx(0.001)
    assert value("tryon_stage_run_seconds_bucket", stage="generate", le="0.01") == 1


def test_a_retried_job_counts_its_kept_stages_once(counting):
    submit("job")
    run("pose")
    claimed = jobs.claim("job", "cloth", worker="w", lease_s=30)
    jobs.fail(claimed, StorageError("away").record(), retry_after_s=None)
    jobs.record_sweep(leases_lost=0)
    jobs.retry("job")
    for stage in STAGE_NAMES[1:]:
        run(stage)
    jobs.record_sweep(leases_lost=0)
    assert value("tryon_stage_run_seconds_count", stage="pose") == 1
    assert value("tryon_jobs_total", status="failed", error="StorageError") == 1
    assert value("tryon_jobs_total", status="succeeded", error="") == 1


def test_totals_outlive_deleted_jobs(counting):
    run_all("job")
    jobs.record_sweep(leases_lost=0)
    jobs.delete_job("job", reason="forget", removed={})
    assert value("tryon_jobs_total", status="succeeded", error="") == 1


def test_a_transaction_that_ends_late_is_counted(counting):
    """Its job has the time of its begin, which is before that of a sweep in between."""
    submit("late")
    submit("early")
    with Session(engine()) as slow:
        slow.get_one(Job, "late").status = "canceled"
        slow.execute(text("UPDATE jobs SET finished_at = now() WHERE id = 'late'"))
        jobs.cancel("early")
        assert jobs.record_sweep(leases_lost=0) == []
        slow.commit()
    assert {job.id for job in jobs.record_sweep(leases_lost=0)} == {"late", "early"}


def test_sweeps_at_the_same_time_count_each_job_once(counting):
    number = 30
    with ThreadPoolExecutor(6) as pool:
        work = [pool.submit(fail, f"job-{n}", NoPersonError("nobody")) for n in range(number)]
        sweeps = [pool.submit(jobs.record_sweep, leases_lost=1) for _ in range(number)]
        ended = [job.id for done in sweeps for job in done.result()]
        for done in work:
            done.result()
    ended += [job.id for job in jobs.record_sweep(leases_lost=0)]
    assert sorted(ended) == sorted(f"job-{n}" for n in range(number))
    assert value("tryon_jobs_total", status="failed", error="NoPersonError") == number
    assert value("tryon_leases_lost_total") == number


def test_ready_stages_and_their_age_by_queue_and_tenant():
    submit("a", tenant="shop")
    submit("b", tenant="shop")
    run("pose", "a")
    with engine().begin() as connection:
        connection.execute(
            text("UPDATE stages SET ready_at = now() - interval '90 seconds' WHERE job_id = 'b'")
        )
    assert value("tryon_ready_stages", queue="cpu", tenant="shop") == 3
    assert value("tryon_ready_stages", queue="gpu", tenant="default") == 0
    assert 90 <= value("tryon_oldest_ready_stage_seconds", queue="cpu", tenant="shop") < 200
    assert value("tryon_unfinished_jobs", status="running") == 1
    jobs.claim("b", "pose", worker="w", lease_s=30)
    assert value("tryon_running_stages", queue="cpu", stage="pose") == 1


def test_the_memory_of_graphics_cards():
    name = "gpu-host:7"
    jobs.register_worker(name, pid=7, queues=("gpu",), state="ready", device="cuda:1")
    try:
        assert not [key for key in values() if key[0] == "tryon_gpu_memory_bytes"]
        assert jobs.worker_present(name, gpu_bytes=(5_000_000_000, 80_000_000_000))
        labels = {"host": "gpu-host", "device": "cuda:1"}
        assert value("tryon_gpu_memory_bytes", kind="used", **labels) == 5e9
        assert value("tryon_gpu_memory_bytes", kind="total", **labels) == 80e9
    finally:
        jobs.forget_worker(name)


def test_webhooks_that_wait_and_that_were_given_up():
    submit("job", webhook_url="https://shop.example/hook", webhook_events=["canceled"])
    assert (value("tryon_webhooks", status="pending"), value("tryon_webhook_lag_seconds")) == (0, 0)
    jobs.cancel("job")
    assert value("tryon_webhooks", status="pending") == 1
    with engine().begin() as connection:
        connection.execute(text("UPDATE webhook_deliveries SET not_before = now() - interval '90 seconds'"))
    assert 90 <= value("tryon_webhook_lag_seconds") < 200
    (delivery,) = webhooks.claim(limit=10, lease_s=30)
    assert value("tryon_webhook_lag_seconds") == 0, "it is being sent"
    webhooks.mark_failed(delivery, "410", retry_after_s=None)
    assert value("tryon_webhooks", status="dead") == 1


def test_the_number_of_series_has_a_limit(counting):
    for number in range(3 * metrics.MAX_TENANTS):
        submit(f"job-{number}", tenant=f"shop-{number:03}")
    with engine().begin() as connection:
        connection.execute(
            text("UPDATE jobs SET status = 'failed', finished_at = now(), error = '{\"name\": \"Odd\"}'")
        )
    tenants = {dict(labels)["tenant"] for name, labels in values() if name == "tryon_ready_stages"}
    assert len(tenants) == metrics.MAX_TENANTS + 2
    assert value("tryon_ready_stages", queue="cpu", tenant="other") == 2 * 2 * metrics.MAX_TENANTS
    jobs.record_sweep(leases_lost=0)
    assert value("tryon_jobs_total", status="failed", error="other") == 3 * metrics.MAX_TENANTS


def test_workers_and_the_sweep():
    assert value("tryon_sweep_last_run_timestamp_seconds") == 0
    name = "metrics-test:1"
    before = value("tryon_workers", queue="gpu", state="failed")
    jobs.register_worker(name, pid=1, queues=("gpu",), state="failed", message="no GPU")
    try:
        assert value("tryon_workers", queue="gpu", state="failed") == before + 1
        with engine().begin() as connection:
            silent = text("UPDATE workers SET seen_at = now() - interval '2 hours' WHERE name = :name")
            connection.execute(silent, {"name": name})
        assert value("tryon_workers", queue="gpu", state="failed") == before
    finally:
        jobs.forget_worker(name)
    jobs.record_sweep(leases_lost=0)
    with engine().connect() as connection:
        now = connection.execute(text("SELECT extract(epoch FROM now())")).scalar_one()
    assert abs(float(now) - value("tryon_sweep_last_run_timestamp_seconds")) < 60


def test_without_a_database_the_metrics_say_so(monkeypatch):
    monkeypatch.setenv("TRYON_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    monkeypatch.setenv("TRYON_OUTAGE_PATIENCE_S", "0")
    settings.cache_clear()
    session.dispose()
    try:
        assert values() == {("tryon_database_up", ()): 0}
    finally:
        monkeypatch.undo()
        settings.cache_clear()
        session.dispose()


def prometheus_tool(name):
    return shutil.which(name) or pytest.skip(INSTALL)


def test_alerts_fire_as_written():
    """promtool checks the rules, and plays the series of alerts.test.yml against them."""
    promtool = prometheus_tool("promtool")
    for command in (["check", "rules", "alerts.yml"], ["test", "rules", "alerts.test.yml"]):
        done = subprocess.run([promtool, *command], cwd=MONITORING, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    tested = yaml.safe_load((MONITORING / "alerts.test.yml").read_text())["tests"]
    fired = {
        rule["alertname"] for test in tested for rule in test["alert_rule_test"] if rule.get("exp_alerts")
    }
    rules = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"][0]["rules"]
    assert fired == {rule["alert"] for rule in rules}


def test_the_exposition_is_well_formed():
    promtool = prometheus_tool("promtool")
    page = metrics.exposition()
    done = subprocess.run([promtool, "check", "metrics"], input=page, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


def expressions():
    """Return every expression of the alerts and of the dashboard."""
    rules = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"][0]["rules"]
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    targets = [target for panel in dashboard["panels"] for target in panel.get("targets", ())]
    asked = [rule["expr"] for rule in rules] + [target["expr"] for target in targets]
    return [expression.replace("$__rate_interval", "1m") for expression in asked]


def test_every_metric_that_alerts_and_dashboard_name_exists():
    described = re.findall(r"^# TYPE (\w+)", metrics.exposition().decode(), re.MULTILINE)
    served = {name for name, _ in values()} | set(described)  # no graphics card, no sample of its memory
    named = {name for asked in expressions() for name in re.findall(r"\btryon_\w+", asked)}
    assert named <= served


@pytest.fixture
def metrics_server():
    """The command `tryon metrics`, as a process; returns host and port."""
    command = [sys.executable, "-c", "from tasks.cli import main; main()", "metrics", "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield urllib.parse.urlsplit(process.stdout.readline().split()[-1]).netloc
        finally:
            process.terminate()
            assert process.wait(20) == 0
        process.stdout.close()


def fetch(url):
    """Return the body of a response, or None when the server does not answer yet."""
    try:
        with urllib.request.urlopen(url, timeout=10) as response:  # noqa: S310 - a fixed http address
            return response.read()
    except OSError:
        return None


def test_prometheus_scrapes_the_command_and_answers_the_dashboard(counting, metrics_server, tmp_path):
    prometheus = prometheus_tool("prometheus")
    run_all("job")
    sweep.jobs.record_sweep(leases_lost=0)
    assert metrics_server.startswith("127.0.0.1:")
    config = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    config["global"]["scrape_interval"] = "1s"
    config["rule_files"] = [str(MONITORING / "alerts.yml")]
    config["scrape_configs"][0]["static_configs"] = [{"targets": [metrics_server]}]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    arguments = [f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data"]
    with (tmp_path / "prometheus.log").open("w") as log:
        process = subprocess.Popen(
            [prometheus, *arguments, f"--web.listen-address={address}"],
            cwd=tmp_path,
            env=os.environ | {"GOMAXPROCS": "1"},
            stdout=log,
            stderr=log,
        )

    def query(expression):
        page = fetch(f"http://{address}/api/v1/query?{urllib.parse.urlencode({'query': expression})}")
        return json.loads(page)["data"]["result"] if page else []

    try:
        wait_for(lambda: query('tryon_jobs_total{status="succeeded"}'), "a scrape")
        (jobs_,) = query('tryon_jobs_total{status="succeeded"}')
        assert jobs_["value"][1] == "1"
        for expression in expressions():
            assert fetch(f"http://{address}/api/v1/query?{urllib.parse.urlencode({'query': expression})}")
        page = fetch(f"http://{address}/api/v1/rules")
        assert json.loads(page)["data"]["groups"][0]["name"] == "tryon"
    finally:
        process.terminate()
        process.wait(20)
