"""The Celery tasks. A producer needs one line: `tasks.tryon.delay(person_key, cloth_key)`."""

from tasks.stages import cloth, generate, parse, pose
from tasks.submit import refuse, tryon

__all__ = ["cloth", "generate", "parse", "pose", "refuse", "tryon"]
