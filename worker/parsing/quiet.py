"""Imports ultralytics without its habits: it would send analytics, write to the home directory, call pip."""

import os
from types import ModuleType

from config.settings import settings


def ultralytics(*, verbose: bool = False) -> ModuleType:
    """Return the package, set to stay offline and silent, its settings file in our models folder.

    The package reads all this while it is imported: nothing else may import it first.
    """
    os.environ["YOLO_OFFLINE"] = "true"
    os.environ["YOLO_AUTOINSTALL"] = "false"
    os.environ["YOLO_VERBOSE"] = str(verbose).lower()
    folder = settings().models_dir / "ultralytics"
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["YOLO_CONFIG_DIR"] = str(folder)
    # Otherwise the package sets one thread for everybody in the process.
    os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count() or 1))
    import ultralytics as package

    package.settings.update({"sync": False})
    return package
