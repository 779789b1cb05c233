"""Logging: one line per record on standard error, with time, process and source."""

import logging
import os


def set_up_logging(level: int = logging.INFO) -> None:
    """Log to standard error; quieten the libraries that talk too much. Does nothing the second time."""
    os.environ.setdefault("GLOG_minloglevel", "2")  # mediapipe
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    logging.basicConfig(level=level, format="%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s")
    for chatty in ("botocore", "boto3", "urllib3", "s3transfer", "alembic.runtime.plugins"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
