"""The walls of one session: its own processes, mounts and user, no capabilities, seccomp. Called in the warm interpreter's children.

It knows nothing of what will run behind them.
"""

import ctypes
import os

from tracer1.sandbox._inside import seccomp

OUTSIDE = (
    "/.outside"  # of the warm interpreter's root: what sessions must not see; the host's files lie in OUTSIDE/host
)
WORK, TEMPORARY = "/sandbox/work", "/sandbox/tmp"  # the session's folder, and an empty one of its own

_NEW_MOUNTS, _NEW_USER, _NEW_PID = 0x00020000, 0x10000000, 0x20000000
_NO_SUID, _NO_DEVICES, _REMOUNT, _BIND, _RECURSIVE = 2, 4, 32, 4096, 16384
_DETACH = 2
_CAPABILITY_VERSION_3 = 0x20080522
_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def next_fork_starts_a_process_namespace(own: int) -> None:
    """The next child of this process will be process 1 of a namespace: when it ends, the kernel ends all that came of it.

    Args:
        own: A pidfd of this process: a second namespace can only be asked for after going back to one's own.
    """
    _check(_libc.setns(own, _NEW_PID), "setns")
    _check(_libc.unshare(_NEW_PID), "unshare(CLONE_NEWPID)")


def enter(folder: str, temporary_mb: int, filter_: seccomp._Program) -> None:
    """Leaves this process with `folder` as its working folder and nothing that it could do harm with.

    Args:
        folder: The real path on the host.
        temporary_mb: Size of TEMPORARY, in MiB.
        filter_: From `seccomp.prepare`.
    """
    os.setsid()  # a signal to "my group" must not reach the warm interpreter
    _check(_libc.unshare(_NEW_MOUNTS), "unshare(CLONE_NEWNS)")
    source, work = os.fsencode(OUTSIDE + "/host" + folder), WORK.encode()
    _check(_libc.mount(source, work, None, _BIND | _RECURSIVE, None), f"mount {folder}")
    kept = os.statvfs(WORK).f_flag & (os.ST_RDONLY | os.ST_NOEXEC | os.ST_NOATIME | os.ST_NODIRATIME | os.ST_RELATIME)
    _check(
        _libc.mount(None, work, None, _BIND | _REMOUNT | _NO_SUID | _NO_DEVICES | _mount_flags(kept), None), "remount"
    )
    options = f"size={temporary_mb}m,nr_inodes=10000,mode=700".encode()
    _check(_libc.mount(b"tmpfs", TEMPORARY.encode(), b"tmpfs", _NO_SUID | _NO_DEVICES, options), "mount tmpfs")
    _check(_libc.umount2(OUTSIDE.encode(), _DETACH), "umount")
    os.chdir(WORK)
    # A user namespace that owns none of the mounts: from here on not even a capability would help. Its processes are counted by themselves.
    _check(_libc.unshare(_NEW_USER), "unshare(CLONE_NEWUSER)")
    _drop_capabilities()
    seccomp.install(filter_)


def _mount_flags(statvfs_flags: int) -> int:
    """ST_* as MS_*: the same numbers but for ST_RELATIME. Flags of the host's mount cannot be taken off by us, so they are kept."""
    return statvfs_flags & ~os.ST_RELATIME | (1 << 21 if statvfs_flags & os.ST_RELATIME else 0)


def _drop_capabilities() -> None:
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    _check(_libc.prctl(47, 4, 0, 0, 0), "PR_CAP_AMBIENT_CLEAR_ALL")
    for capability in range(64):
        if _libc.prctl(24, capability, 0, 0, 0):  # PR_CAPBSET_DROP; EINVAL after the last
            break
    _check(_libc.capset(ctypes.byref(header), ctypes.byref((ctypes.c_uint32 * 6)())), "capset")
