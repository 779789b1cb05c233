"""The Celery tasks; `tasks.tryon.delay(person_key, cloth_key)` is the whole producer."""

from tasks.stages import cloth, generate, parse, pose
from tasks.submit import tryon

__all__ = ["cloth", "generate", "parse", "pose", "tryon"]
