"""HTTP calls that outlive a server's restart and still end: bounded waits, exponential backoff. It knows nothing of what is asked."""

import logging
import socket
import threading
import time
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from tracer1.errors import EngineError

log = logging.getLogger(__name__)

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 15.0
_CONNECT_S, _GLANCE_S = 10.0, 5.0
# A machine that loses its power says no goodbye: the kernel asks after 15 s of silence, and gives up after 30 s
_KEEP_ALIVE = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))
        if hasattr(socket, name)  # Linux
    ),
]


class Refused(EngineError):
    """The server answered, and the answer is no: asking again would not help."""


class Gone(EngineError):
    """The server does not answer."""


class PatientServer:
    """JSON over HTTP to one server.

    Args:
        url: e.g. `http://10.0.0.5:8000`.
        answer_s: The longest that a single answer may take.
        patience_s: How long a server may be away, or answer with 5xx, before it counts as gone.
    """

    def __init__(self, url: str, answer_s: float, patience_s: float) -> None:
        self.url, self.answer_s, self.patience_s = url.rstrip("/"), answer_s, patience_s
        self._sessions = threading.local()  # a session belongs to one thread

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON answer (None for an empty one).

        Raises:
            Refused: a 4xx answer.
            Gone: no usable answer within `patience_s` of the first failure.
        """
        failed_at, pause = None, _FIRST_PAUSE_S
        while True:
            try:
                return self._once(method, path, body)
            except (requests.RequestException, _ServerFault) as error:
                reason = str(error) or type(error).__name__
            failed_at = failed_at or time.monotonic()
            if time.monotonic() + pause - failed_at > self.patience_s:
                raise Gone(
                    f"The vLLM server at {self.url} did not answer {path} for {self.patience_s:g} s; last: {reason:.300}."
                )
            log.warning("%s%s: %.200s; asking again in %.2g s", self.url, path, reason, pause)
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    def at_once(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON answer to a call that must not be repeated.

        Raises:
            Refused: a 4xx answer.
            Gone: no usable answer.
        """
        try:
            return self._once(method, path, body)
        except (requests.RequestException, _ServerFault) as error:
            reason = str(error) or type(error).__name__
            raise Gone(f"The vLLM server at {self.url} did not answer {path}: {reason:.300}.") from error

    def once(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON answer, or None where there is none at the first try."""
        try:
            return self._once(method, path, body)
        except (requests.RequestException, _ServerFault, Refused):
            return None

    def answers(self) -> bool:
        """Whether it is there, at a glance."""
        try:
            self._once("GET", "/weight_info", None, _GLANCE_S)
        except Refused:  # it is there, and lacks the route: whoever asks it next is told
            return True
        except (requests.RequestException, _ServerFault):
            return False
        return True

    def _once(self, method: str, path: str, body: Any, answer_s: float | None = None) -> Any:
        if not hasattr(self._sessions, "session"):
            self._sessions.session = _session()
        longest = (min(_CONNECT_S, answer_s or _CONNECT_S), answer_s or self.answer_s)
        answer = self._sessions.session.request(method, self.url + path, json=body, timeout=longest)
        if answer.status_code >= 500 or answer.status_code in (408, 429):
            raise _ServerFault(f"status {answer.status_code}: {answer.text.strip()}")
        if answer.status_code >= 400:
            raise Refused(
                f"The vLLM server at {self.url} refused {path} ({answer.status_code}): {answer.text.strip():.500}"
            )
        return answer.json() if answer.content else None


class _ServerFault(Exception):
    """The server answered that it cannot answer."""


class _KeepAlive(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **settings: Any) -> None:
        super().init_poolmanager(*args, socket_options=_KEEP_ALIVE, **settings)


def _session() -> requests.Session:
    session = requests.Session()
    session.mount("http://", _KeepAlive())
    session.mount("https://", _KeepAlive())
    return session
