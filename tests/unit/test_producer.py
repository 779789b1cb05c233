"""A producer's process stays light, and its own Celery application stays untouched."""

import subprocess
import sys

HEAVY = ("torch", "torchvision", "cv2", "mediapipe", "numpy", "scipy", "ultralytics", "boto3", "sqlalchemy")


def output_of(program, **environment):
    """Run a program in a process of its own, where warnings are errors; returns what it prints."""
    completed = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env={"TRYON_BROKER_URL": "redis://127.0.0.1:1/0", **environment},
    )
    assert completed.returncode == 0, completed.stderr
    return completed.stdout.strip()


def test_importing_the_tasks_loads_no_heavy_package():
    assert output_of(f"import sys, tasks; print([name for name in {HEAVY} if name in sys.modules])") == "[]"


def test_tryon_is_the_task_and_not_a_module():
    program = "import tasks, tasks.cli; print(tasks.tryon.__class__.__mro__[1].__name__)"
    assert output_of(program) == "TryonTask"


SHOP = """
from types import SimpleNamespace
from celery import Celery, current_app, shared_task, signals

shop = Celery("shop", broker="memory://")

from tasks import tryon

@shared_task(name="shop.mail")
def mail():
    pass
"""


def test_the_tasks_of_a_shop_stay_with_the_application_of_the_shop():
    program = (
        SHOP + "print(current_app.main, mail.app.main, tryon.app.main, tryon.AsyncResult('id').app.main)"
    )
    assert output_of(program) == "shop shop tryon tryon"


def test_the_application_of_a_shop_gets_none_of_our_tasks():
    program = SHOP + "print([name for name in shop.tasks if name.startswith('tasks.')])"
    assert output_of(program) == "[]"


def test_a_worker_of_a_shop_does_not_become_our_worker():
    program = SHOP + (
        "signals.celeryd_init.send(\n"
        "    'worker', instance=SimpleNamespace(app=shop), conf=shop.conf, options={'queues': None}\n"
        ")\n"
        "names = ('setup_logging', 'worker_process_init', 'worker_process_shutdown')\n"
        "print([len(getattr(signals, name).send(None)) for name in names])"
    )
    assert output_of(program, TRYON_DATA_DIR="/nonexistent") == "[0, 0, 0]"


def test_a_django_project_of_a_shop_is_not_attached_to_our_application():
    assert output_of(
        "from tasks import tryon; print(tryon.app.main)", DJANGO_SETTINGS_MODULE="shop.settings"
    ) == ("tryon")


def test_threads_of_a_worker_do_not_wait_actively():
    program = "import os, worker; print(os.environ['OPENBLAS_NUM_THREADS'], os.environ['OMP_WAIT_POLICY'])"
    assert output_of(program) == "1 PASSIVE"
    assert output_of(program, OPENBLAS_NUM_THREADS="4", OMP_WAIT_POLICY="ACTIVE") == "4 ACTIVE"
