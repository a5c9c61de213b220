"""A seccomp filter that refuses what computing never needs: mounts, namespaces, tracing, sockets, set-user-id files. No libseccomp.

It is a list of what is refused (EPERM), not of what is allowed: a second wall behind namespaces and absent capabilities, in front of
one shared kernel. It knows the system-call numbers of x86_64 and aarch64 only (Linux's asm/unistd_64.h and asm-generic/unistd.h).
"""

import ctypes
import os
import platform
import struct
from collections.abc import Iterator

_ARCHES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column below, AUDIT_ARCH_*

# name: numbers on x86_64 and on aarch64; -1 where it does not exist
_REFUSED = {
    "acct": (163, 89), "add_key": (248, 217), "adjtimex": (159, 171), "bpf": (321, 280), "chroot": (161, 51),
    "clock_adjtime": (305, 266), "clock_settime": (227, 112), "create_module": (174, -1), "delete_module": (176, 106),
    "fanotify_init": (300, 262), "finit_module": (313, 273), "fsconfig": (431, 431), "fsmount": (432, 432), "fsopen": (430, 430),
    "fspick": (433, 433), "init_module": (175, 105), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425), "ioperm": (173, -1), "iopl": (172, -1), "kcmp": (312, 272), "kexec_file_load": (320, 294),
    "kexec_load": (246, 104), "keyctl": (250, 219), "lookup_dcookie": (212, 18), "memfd_create": (319, 279),
    "memfd_secret": (447, 447), "migrate_pages": (256, 238), "modify_ldt": (154, -1), "mount": (165, 40),
    "mount_setattr": (442, 442), "move_mount": (429, 429), "move_pages": (279, 239), "mq_open": (240, 180), "msgget": (68, 186),
    "name_to_handle_at": (303, 264), "nfsservctl": (180, 42), "open_by_handle_at": (304, 265), "open_tree": (428, 428),
    "open_tree_attr": (467, 467), "perf_event_open": (298, 241), "personality": (135, 92), "pidfd_getfd": (438, 438),
    "pivot_root": (155, 41), "process_madvise": (440, 440), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "ptrace": (101, 117), "quotactl": (179, 60), "quotactl_fd": (443, 443), "reboot": (169, 142), "request_key": (249, 218),
    "semget": (64, 190), "setdomainname": (171, 162), "sethostname": (170, 161), "setns": (308, 268), "settimeofday": (164, 170),
    "shmget": (29, 194), "socket": (41, 198), "swapoff": (168, 225), "swapon": (167, 224), "sysfs": (139, -1),
    "syslog": (103, 116), "umount2": (166, 39), "unshare": (272, 97), "uselib": (134, -1), "userfaultfd": (323, 282),
    "vhangup": (153, 58),
}  # fmt: skip
_UNKNOWN = {
    "clone3": (435, 435),
    "openat2": (437, 437),
}  # their flags lie in memory, unseen: ENOSYS makes libc use the older call

_NAMESPACES = 0x7E020080  # CLONE_NEW{TIME,NS,CGROUP,UTS,IPC,USER,PID,NET}
_SET_ID = 0o6000  # a program with these bits would run as the folder's owner for whoever finds it outside
_MASKED = (  # numbers, index of the argument, bits that it must not have
    ((56, 220), 0, _NAMESPACES),  # clone
    ((90, -1), 1, _SET_ID),  # chmod
    ((91, 52), 1, _SET_ID),  # fchmod
    ((268, 53), 2, _SET_ID),  # fchmodat
    ((452, 452), 2, _SET_ID),  # fchmodat2
    ((2, -1), 2, _SET_ID),  # open
    ((257, 56), 3, _SET_ID),  # openat
    ((85, -1), 1, _SET_ID),  # creat
    ((133, -1), 1, _SET_ID),  # mknod
    ((259, 33), 2, _SET_ID),  # mknodat
    ((83, -1), 1, _SET_ID),  # mkdir
    ((258, 34), 2, _SET_ID),  # mkdirat
)
_EPERM, _ENOSYS = 1, 38
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # classic BPF, on 32-bit words
_NUMBER_AT, _ARCH_AT, _ARGUMENTS_AT = 0, 4, 16  # offsets in struct seccomp_data
_X32 = 0x40000000


def program(machine: str) -> bytes:
    """The filter as an array of struct sock_filter {u16 code, u8 jump_if_true, u8 jump_if_false, u32 k}."""
    column, arch = _ARCHES[machine]
    return b"".join(struct.pack("=HBBI", *line) for line in _lines(column, arch))


def _lines(column: int, arch: int) -> Iterator[tuple[int, int, int, int]]:
    yield (_LOAD, 0, 0, _ARCH_AT)
    yield (_EQUAL, 1, 0, arch)
    yield (_RETURN, 0, 0, _KILL)  # a 32-bit call on a 64-bit kernel has other numbers
    yield (_LOAD, 0, 0, _NUMBER_AT)
    if column == 0:
        yield (_AT_LEAST, 0, 1, _X32)
        yield (_RETURN, 0, 0, _ERRNO | _EPERM)
    for calls, error in ((_REFUSED, _EPERM), (_UNKNOWN, _ENOSYS)):
        for numbers in calls.values():
            if numbers[column] >= 0:
                yield (_EQUAL, 0, 1, numbers[column])
                yield (_RETURN, 0, 0, _ERRNO | error)
    for numbers, argument, bits in _MASKED:
        if numbers[column] >= 0:
            yield (_EQUAL, 0, 4, numbers[column])
            yield (_LOAD, 0, 0, _ARGUMENTS_AT + 8 * argument)
            yield (_ANY_BIT, 0, 1, bits)
            yield (_RETURN, 0, 0, _ERRNO | _EPERM)
            yield (_LOAD, 0, 0, _NUMBER_AT)
    yield (_RETURN, 0, 0, _ALLOW)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("lines", ctypes.c_char_p))


def prepare() -> _Program:
    """The filter for this machine, ready for `install`; made once, before processes fork."""
    code = program(platform.machine())
    return _Program(len(code) // 8, code)


def install(filter_: _Program) -> None:
    """Puts the filter on this process and all that it will start; it cannot be taken off again. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(
        22, 2, ctypes.byref(filter_), 0, 0
    ):  # PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP
        raise OSError(ctypes.get_errno(), f"seccomp: {os.strerror(ctypes.get_errno())}")
