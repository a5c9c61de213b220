"""The private root of a sandbox: which files of the machine are seen inside, as arguments of bubblewrap. All of them are read-only.

It knows nothing of what will run there.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import tracer1
from tracer1.sandbox._inside.isolate import OUTSIDE, TEMPORARY, WORK

# What libraries load, what draws letters, what reads them; no shell, no /etc/passwd, no other program.
_SYSTEM = (
    "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libx32", "/usr/local/lib", "/usr/share/fonts", "/usr/local/share/fonts",
    "/usr/share/fontconfig", "/usr/share/xml/fontconfig", "/usr/share/zoneinfo", "/usr/share/mime", "/usr/share/tesseract-ocr",
    "/usr/share/tessdata", "/usr/bin/tesseract", "/etc/fonts", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d",
    "/etc/alternatives", "/etc/localtime", "/etc/mime.types", "/var/cache/fontconfig",
)  # fmt: skip
_TOP = ("/lib", "/lib32", "/lib64", "/libx32")  # links into /usr, or folders of their own
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_SYSTEM_PREFIXES = ("/usr", "/usr/local")  # a Python there is not a folder of its own

CACHE = f"{OUTSIDE}/cache"  # of the warm interpreter, from one start to the next: matplotlib's list of fonts


def package_root() -> Path:
    """The folder that holds the package."""
    return Path(tracer1.__file__).resolve().parents[1]


def _python() -> Iterator[str]:
    """The interpreter, its standard library, what is installed in it, and this package."""
    executable = os.path.realpath(sys.executable)
    for prefix in dict.fromkeys((sys.base_prefix, sys.base_exec_prefix, sys.prefix, sys.exec_prefix)):
        if prefix not in _SYSTEM_PREFIXES:
            yield prefix
    if not any(executable.startswith(prefix + "/") for prefix in (sys.base_prefix, sys.prefix)) or (
        sys.base_prefix in _SYSTEM_PREFIXES
    ):
        yield executable
    yield str(package_root() / "tracer1")


def arguments(cache: Path | None) -> list[str]:
    """bubblewrap's arguments for a warm interpreter.

    Args:
        cache: A folder for it to write to, if there is one; sessions do not see it.
    """
    # The warm interpreter makes the namespaces of its sessions, and may do so only within the user namespace that bubblewrap makes.
    made = [f"--unshare-{kind}" for kind in ("user", "pid", "net", "ipc", "uts")]
    made += ["--die-with-parent", "--new-session", "--uid", "1000", "--gid", "1000", "--hostname", "sandbox"]
    made += ["--cap-drop", "ALL", "--cap-add", "CAP_SYS_ADMIN"]
    for path in _TOP:
        if os.path.islink(path):
            made += ["--symlink", os.readlink(path), path]
        elif os.path.isdir(path):
            made += ["--ro-bind", path, path]
    for path in dict.fromkeys((*filter(os.path.exists, _SYSTEM), *_python())):
        made += ["--ro-bind", path, path]
    made += ["--tmpfs", "/dev", "--symlink", TEMPORARY, "/dev/shm", "--dir", WORK, "--dir", TEMPORARY]
    for path in filter(os.path.exists, _DEVICES):
        made += ["--dev-bind", path, path]
    if not any(path.startswith("/tmp/") for path in _python()):
        made += ["--symlink", TEMPORARY, "/tmp"]
    made += ["--tmpfs", OUTSIDE, "--bind", "/", f"{OUTSIDE}/host"]
    made += ["--bind", str(cache), CACHE] if cache else ["--dir", CACHE]
    return [*made, "--remount-ro", "/dev", "--remount-ro", "/"]


def environment() -> dict[str, str]:
    """The whole environment inside: nothing of the host's."""
    one = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB", "RAYON")}
    return {
        **one,
        "PATH": "/usr/bin",
        "HOME": TEMPORARY,
        "TMPDIR": TEMPORARY,
        "USER": "sandbox",
        "LANG": "C.UTF-8",
        "MPLBACKEND": "Agg",
        "MPLCONFIGDIR": CACHE,
        "OPENCV_FOR_THREADS_NUM": "1",
        "MALLOC_ARENA_MAX": "2",  # each would take 64 MiB of the address space that is allowed
        "OMP_THREAD_LIMIT": "1",  # tesseract: four threads for a small image are slower than one
        "PYTHONHASHSEED": "0",  # the same block prints a set in the same order everywhere
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUTF8": "1",
    }
