"""No sandbox: a plain process with limits on its resources, for a machine that one can lose. Never chosen but by name.

Code in it reads, writes and sends whatever the user who started the training may.
"""

import contextlib
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tracer1.errors import DataError
from tracer1.sandbox import SANDBOXES, Limits, ToolCall
from tracer1.sandbox._process import ProcessLink, python
from tracer1.sandbox._root import environment
from tracer1.sandbox._session import PipeSession

log = logging.getLogger(__name__)


@SANDBOXES.register("unsafe")
class Unsafe:
    """Sessions that are plain processes.

    Args:
        limits: Of every session.
    """

    kind = "unsafe"

    def __init__(self, limits: Limits = Limits()) -> None:  # noqa: B008
        self._limits = limits
        log.warning(
            "sandbox=unsafe: model-written code runs as your user, with your files and your network. "
            "Use it only on a machine that you can lose; `apt-get install bubblewrap` gives you sandbox=bubblewrap."
        )

    def session(
        self, folder: Path, tools: Mapping[str, Sequence[str]] | None = None, call: ToolCall | None = None
    ) -> PipeSession:
        """See `Sandbox.session`."""
        if not Path(folder).is_dir():
            raise DataError(f"{folder} is no folder; a session needs one to work in.")
        return PipeSession(lambda: _connect(Path(folder)), Path(folder), self._limits, tools, call)

    def close(self) -> None:
        """Nothing is shared by the sessions."""


def _connect(folder: Path) -> ProcessLink:
    inside = {**environment(), "HOME": str(folder), "TMPDIR": str(folder), "MPLCONFIGDIR": str(folder / ".matplotlib")}
    link = ProcessLink(python(sys.executable), folder, inside, _end)
    link.pid = link.process.pid
    return link


def _end(process: subprocess.Popen) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
