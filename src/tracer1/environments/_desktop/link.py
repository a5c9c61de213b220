"""The near end of a `host.py`: starts it, asks it with time limits, kills it with all that is its. It knows nothing of OSWorld."""

import contextlib
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

from tracer1 import errors
from tracer1.environments._desktop.processes import end_all
from tracer1.errors import EnvironmentFault

CLOSED_S = 15.0


class Link:
    """One host, one desktop.

    Args:
        size: Of its screen in pixels.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self._token = secrets.token_hex(8)
        self._folder = Path(tempfile.mkdtemp(prefix="tracer1-desktop-"))
        self._folder.chmod(0o711)  # the desktop's user has its HOME in it
        self._line, theirs = Pipe()
        paths = [str(Path(__file__).parents[3]), *filter(None, [os.environ.get("PYTHONPATH")])]
        words = [theirs.fileno(), self._folder, self._token, *size]
        (self._folder / "host.txt").touch(mode=0o600)
        with theirs, open(self._folder / "host.txt", "wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", f"{__package__}.host", *map(str, words)], pass_fds=[theirs.fileno()],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)}, cwd=self._folder, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def ask(self, seconds: float, method: str, *arguments: Any) -> Any:
        """What the host's method returns. After an error that is not the host's own answer the link is closed.

        Raises:
            EnvironmentFault: no answer in time, or the host is gone.
            Tracer1Error: what the method raised.
        """
        try:
            self._line.send((method, arguments))
            if not self._line.poll(seconds):
                raise EnvironmentFault(f"The desktop's {method} was not done within {seconds:g} s; it has been ended.")
            kind, value = self._line.recv()
        except (EOFError, OSError) as error:
            last = self._last_words()
            self.close()
            raise EnvironmentFault(f"The desktop's process is gone; its last words: {last}") from error
        except BaseException:  # also Ctrl-C: the answer would come to the next question
            self.close()
            raise
        if kind != "ok":
            raise getattr(errors, kind)(value)
        return value

    def close(self) -> None:
        """Ends the host, every process of the desktop, and its files. Again: nothing."""
        self._line.close()  # the host ends its desktop when nobody is there any more
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(CLOSED_S if not isinstance(sys.exc_info()[1], EnvironmentFault) else 0.5)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        end_all(self._token)
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return not self._line.closed and self._process.poll() is None

    def _last_words(self) -> str:
        with contextlib.suppress(OSError):
            lines = (self._folder / "host.txt").read_text(errors="replace").strip().splitlines()
            return lines[-1] if lines else "none"
        return "none"
