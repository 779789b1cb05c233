"""One small task per stage, so that a dashboard shows each stage by name with its run time."""

from collections.abc import Callable
from functools import partial

from celery import Task

from config.errors import TryonError
from worker.app import app
from worker.queue import messages


def _stage_task(name: str) -> Callable[[Callable[[Task, str], str]], Callable[[str], str]]:
    """Return the decorator that registers a function as the Celery task of this name."""
    # `shared=False`: the task belongs to this application only, not to every application of a producer's
    # process. `send_events=False`: see `worker.queue.events`.
    decorator: Callable[[Callable[[Task, str], str]], Callable[[str], str]] = app.task(
        name=name,
        bind=True,
        send_events=False,
        ignore_result=True,
        throws=(TryonError,),
        shared=False,
        Strategy=messages.STRATEGY,
    )
    return decorator


def _run(task: Task, job_id: str) -> str:
    from worker.queue import process, runner, wake  # a producer imports this module but runs no stage
    from worker.queue.events import WorkerEvents

    worker = process.current()
    try:
        runner.run_stage(
            task.name.removeprefix("tasks."),
            worker=worker.name,
            models=worker.models,
            wake=partial(wake.send, app),
            health=worker.health,
            events=WorkerEvents(app, task.request.hostname),
        )
    finally:
        process.leave_if_broken()
    return job_id


@_stage_task(name="tasks.pose")
def pose(self: Task, job_id: str) -> str:
    """Estimate the pose of the job's person."""
    return _run(self, job_id)


@_stage_task(name="tasks.cloth")
def cloth(self: Task, job_id: str) -> str:
    """Segment the job's garment."""
    return _run(self, job_id)


@_stage_task(name="tasks.parse")
def parse(self: Task, job_id: str) -> str:
    """Segment the job's person into body parts and clothes."""
    return _run(self, job_id)


@_stage_task(name="tasks.generate")
def generate(self: Task, job_id: str) -> str:
    """Render the job's garment on its person."""
    return _run(self, job_id)
