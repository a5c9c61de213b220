"""Runs a command as a user without any privileges, though Python may lie in a folder of root's: `python as_nobody.py UID COMMAND ...`.

In mounts of its own, folders that the user may not enter are covered by ones that hold nothing but the way to Python and this project.
"""

import ctypes
import os
import sys
from pathlib import Path

_NEW_MOUNTS, _BIND, _PRIVATE = 0x00020000, 4096 | 16384, 16384 | (1 << 18)


def main() -> None:
    uid, command = int(sys.argv[1]), sys.argv[2:]
    libc = ctypes.CDLL(None, use_errno=True)
    needed = {os.path.realpath(path) for path in (sys.base_prefix, sys.prefix, Path(__file__).parents[2])}
    assert libc.unshare(_NEW_MOUNTS) == 0
    assert libc.mount(None, b"/", None, _PRIVATE, None) == 0
    opened = {path: os.open(path, os.O_PATH) for path in needed}
    for path in sorted(needed):
        for above in reversed(Path(path).parents):
            if not above.stat().st_mode & 1:
                assert libc.mount(b"tmpfs", str(above).encode(), b"tmpfs", 0, b"mode=755") == 0
                break
        if not os.path.exists(path):
            os.makedirs(path)
            assert libc.mount(f"/proc/self/fd/{opened[path]}".encode(), path.encode(), None, _BIND, None) == 0
    for fd in opened.values():
        os.close(fd)
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
