"""The producer of a soak: it uploads the inputs, submits the jobs over time, and knows the right results."""

import random
import threading
import time
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from kombu import Connection, Producer
from PIL import Image

from config.endpoints import broker_url
from db.session import DatabaseUnavailableError
from tasks import tryon
from tests.soak.app import POISON
from tests.support import quick
from worker.artifacts.storage import storage

GARMENTS = 25
"""Different garments: many jobs share one, so that their stages wait for each other's artifacts."""

TENANTS = ("default", "shop-a", "shop-b")
POISON_ID = "poison"
MALFORMED_ID = "malformed"


@dataclass(frozen=True)
class GoodJob:
    """A job that has to succeed: its id and the objects of its inputs."""

    id: str
    person: bytes
    cloth: bytes

    @property
    def keys(self) -> tuple[str, str]:
        """The keys of the inputs: person, cloth."""
        return f"people/{self.id}", f"cloths/{self.cloth.decode().replace(' ', '-')}"

    def has_right_result(self, key: str) -> bool:
        """Return whether the stored result is the picture of these inputs."""
        picture = np.asarray(Image.open(BytesIO(storage().get_result(key))))
        return bool(np.array_equal(picture, quick.expected_result(self.person, self.cloth)))


def good_jobs(number: int) -> list[GoodJob]:
    """Return so many jobs with a person of their own, and upload their inputs."""
    planned = [
        GoodJob(f"soak-{index}", f"person {index}".encode(), f"cloth {index % GARMENTS}".encode())
        for index in range(number)
    ]
    for job in planned:
        storage().put_input(job.keys[0], job.person, "text/plain")
    for job in planned[:GARMENTS]:
        storage().put_input(job.keys[1], job.cloth, "text/plain")
    storage().put_input("people/poison", POISON, "text/plain")
    return planned


def submit_over_time(planned: list[GoodJob], seconds: float, seed: int, stop: threading.Event) -> None:
    """Submit the jobs at equal intervals, with priorities and tenants by chance."""
    chance = random.Random(seed)
    began = time.monotonic()
    for index, job in enumerate(planned):
        due_s = index * seconds / len(planned)
        if stop.wait(max(0.0, began + due_s - time.monotonic())):
            return
        options = {"priority": chance.randrange(10), "tenant": chance.choice(TENANTS)}
        while not stop.is_set():
            try:
                tryon.apply_async(job.keys, options, task_id=job.id)
                break
            except DatabaseUnavailableError:
                continue  # a producer tries again under the same id


def submit_poison() -> None:
    """Submit the job that kills each process that computes it."""
    tryon.apply_async(("people/poison", "cloths/cloth-0"), {}, task_id=POISON_ID)


def send_malformed() -> None:
    """Send a request that is nested too deeply to be read, and a wake-up that is no JSON."""
    bodies = {"tasks.tryon": "[" * 900 + "]" * 900, "tasks.pose": "{"}
    with Connection(broker_url()) as connection, connection.channel() as channel:
        for task, body in bodies.items():
            headers = {"task": task, "id": MALFORMED_ID, "root_id": MALFORMED_ID, "lang": "py", "retries": 0}
            headers |= {"timelimit": [None, None]}
            headers |= dict.fromkeys(("eta", "expires", "group", "parent_id"))
            Producer(channel).publish(
                body,
                exchange="",
                routing_key="cpu",
                headers=headers,
                content_type="application/json",
                content_encoding="utf-8",
            )
