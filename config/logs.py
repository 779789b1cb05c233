"""Logging: one line per record on standard error, with time, process and logger name."""

import logging
import os

_VERBOSE_LIBRARIES = ("botocore", "boto3", "urllib3", "s3transfer", "alembic.runtime.plugins")


def set_up_logging(level: int = logging.INFO) -> None:
    """Log to standard error and silence verbose libraries. Does nothing when called again."""
    os.environ.setdefault("GLOG_minloglevel", "2")  # MediaPipe: errors only
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow Lite: errors only
    logging.basicConfig(level=level, format="%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s")
    for name in _VERBOSE_LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)
