"""One thin task per stage, so that a dashboard shows each by its name with its run time."""

from functools import partial

from config.errors import TryonError
from worker.app import app


def _run(name: str, job_id: str) -> str:
    from worker.queue import process, runner, wake  # a producer imports this module and runs no stage

    worker = process.current()
    runner.run_stage(job_id, name, worker=worker.name, models=worker.models, wake=partial(wake.send, app))
    return job_id


@app.task(name="tasks.pose", ignore_result=True, throws=(TryonError,))
def pose(job_id: str) -> str:
    """Find the joints of the job's person."""
    return _run("pose", job_id)


@app.task(name="tasks.cloth", ignore_result=True, throws=(TryonError,))
def cloth(job_id: str) -> str:
    """Cut the job's garment out of its background."""
    return _run("cloth", job_id)


@app.task(name="tasks.parse", ignore_result=True, throws=(TryonError,))
def parse(job_id: str) -> str:
    """Tell the parts of the job's person apart."""
    return _run("parse", job_id)


@app.task(name="tasks.generate", ignore_result=True, throws=(TryonError,))
def generate(job_id: str) -> str:
    """Draw the job's garment on its person."""
    return _run("generate", job_id)
