"""One small task per stage, so that a dashboard shows each stage by name with its run time."""

from functools import partial

from config.errors import TryonError
from worker.app import app

# `shared=False`: the tasks belong to this application only, not to every application of a producer's process.


def _run(name: str, job_id: str) -> str:
    from worker.queue import process, runner, wake  # a producer imports this module but runs no stage

    worker = process.current()
    runner.run_stage(job_id, name, worker=worker.name, models=worker.models, wake=partial(wake.send, app))
    return job_id


@app.task(name="tasks.pose", ignore_result=True, throws=(TryonError,), shared=False)
def pose(job_id: str) -> str:
    """Estimate the pose of the job's person."""
    return _run("pose", job_id)


@app.task(name="tasks.cloth", ignore_result=True, throws=(TryonError,), shared=False)
def cloth(job_id: str) -> str:
    """Segment the job's garment."""
    return _run("cloth", job_id)


@app.task(name="tasks.parse", ignore_result=True, throws=(TryonError,), shared=False)
def parse(job_id: str) -> str:
    """Segment the job's person into body parts and clothes."""
    return _run("parse", job_id)


@app.task(name="tasks.generate", ignore_result=True, throws=(TryonError,), shared=False)
def generate(job_id: str) -> str:
    """Render the job's garment on its person."""
    return _run("generate", job_id)
