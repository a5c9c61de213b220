"""JSON over HTTP from a service that a user configured: asked again while it is away or busy, within a time. It knows no service."""

import json
import logging
import os
import threading
import time
from collections.abc import Mapping
from typing import Any

from tracer1.chat.wording import root_of, shortened
from tracer1.errors import ConfigError, ExecutorError, MissingDependency
from tracer1.toolbox.spec import ToolError

log = logging.getLogger(__name__)

_FIRST_PAUSE_S, _LONGEST_PAUSE_S, _CONNECT_S = 0.25, 15.0, 10.0
_AGAIN = frozenset({408, 409, 425, 429})  # of the 4xx, what another time may be answered
_MISTAKES = frozenset(
    {400, 413, 414, 415, 422}
)  # what is asked is wrong: the caller's mistake; other 4xx are the configuration's
_AT_ONCE = 8  # requests under way to one service: it limits the rate anyway
_LARGEST = 64 << 20  # bytes of an answer


class Service:
    """One service.

    Args:
        name: For messages: `executor.backends.search (serper)`.
        timeout_s: The longest that one answer may take.
        patience_s: The longest that a request may take with all its attempts.
        headers: Of every request.
    """

    def __init__(
        self, name: str, timeout_s: float, patience_s: float, headers: Mapping[str, str] | None = None
    ) -> None:
        httpx = import_httpx()
        self.name, self.timeout_s, self.patience_s = name, timeout_s, patience_s
        self._slots = threading.BoundedSemaphore(_AT_ONCE)
        timeout = httpx.Timeout(timeout_s, connect=min(_CONNECT_S, timeout_s))
        self._client = httpx.Client(timeout=timeout, headers=dict(headers or {}), follow_redirects=False)

    def json(self, method: str, url: str, **request: Any) -> Any:
        """The JSON answer; `request` is what `httpx.Client.stream` takes.

        Raises:
            ToolError: It refuses what is asked for.
            ExecutorError: No answer in time, or none that can be read.
        """
        end, pause = time.monotonic() + self.patience_s, _FIRST_PAUSE_S
        while True:
            try:
                with self._slots:
                    return self._once(method, url, min(end, time.monotonic() + self.timeout_s), request)
            except _Failed as error:
                wait = max(pause, error.pause_s)
                if time.monotonic() + wait > end:
                    raise ExecutorError(
                        f"{self.name}: no answer from {url} within {self.patience_s:g} s; last: {error}. See whether it "
                        "is up, and check its settings."
                    ) from error
                log.warning("%s: %s; asking again in %.2g s", self.name, shortened(str(error), 200), wait)
                time.sleep(wait)
                pause = min(2 * pause, _LONGEST_PAUSE_S)

    def _once(self, method: str, url: str, end: float, request: Mapping[str, Any]) -> Any:
        httpx = import_httpx()
        try:
            with self._client.stream(method, url, **request) as answer:
                body = _read(answer, end)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _Failed(root_of(error)) from error
        said = shortened(body[:2000].decode(errors="replace"))
        if answer.status_code in _MISTAKES:
            raise ToolError("failed", f"The service refuses this ({answer.status_code}): {said}")
        if answer.status_code >= 500 or answer.status_code in _AGAIN:
            raise _Failed(f"status {answer.status_code}: {said}", _seconds(answer.headers.get("retry-after", "")))
        if answer.status_code >= 300:
            raise ExecutorError(
                f"{self.name}: {url} answers {answer.status_code}: {said}. Check its address, model and key."
            )
        try:
            return json.loads(body)
        except (ValueError, RecursionError) as error:
            raise _Failed(f"the answer is no JSON: {said}") from error


class _Failed(Exception):
    """One attempt failed; the next may not."""

    def __init__(self, reason: str, pause_s: float = 0.0) -> None:
        super().__init__(reason)
        self.pause_s = pause_s


def import_httpx() -> Any:
    """The library; raises MissingDependency."""
    try:
        import httpx
    except ImportError as error:
        raise MissingDependency("This backend needs httpx: pip install 'tracer1[search]'.") from error
    return httpx


def key_of(variable: str, where: str) -> str:
    """A key from the environment.

    Raises:
        ConfigError: The variable is not set.
    """
    key = os.environ.get(variable, "")
    if not key:
        raise ConfigError(f"{where} needs a key in the environment variable {variable}, which is not set: export it.")
    return key


def _read(answer: Any, end: float) -> bytes:
    """The body; a server that only trickles is given up as well."""
    parts, size = [], 0
    for part in answer.iter_bytes():
        parts.append(part)
        size += len(part)
        if size > _LARGEST:
            raise _Failed(f"the answer has more than {_LARGEST >> 20} MiB")
        if time.monotonic() > end:
            raise _Failed("the answer takes too long")
    return b"".join(parts)


def _seconds(text: str) -> float:
    return float(text) if text.isdecimal() else 0.0
