"""The worker's Celery application with the tiny network of FASHN VTON in place of the full-size one.

celery -A tests.support.fashn_app worker -Q cpu,gpu
"""

from tests.support import fashn_vton

fashn_vton.install()

from worker.app import app  # noqa: E402 - the tiny network is installed first

__all__ = ["app"]
