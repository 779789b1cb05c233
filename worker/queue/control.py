"""Celery's remote control: to revoke a try-on is to cancel its job."""

import logging
from typing import Any

from celery.app.control import Control

log = logging.getLogger(__name__)


class JobControl(Control):  # type: ignore[misc] # Celery has no types
    """Cancels jobs that are revoked by `AsyncResult.revoke`, `app.control.revoke` or `celery control revoke`.

    A worker that discards the message of a job would not end the job: its row decides.
    """

    def broadcast(self, command: str, arguments: dict[str, Any] | None = None, **options: Any) -> Any:
        """Send a command to the workers; cancel the jobs first if it is `revoke`."""
        if command == "revoke":
            from db import jobs  # a producer imports this module at its start

            ids = (arguments or {}).get("task_id") or []
            for job_id in [ids] if isinstance(ids, str) else ids:
                try:
                    jobs.cancel(job_id)
                except jobs.UnknownJobError:
                    log.warning("There is no job %s to cancel; its message is revoked only", job_id)
        return super().broadcast(command, arguments=arguments, **options)
