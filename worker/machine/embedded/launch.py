"""Turns itself into a command that dies with its parent and, if asked, runs as another user.

Run by path (`python -I -S launch.py …`), so that it starts in milliseconds: standard library only.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
PR_SET_KEEPCAPS = 8
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAP_DAC_OVERRIDE = 1
CAP_DAC_READ_SEARCH = 2
_CAPABILITY_VERSION_3 = 0x20080522


def die_with_parent(parent: int, death_signal: int) -> None:
    """Have the kernel send `death_signal` to this process when its parent ends, however that ends.

    The kernel watches the parent's *thread* that forked, and forgets the wish when the process changes
    its user: start children from the main thread and call this after the change. Elsewhere than on Linux
    there is no such thing: a parent that is killed leaves its children, and the next start ends them.
    """
    if not sys.platform.startswith("linux"):
        return
    _prctl(PR_SET_PDEATHSIG, int(death_signal))
    if os.getppid() != parent:  # it ended before the wish was made
        os.kill(os.getpid(), signal.SIGKILL)


def permitted_capabilities() -> int:
    """Return the process's permitted capabilities as a bit set."""
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("CapPrm:"):
                return int(line.split()[1], 16)
    return 0


def become(uid: int, gid: int, keep_search: bool) -> None:
    """Change to an ordinary user for good.

    With `keep_search` the process keeps one capability, to pass through folders closed to that user
    (a checkout or a data folder below /root): reading where root may give it, else overriding.
    """
    capability = None
    if keep_search:
        permitted = permitted_capabilities()
        capability = next(
            (c for c in (CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE) if permitted >> c & 1),
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
    # effective, permitted, inheritable of capabilities 0-31, then of 32-63
    data = (ctypes.c_uint32 * 6)(bit, bit, bit, 0, 0, 0)
    if ctypes.CDLL(None, use_errno=True).capset(header, data) != 0:
        raise OSError(ctypes.get_errno(), "capset")
    _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability)


def _prctl(option: int, *arguments: int) -> None:
    words = [ctypes.c_ulong(value) for value in (*arguments, 0, 0, 0, 0)[:4]]
    if ctypes.CDLL(None, use_errno=True).prctl(option, *words) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}")


def main() -> None:
    """Read `parent signal uid:gid:search|- command…`, and become the command."""
    parent, death_signal, user, *command = sys.argv[1:]
    os.umask(0o077)
    if user != "-":
        uid, gid, keep_search = (int(part) for part in user.split(":"))
        become(uid, gid, bool(keep_search))
    die_with_parent(int(parent), int(death_signal))
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.exit(f"{command[0]}: {error.strerror}")


if __name__ == "__main__":
    main()
