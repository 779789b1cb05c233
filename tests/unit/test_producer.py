"""A producer stays light: importing the tasks loads nothing that reads pictures."""

import subprocess
import sys

HEAVY = ("torch", "torchvision", "cv2", "mediapipe", "numpy", "scipy", "ultralytics", "boto3", "sqlalchemy")


def test_importing_the_tasks_loads_nothing_heavy():
    program = f"import sys, tasks; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_tryon_is_the_task_and_no_module():
    program = "import tasks, tasks.cli; print(tasks.tryon.__class__.__mro__[1].__name__)"
    environment = {"TRYON_BROKER_URL": "redis://127.0.0.1:1/0"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.strip() == "TryonTask"
