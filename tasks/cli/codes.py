"""The exit codes of the `tryon` command beside 0 (done) and 1 (a fault of the program)."""

USER_ERROR = 2
"""The call or an input is wrong."""

JOB_FAILED = 3
"""The job ended without a picture."""

UNREACHABLE = 4
"""A part of the system does not answer or is missing."""
