"""Sessions as docker containers without a network, on a machine that has a daemon (and, better, gVisor's `runsc`). Slower to start.

It knows nothing of what is installed in the image: code can use what is there.
"""

import logging
import os
import secrets
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tracer1.errors import DataError, MissingDependency
from tracer1.sandbox import SANDBOXES, Limits, ToolCall
from tracer1.sandbox._inside.isolate import TEMPORARY, WORK
from tracer1.sandbox._process import ProcessLink, python
from tracer1.sandbox._root import environment, package_root
from tracer1.sandbox._session import PipeSession

log = logging.getLogger(__name__)

_PACKAGE = "/sandbox/package"
_INTERPRETER_MB = 256  # of a container's memory, beside what code may take
_NOT_STARTED = (125, 126, 127)  # exit codes of docker itself: the daemon, the command, the program


@SANDBOXES.register("docker")
class Docker:
    """Sessions that are containers.

    Args:
        limits: Of every session.
        image: What they run; it needs `python3` (3.11 or later) and whatever libraries the code may import.
        program: docker, or a program with its command line (podman).
    """

    kind = "docker"

    def __init__(self, limits: Limits = Limits(), *, image: str = "python:3.11-slim", program: str = "docker") -> None:  # noqa: B008
        self._limits, self._image = limits, image
        self._program = shutil.which(program) or ""
        if not self._program:
            raise MissingDependency(
                f"{program} is not installed; install it, or bubblewrap: `apt-get install bubblewrap`."
            )
        runtimes = self._ask("info", "--format", "{{json .Runtimes}}")
        self._runtime = ["--runtime", "runsc"] if '"runsc"' in runtimes else []
        log.info(
            "docker image %s, %s", image, "gVisor (runsc)" if self._runtime else "on this machine's kernel (no runsc)"
        )

    def session(
        self, folder: Path, tools: Mapping[str, Sequence[str]] | None = None, call: ToolCall | None = None
    ) -> PipeSession:
        """See `Sandbox.session`."""
        if not Path(folder).is_dir():
            raise DataError(f"{folder} is no folder; a session needs one to work in.")
        return PipeSession(lambda: self._connect(Path(folder).resolve()), Path(folder), self._limits, tools, call)

    def close(self) -> None:
        """Nothing is shared by the sessions."""

    def command(self, name: str, folder: Path) -> list[str]:
        """The command of a session's container."""
        limits = self._limits
        memory = f"{limits.memory_mb + _INTERPRETER_MB}m"
        walls = ["--network", "none", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
        bounds = [
            "--pids-limit",
            str(limits.processes + 1),
            "--memory",
            memory,
            "--memory-swap",
            memory,
            "--ipc",
            "private",
        ]
        seen = ["--volume", f"{folder}:{WORK}", "--volume", f"{package_root() / 'tracer1'}:{_PACKAGE}/tracer1:ro"]
        seen += ["--tmpfs", f"{TEMPORARY}:size={limits.folder_mb}m,mode=1777", "--workdir", WORK]
        settings = {**environment(), "PATH": "/usr/local/bin:/usr/bin:/bin", "MPLCONFIGDIR": TEMPORARY}
        seen += [part for key, value in settings.items() for part in ("--env", f"{key}={value}")]
        who = ["--user", f"{os.getuid()}:{os.getgid()}", "--name", name]
        run = [
            self._program,
            "run",
            "--rm",
            "--interactive",
            "--log-driver",
            "none",
            *self._runtime,
            *walls,
            *bounds,
            *seen,
            *who,
        ]
        return [*run, self._image, *python("python3", _PACKAGE)]

    def _connect(self, folder: Path) -> ProcessLink:
        name = f"tracer1-{secrets.token_hex(8)}"

        def end(process: subprocess.Popen) -> None:
            subprocess.run([self._program, "kill", name], capture_output=True, timeout=30, check=False)
            process.kill()

        return ProcessLink(self.command(name, folder), folder, os.environ, end, _NOT_STARTED)

    def _ask(self, *arguments: str) -> str:
        try:
            asked = subprocess.run([self._program, *arguments], capture_output=True, text=True, timeout=30, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise MissingDependency(f"{self._program} does not answer: {error}.") from error
        if asked.returncode:
            said = asked.stderr.strip().splitlines() or ["no reason given"]
            raise MissingDependency(f"no docker daemon answers: {said[-1]}. Start it, or `apt-get install bubblewrap`.")
        return asked.stdout
