"""Imports ultralytics without its side effects: analytics, files in the home directory, calls of pip."""

import os
from types import ModuleType

from config.settings import settings


def ultralytics(*, verbose: bool = False) -> ModuleType:
    """Return the package, configured to stay offline and silent, with its settings file in the models folder.

    The package reads these environment variables while it is imported: other modules must not import it
    first.
    """
    os.environ["YOLO_OFFLINE"] = "true"
    os.environ["YOLO_AUTOINSTALL"] = "false"
    os.environ["YOLO_VERBOSE"] = str(verbose).lower()
    folder = settings().models_dir / "ultralytics"
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["YOLO_CONFIG_DIR"] = str(folder)
    # Without this the package limits the whole process to one thread.
    os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count() or 1))
    import ultralytics as package

    package.settings.update({"sync": False})  # type: ignore[no-untyped-call]
    return package
