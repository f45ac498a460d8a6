"""A program that runs `nanobatch` and dies at its k-th change of the disk, as a kill or a power failure would have it.

Its first argument is k; the others are those of the command. The output folder is `out`.
"""

from __future__ import annotations

DIED = 99
# Every way in which the program changes the disk, counted together; the k-th call does not return.
DYING = """
import os, pathlib, sys
left = int(sys.argv.pop(1))
root = os.path.abspath("out")

def dying(function, concerns=lambda *arguments: True):
    def wrapped(*arguments, **options):
        global left
        if concerns(*arguments):
            left -= 1
            if left == 0:
                os._exit(99)
        return function(*arguments, **options)
    return wrapped

def ours(fd, *_):
    try:
        return os.readlink(f"/proc/self/fd/{fd}").startswith(root)
    except OSError:
        return False

os.write, os.writev = dying(os.write, ours), dying(os.writev, ours)
os.fsync, os.fdatasync = dying(os.fsync, ours), dying(os.fdatasync, ours)
for name in ("rename", "replace", "unlink", "mkdir", "write_bytes"):
    setattr(pathlib.Path, name, dying(getattr(pathlib.Path, name)))

from nanobatch.cli.app import start
sys.exit(start())
"""
