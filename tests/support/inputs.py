"""Objects and rows to begin with."""

import hashlib

from db import jobs
from worker.artifacts.storage import storage
from worker.queue.intake import stage_specs
from worker.queue.request import TryonRequest


def put(request, person=None, cloth=None, suffix=""):
    """Upload two objects that belong to this test alone; returns their keys and contents."""
    mine = request.node.name + suffix
    person = person or f"person of {mine}"
    cloth = cloth or f"cloth of {mine}"
    keys = f"people/{mine}", f"cloths/{mine}"
    for key, data in zip(keys, (person, cloth), strict=True):
        storage().put_input(key, data.encode(), "text/plain")
    return keys, (person.encode(), cloth.encode())


def submit_drawable(job_id, made, **request):
    """Write a job whose stages before the last have succeeded, leaving these packed bundles."""
    asked = TryonRequest(**request)
    jobs.submit(
        job_id,
        person_key=asked.person_key,
        cloth_key=asked.cloth_key,
        options=asked.options(),
        stages=stage_specs(),
        priority=asked.priority,
    )
    for stage, data in made.items():
        key = f"artifacts/{stage}/{hashlib.sha256(data).hexdigest()}"
        storage().put_artifact(key, data)
        held = jobs.claim(job_id, stage, worker="before", lease_s=30)
        jobs.finish(held, artifact_key=key, run_ms=1, cache_hit=False)
