"""The one Chromium that all environments of a process share, on an asyncio loop in a thread of its own. It knows no episode.

Callers are ordinary threads: each hands over a coroutine and waits for its result, while the others' work goes on.
"""

import asyncio
import logging
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from tracer1.environments._miniwob.browser import Browser

log = logging.getLogger(__name__)
Result = TypeVar("Result")


class Host:
    """`join`, `run` as often as you like from any thread, `leave`. The browser lives from its first page to the last `leave`.

    Attributes:
        browser: What coroutines take their pages from; it belongs to the loop's thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._guests = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self.browser: Browser | None = None

    def join(self) -> None:
        """Counts one more user; the first starts the thread, and no process yet."""
        with self._lock:
            self._guests += 1
            if self._guests > 1:
                return
            self._loop, self.browser = asyncio.new_event_loop(), Browser()
            self._loop.set_exception_handler(_note)
            self._thread = threading.Thread(target=self._loop.run_forever, name="miniwob-browser", daemon=True)
            self._thread.start()

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Runs a coroutine in the loop's thread and returns its result; a Ctrl-C here cancels it there."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def leave(self) -> None:
        """Counts one user less; the last stops the browser and the thread."""
        with self._lock:
            self._guests -= 1
            if self._guests:
                return
            self.run(self.browser.close())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()


def _note(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What nobody waits for any more: a driver that was killed leaves such errors behind."""
    log.debug("%s %s", context["message"], context.get("exception", ""))


SHARED = Host()
