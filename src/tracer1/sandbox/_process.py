"""A link to an interpreter that is a program of its own, over its stdin, stdout and stderr. It knows nothing of what the program is."""

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tracer1.sandbox._link import Link, Lost
from tracer1.sandbox._root import package_root

_GONE_S = 10.0


def python(executable: str, package: str | None = None) -> list[str]:
    """The command of an interpreter that finds this package in the folder `package`."""
    root = package or str(package_root())
    main = f"import sys; sys.path.insert(0, {root!r}); from tracer1.sandbox._inside.solo import main; main()"
    return [executable, "-P", "-s", "-c", main]


class ProcessLink(Link):
    """Starts a command and talks to it.

    Args:
        command: The program; it has its own process group.
        folder: Where it starts.
        environment: All of it.
        end: Kills it.
        failed: Exit codes that say that it could not even start.
    """

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        end: Callable[[subprocess.Popen], None],
        failed: Sequence[int] = (),
    ) -> None:
        self._end, self._failed = end, failed
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        try:
            process = subprocess.Popen(command, **pipes, cwd=folder, env=dict(environment), start_new_session=True)
        except OSError as error:
            raise Lost(str(error)) from error
        self.process = process
        ends = [os.dup(pipe.fileno()) for pipe in (process.stdout, process.stdin, process.stderr)]
        for pipe in (process.stdout, process.stdin, process.stderr):
            pipe.close()
        super().__init__(*ends)
        self.marks = True

    def gone(self, seconds: float = 0.0) -> bool:
        try:
            code = self.process.wait(seconds) if seconds else self.process.poll()
        except subprocess.TimeoutExpired:
            return False
        if code is not None:  # as a status of wait(): docker and shells say 128 + signal
            self.status = -code if code < 0 else code - 128 if code > 128 else code << 8
        return code is not None

    @property
    def lost(self) -> bool:
        return not self.gone() or self.process.returncode in self._failed

    def kill(self) -> None:
        self._end(self.process)
        if not self.gone(_GONE_S):
            raise Lost("a killed process did not go")

    def close(self) -> None:
        self._end(self.process)  # also what its first process has left behind
        super().close()
