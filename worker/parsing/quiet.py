"""Imports ultralytics without its side effects: analytics, files in the home directory, calls of pip."""

import os
from pathlib import Path
from types import ModuleType

from config.settings import settings


def ultralytics(*, verbose: bool = False) -> ModuleType:
    """Return the package, configured to stay offline and silent.

    Its settings file is in the models folder, or in YOLO_CONFIG_DIR where the models folder is read-only. The
    package reads these environment variables while it is imported: other modules must not import it first.
    """
    os.environ["YOLO_OFFLINE"] = "true"
    os.environ["YOLO_AUTOINSTALL"] = "false"
    os.environ["YOLO_VERBOSE"] = str(verbose).lower()
    folder = os.environ.setdefault("YOLO_CONFIG_DIR", str(settings().models_dir / "ultralytics"))
    Path(folder).mkdir(parents=True, exist_ok=True)
    # Without this the package limits the whole process to one thread.
    os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count() or 1))
    import ultralytics as package

    package.settings.update({"sync": False})  # type: ignore[no-untyped-call]
    return package
