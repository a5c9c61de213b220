"""The sandbox of this machine: a warm interpreter inside Debian's bubblewrap, and for each session a process of it with walls of its own.

It needs no root. It keeps code off the network, the machine's files and other processes, on the same kernel: no wall between tenants.
"""

import logging
import os
import shutil
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from tracer1.errors import DataError, MissingDependency, SandboxFault
from tracer1.sandbox import SANDBOXES, Limits, ToolCall
from tracer1.sandbox._link import Link, Lost
from tracer1.sandbox._session import PipeSession
from tracer1.sandbox._zygote import Zygote

log = logging.getLogger(__name__)

LOAD = ("numpy", "PIL.Image", "PIL.ImageDraw", "PIL.ImageFont", "sympy", "pandas", "matplotlib.pyplot")
_INSTALL = "apt-get install bubblewrap"
_HELP = (
    "Programs may make no user namespaces here; allow it with `sysctl -w user.max_user_namespaces=10000` and, where they exist, "
    "kernel.unprivileged_userns_clone=1 and kernel.apparmor_restrict_unprivileged_userns=0 (a container also needs "
    "--security-opt seccomp=unconfined), or use sandbox=http with the address of a server, or sandbox=unsafe on a machine you can lose."
)


@SANDBOXES.register("bubblewrap")
class Bubblewrap:
    """Sessions that are forked from a warm interpreter.

    Args:
        limits: Of every session.
        load: Modules to import before the first session; those that are not installed are left out.
        sessions: A warm interpreter is replaced after that many, as memory that libraries lose adds up.
    """

    kind = "bubblewrap"

    def __init__(self, limits: Limits = Limits(), *, load: Sequence[str] = LOAD, sessions: int = 5000) -> None:  # noqa: B008
        self._limits, self._load, self._most = limits, tuple(load), sessions
        self._program = shutil.which("bwrap") or ""
        if not self._program:
            raise MissingDependency(f"bubblewrap is not installed: `{_INSTALL}`.")
        self._lock = threading.Lock()
        self._zygote: Zygote | None = None
        self._retired: list[Zygote] = []
        self._closed = False
        self._probe()

    def session(
        self, folder: Path, tools: Mapping[str, Sequence[str]] | None = None, call: ToolCall | None = None
    ) -> PipeSession:
        """See `Sandbox.session`."""
        if not Path(folder).is_dir():
            raise DataError(f"{folder} is no folder; a session needs one to work in.")
        return PipeSession(lambda: self._connect(folder), Path(folder), self._limits, tools, call)

    def close(self) -> None:
        """Ends every session and process."""
        with self._lock:
            self._closed = True
            zygotes, self._zygote, self._retired = [self._zygote, *self._retired], None, []
        for zygote in zygotes:
            if zygote is not None and zygote.owner == os.getpid():
                zygote.stop()

    def _probe(self) -> None:
        """Has an interpreter without libraries run a session, which takes a tenth of a second; the warm one starts when it is needed."""
        try:
            with tempfile.TemporaryDirectory(prefix="tracer1-") as folder:
                zygote = Zygote(self._program, (), _cache())
                try:
                    zygote.wait_ready()
                    session = PipeSession(lambda: zygote.open(Path(folder), 1), Path(folder), self._limits, None, None)
                    ran = session.run("print(6 * 7)")
                finally:
                    zygote.stop()
        except (Lost, SandboxFault) as fault:
            raise MissingDependency(f"bubblewrap does not work here: {fault}. {_HELP}") from fault
        if ran.output != "42\n":
            raise MissingDependency(f"bubblewrap does not work here: {ran.error or ran.output!r}. {_HELP}")

    def _connect(self, folder: Path) -> Link:
        if not Path(folder).is_dir():
            raise DataError(f"{folder} is gone; a session needs its folder until it is closed.")
        return self._warm().open(folder, self._limits.folder_mb)

    def _warm(self) -> Zygote:
        with self._lock:
            if self._closed:
                raise SandboxFault("This sandbox is closed; open another with open_sandbox().")
            self._retired = [zygote for zygote in self._retired if not _ended_when_idle(zygote)]
            zygote = self._zygote
            if zygote is not None and zygote.owner != os.getpid():
                zygote = None  # inherited by a fork: it answers our parent only
            if zygote is not None and zygote.opened >= self._most and not zygote.dead.is_set():
                self._retired.append(zygote)
                zygote = None
            if zygote is None or zygote.dead.is_set():
                zygote = Zygote(self._program, self._load, _cache())
                zygote.wait_ready()
            self._zygote = zygote
            return zygote


def _ended_when_idle(zygote: Zygote) -> bool:
    if zygote.idle():
        zygote.stop()
    return zygote.dead.is_set()


def _cache() -> Path | None:
    """A folder that warm interpreters leave to the next one: matplotlib lists the fonts once. None where no home can be written to."""
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").resolve() / "tracer1" / "sandbox"
        cache.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        return None
    return cache if os.access(cache, os.W_OK) else None
