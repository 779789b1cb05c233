"""Metrics for Prometheus, read from the database: every process that serves them shows the same values."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from config import queues
from config.errors import ERRORS
from db import jobs
from db.jobs import measuring
from db.models import WORKER_STATES
from db.session import DatabaseUnavailableError
from worker.queue.sweep import SILENT_WORKER_S
from worker.stages.table import STAGES

MAX_TENANTS = 20
"""Tenants with series of their own: those with the most ready stages. The others share the label OTHER, so
that the number of series has a limit."""

OTHER = "other"
"""Label of what has no series of its own."""

CONTENT_TYPE = CONTENT_TYPE_LATEST
"""Content type of `exposition`."""

_ENDED_STAGE = ("succeeded", "failed", "canceled")


class JobsCollector(Collector):
    """Reads the figures of the system at each scrape.

    While the database is away, `tryon_database_up` is 0 and there are no other series.
    """

    def describe(self) -> Iterable[Metric]:
        """Return nothing: so the registry does not read the database when it registers this."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield every metric."""
        up = GaugeMetricFamily("tryon_database_up", "Whether the database answers.")
        try:
            figures = jobs.figures(silent_s=SILENT_WORKER_S)
        except DatabaseUnavailableError:
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield up
        yield from _waiting(figures.waiting)
        yield from _present(figures)
        yield from _totals(figures.totals)


def registry() -> CollectorRegistry:
    """Return a registry with the metrics of the system."""
    metrics = CollectorRegistry()
    metrics.register(JobsCollector())
    return metrics


def exposition() -> bytes:
    """Return all metrics in Prometheus' text format (`CONTENT_TYPE`), for a web application to serve."""
    return generate_latest(registry())


def _waiting(waiting: Sequence[jobs.Waiting]) -> Iterator[Metric]:
    """Yield the depth of each queue and the age of its oldest ready stage, by tenant."""
    ready = GaugeMetricFamily(
        "tryon_ready_stages", "Stages that a worker may claim now.", labels=("queue", "tenant")
    )
    oldest = GaugeMetricFamily(
        "tryon_oldest_ready_stage_seconds",
        "Time since the oldest of these stages became ready; 0: there is none.",
        labels=("queue", "tenant"),
    )
    depths: dict[tuple[str, str], tuple[int, float]] = {
        (queue, tenant): (0, 0.0) for queue in queues.ALL for tenant in ("default", OTHER)
    }
    named = _largest_tenants(waiting)
    for row in waiting:
        key = (row.queue, row.tenant if row.tenant in named else OTHER)
        stages, oldest_s = depths.get(key, (0, 0.0))
        depths[key] = (stages + row.stages, max(oldest_s, row.oldest_s))
    for labels, (stages, oldest_s) in depths.items():
        ready.add_metric(labels, stages)
        oldest.add_metric(labels, max(0.0, oldest_s))
    yield ready
    yield oldest


def _largest_tenants(waiting: Sequence[jobs.Waiting]) -> set[str]:
    """Return the names of the tenants with the most ready stages, at most MAX_TENANTS."""
    stages: dict[str, int] = {}
    for row in waiting:
        stages[row.tenant] = stages.get(row.tenant, 0) + row.stages
    return set(sorted(stages, key=lambda tenant: (-stages[tenant], tenant))[:MAX_TENANTS])


def _present(figures: jobs.Figures) -> Iterator[Metric]:
    """Yield what there is now: running stages, unfinished jobs, workers, webhooks, the sweep."""
    running = GaugeMetricFamily("tryon_running_stages", "Stages that run.", labels=("queue", "stage"))
    for stage in STAGES:
        running.add_metric((stage.queue, stage.name), figures.running.get((stage.queue, stage.name), 0))
    yield running
    unfinished = GaugeMetricFamily(
        "tryon_unfinished_jobs", "Jobs that have not finished.", labels=("status",)
    )
    for status in ("queued", "running"):
        unfinished.add_metric((status,), figures.unfinished.get(status, 0))
    yield unfinished
    workers = GaugeMetricFamily(
        "tryon_workers", "Worker processes that were seen in the last minute.", labels=("queue", "state")
    )
    for queue in queues.ALL:
        for state in WORKER_STATES:
            workers.add_metric((queue, state), figures.workers.get((queue, state), 0))
    yield workers
    memory = GaugeMetricFamily(
        "tryon_gpu_memory_bytes", "Memory of a graphics card.", labels=("host", "device", "kind")
    )
    for (host, device), (used, total) in figures.gpus.items():
        memory.add_metric((host, device, "used"), used)
        memory.add_metric((host, device, "total"), total)
    yield memory
    webhooks = GaugeMetricFamily(
        "tryon_webhooks",
        "Deliveries of webhooks: those that wait, and those that were given up.",
        labels=("status",),
    )
    for status, deliveries in figures.webhooks.items():
        webhooks.add_metric((status,), deliveries)
    yield webhooks
    yield GaugeMetricFamily(
        "tryon_webhook_lag_seconds",
        "For how long the oldest delivery has been due; 0: none is.",
        value=figures.webhook_lag_s,
    )
    yield GaugeMetricFamily(
        "tryon_sweep_last_run_timestamp_seconds",
        "When the sweep ran last, seconds since 1970; 0: never.",
        value=figures.sweep_ran_at or 0.0,
    )


def _totals(totals: Mapping[str, Mapping[tuple[str, ...], float]]) -> Iterator[Metric]:
    """Yield the counters and histograms of what has ended."""
    yield _ended_jobs(totals.get(measuring.JOBS, {}))
    stages = totals.get(measuring.STAGES, {})
    ended = CounterMetricFamily("tryon_stages", "Stages of jobs that have ended.", labels=("stage", "status"))
    for stage in STAGES:
        for status in _ENDED_STAGE:
            ended.add_metric((stage.name, status), stages.get((stage.name, status), 0))
    yield ended
    for name, metric, text in (
        (measuring.ATTEMPTS, "tryon_stage_attempts", "Attempts at stages of jobs that have ended."),
        (measuring.POSTPONED, "tryon_stage_postponed", "Returns of stages without an attempt: an outage."),
        (measuring.CACHE_HITS, "tryon_cache_hits", "Stages whose artifact existed already."),
    ):
        counter = CounterMetricFamily(metric, text, labels=("stage",))
        for stage in STAGES:
            counter.add_metric((stage.name,), totals.get(name, {}).get((stage.name,), 0))
        yield counter
    yield CounterMetricFamily(
        "tryon_leases_lost",
        "Stages that were taken from a worker that died, hung or lost its connection.",
        value=totals.get(measuring.LEASES_LOST, {}).get((), 0),
    )
    for name, text in (
        (measuring.RUN, "Time of the attempt that succeeded."),
        (measuring.WAIT, "Time that the stage was ready and waited for a worker."),
        (measuring.COMPUTE, "Part of the run time inside the stage's method, without cache hits."),
    ):
        yield _histogram(f"tryon_stage_{name}_seconds", text, totals.get(name, {}))


def _ended_jobs(jobs_: Mapping[tuple[str, ...], float]) -> Metric:
    """Return the counter of ended jobs by status and error; an error that is not ours counts as OTHER."""
    counts: dict[tuple[str, str], float] = {
        ("succeeded", ""): 0,
        ("canceled", ""): 0,
        **{("failed", name): 0 for name in ERRORS},
    }
    for (status, error), value in jobs_.items():
        key = (status, error if not error or error in ERRORS else OTHER)
        counts[key] = counts.get(key, 0) + value
    ended = CounterMetricFamily("tryon_jobs", "Jobs that have ended.", labels=("status", "error"))
    for labels, value in counts.items():
        ended.add_metric(labels, value)
    return ended


def _histogram(name: str, text: str, counts: Mapping[tuple[str, ...], float]) -> Metric:
    """Return the histogram of a duration by stage.

    Args:
        name: of the metric.
        text: what it measures.
        counts: (stage, upper bound) -> durations in this bucket alone; (stage, SUM) -> their sum, seconds.
    """
    histogram = HistogramMetricFamily(name, text, labels=("stage",))
    bounds = [*map(str, measuring.BUCKETS_S), measuring.INFINITY]
    for stage in STAGES:
        buckets, total = [], 0.0
        for bound in bounds:
            total += counts.get((stage.name, bound), 0)
            buckets.append((bound, total))
        histogram.add_metric((stage.name,), buckets, counts.get((stage.name, measuring.SUM), 0))
    return histogram
