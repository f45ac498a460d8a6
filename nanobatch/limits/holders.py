"""Names for processes in a ledger, so that a neighbour can see whether one of them is dead.

Only processes that see each other can tell: same machine since the same start, same process namespace. All others wait
until a silent one counts as dead.
"""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_NAMESPACE = Path("/proc/self/ns/pid")


def holder_name(run: str) -> str:
    """Return the name of this process: `place/pid/run`."""
    return f"{_place()}/{os.getpid()}/{run}"


def is_gone(holder: str) -> bool:
    """Tell whether a process is certainly dead; False where nobody here can know."""
    place, _, rest = holder.partition("/")
    pid = rest.partition("/")[0]
    if place != _place() or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    return False


def _place() -> str:
    """Return a short digest of where this process can see others."""
    parts = [platform.node()]
    try:
        parts += [_BOOT.read_text().strip(), os.readlink(_NAMESPACE)]  # noqa: PTH115 - it is no path that exists
    except OSError:
        parts.append("no proc")  # a system without it: its name must do
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=6).hexdigest()
