"""HTTP calls that outlive a server's restart and still end: bounded waits, exponential backoff. It knows nothing of what is asked."""

import logging
import threading
import time
from typing import Any

import requests

from tracer1.errors import EngineError

log = logging.getLogger(__name__)

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 15.0
_CONNECT_S = 10.0


class Refused(EngineError):
    """The server answered, and the answer is no: asking again would not help."""


class PatientServer:
    """JSON over HTTP to one server.

    Args:
        url: e.g. `http://10.0.0.5:8000`.
        answer_s: The longest that a single answer may take.
        patience_s: How long a server may be away, or answer with 5xx, before it counts as gone for good.
    """

    def __init__(self, url: str, answer_s: float, patience_s: float) -> None:
        self.url, self.answer_s, self.patience_s = url.rstrip("/"), answer_s, patience_s
        self._sessions = threading.local()  # a session belongs to one thread

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON answer (None for an empty one).

        Raises:
            Refused: a 4xx answer.
            EngineError: no usable answer within `patience_s` of the first failure.
        """
        failed_at, pause = None, _FIRST_PAUSE_S
        while True:
            try:
                return self._once(method, path, body)
            except (requests.RequestException, _ServerFault) as error:
                reason = str(error) or type(error).__name__
            failed_at = failed_at or time.monotonic()
            if time.monotonic() + pause - failed_at > self.patience_s:
                raise EngineError(
                    f"The vLLM server at {self.url} did not answer {path} for {self.patience_s:g} s; last: {reason:.300}. Start it "
                    "again and go on with ckpt_path=last, or check engine.url; engine.patience_s is how long it is waited for."
                )
            log.warning("%s%s: %.200s; asking again in %.2g s", self.url, path, reason, pause)
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    def once(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON answer, or None where there is none at the first try."""
        try:
            return self._once(method, path, body)
        except (requests.RequestException, _ServerFault, Refused):
            return None

    def _once(self, method: str, path: str, body: Any) -> Any:
        if not hasattr(self._sessions, "session"):
            self._sessions.session = requests.Session()
        session = self._sessions.session
        answer = session.request(method, self.url + path, json=body, timeout=(_CONNECT_S, self.answer_s))
        if answer.status_code >= 500 or answer.status_code in (408, 429):
            raise _ServerFault(f"status {answer.status_code}: {answer.text.strip()}")
        if answer.status_code >= 400:
            raise Refused(
                f"The vLLM server at {self.url} refused {path} ({answer.status_code}): {answer.text.strip():.500}"
            )
        return answer.json() if answer.content else None


class _ServerFault(Exception):
    """The server answered that it cannot answer."""
