"""Replaces itself by a command that ends with its parent and optionally runs as another user.

It is run by path (`python -I -S launch.py …`) to start in milliseconds, so it imports only the standard
library.
"""

import ctypes
import os
import signal
import sys

# From Linux's <sys/prctl.h> and <linux/capability.h>.
PR_SET_PDEATHSIG = 1
PR_SET_KEEPCAPS = 8
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAP_DAC_OVERRIDE = 1
CAP_DAC_READ_SEARCH = 2
_CAPABILITY_VERSION_3 = 0x20080522


def die_with_parent(parent: int, death_signal: int) -> None:
    """Let the kernel send `death_signal` to this process when its parent ends, for any reason.

    The kernel watches the *thread* of the parent that forked, and drops the setting when the process changes
    its user: start children from the main thread, and call this function after the change. Other systems
    than Linux have no such setting: the children of a killed parent keep running until the next start stops
    them.
    """
    if not sys.platform.startswith("linux"):
        return
    _prctl(PR_SET_PDEATHSIG, int(death_signal))
    if os.getppid() != parent:  # The parent ended before the setting was made.
        os.kill(os.getpid(), signal.SIGKILL)


def permitted_capabilities() -> int:
    """Return the permitted capabilities of this process as a bit set."""
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("CapPrm:"):
                return int(line.split()[1], 16)
    return 0


def become(uid: int, gid: int, keep_search: bool) -> None:
    """Change permanently to an ordinary user.

    With `keep_search` the process keeps one capability, to traverse folders that are closed to that user (a
    checkout or a data folder below /root): CAP_DAC_READ_SEARCH if root has it, else CAP_DAC_OVERRIDE.

    Raises PermissionError if root has neither.
    """
    capability = None
    if keep_search:
        permitted = permitted_capabilities()
        capability = next(
            (
                candidate
                for candidate in (CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE)
                if permitted >> candidate & 1
            ),
            None,
        )
        if capability is None:
            raise PermissionError("root lacks both CAP_DAC_READ_SEARCH and CAP_DAC_OVERRIDE")
        _prctl(PR_SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    if capability is not None:
        _keep_only(capability)


def _keep_only(capability: int) -> None:
    bit = 1 << capability
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    # Effective, permitted and inheritable sets of capabilities 0-31, then of 32-63.
    data = (ctypes.c_uint32 * 6)(bit, bit, bit, 0, 0, 0)
    if ctypes.CDLL(None, use_errno=True).capset(header, data) != 0:
        raise OSError(ctypes.get_errno(), "capset")
    _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability)


def _prctl(option: int, *arguments: int) -> None:
    words = [ctypes.c_ulong(value) for value in (*arguments, 0, 0, 0, 0)[:4]]
    if ctypes.CDLL(None, use_errno=True).prctl(option, *words) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}")


def main() -> None:
    """Read the arguments `parent signal uid:gid:search|- command…`, and become the command."""
    parent, death_signal, user, *command = sys.argv[1:]
    os.umask(0o077)
    if user != "-":
        uid, gid, keep_search = (int(part) for part in user.split(":"))
        become(uid, gid, bool(keep_search))
    die_with_parent(int(parent), int(death_signal))
    try:
        os.execvp(command[0], command)  # noqa: S606 - no shell; the caller chooses the command
    except OSError as error:
        sys.exit(f"{command[0]}: {error.strerror}")


if __name__ == "__main__":
    main()
