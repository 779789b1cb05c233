"""Uploads inputs and writes jobs for tests."""

import hashlib

from db import jobs
from worker.artifacts.storage import storage
from worker.queue.intake import accept
from worker.queue.request import TryonRequest


def put(request, person=None, cloth=None, suffix=""):
    """Upload two objects that only this test uses; returns their keys and their contents."""
    name = request.node.name + suffix
    person = person or f"person of {name}"
    cloth = cloth or f"cloth of {name}"
    keys = f"people/{name}", f"cloths/{name}"
    for key, data in zip(keys, (person, cloth), strict=True):
        storage().put_input(key, data.encode(), "text/plain")
    return keys, (person.encode(), cloth.encode())


def submit_drawable(job_id, bundles, **options):
    """Write a job whose stages before the last have succeeded with these packed bundles (stage -> bytes)."""
    accept(job_id, TryonRequest(**options))
    for stage, data in bundles.items():
        key = f"artifacts/{stage}/{hashlib.sha256(data).hexdigest()}"
        storage().put_artifact(key, data)
        claim = jobs.claim(job_id, stage, worker="earlier", lease_s=30)
        jobs.finish(claim, artifact_key=key, run_ms=1, cache_hit=False)
