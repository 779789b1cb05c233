"""The exit codes of the `tryon` command besides 0 (success) and 1 (a bug in the program)."""

USER_ERROR = 2
"""An argument or an input is not valid."""

JOB_FAILED = 3
"""The job failed or was canceled: there is no picture."""

UNREACHABLE = 4
"""A part of the system is missing or does not answer."""
