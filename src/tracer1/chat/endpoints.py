"""Several servers that answer the same: the least busy one is asked, one that fails is set aside for a while. It knows no messages."""

import asyncio
import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any
from urllib.parse import urlsplit

from tracer1.chat.wording import root_of, shortened
from tracer1.errors import ConfigError, MissingDependency

log = logging.getLogger(__name__)

_TOLERATED = 2  # failures in a row before an endpoint is set aside, or a quarter of the requests that wait for it
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 15.0
_CONNECT_S = 10.0
_ASK_AGAIN = frozenset({408, 409, 425, 429})  # 4xx answers that another time may answer otherwise


@dataclass(frozen=True, slots=True)
class Patience:
    """How long and how often is asked.

    Args:
        concurrency: Requests under way at once, over all endpoints.
        timeout_s: The longest that one attempt may take, in seconds.
        attempts: Of one request, rubbish answers included.
        backoff_s: The pause after the first failed attempt, in seconds; it doubles each time, and some of it is left to chance.
        patience_s: How long all endpoints may be away before what is left of a round is given up, in seconds.
        round_s: The longest that one `ask` may take, in seconds.

    Raises:
        ConfigError: a setting that nothing can be asked with.
    """

    concurrency: int = 64
    timeout_s: float = 120.0
    attempts: int = 4
    backoff_s: float = 0.5
    patience_s: float = 120.0
    round_s: float = 1800.0

    def __post_init__(self) -> None:
        for setting in fields(self):
            value = getattr(self, setting.name)
            whole = setting.type is int and not isinstance(value, int)
            least = 0 if setting.name in ("backoff_s", "patience_s") else (1 if setting.type is int else 1e-3)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or whole or not value >= least:
                kind = "a whole number" if setting.type is int else "a number"
                raise ConfigError(f"chat: {setting.name} is {value!r:.60}; it must be {kind} of at least {least:g}.")


class Gone(Exception):
    """No endpoint has answered for too long."""


class Failed(Exception):
    """One attempt failed; another may not.

    Args:
        reason: Of what went wrong.
        connected: The server answered something.
        pause_s: How long it asks to be left alone.
    """

    def __init__(self, reason: str, connected: bool = False, pause_s: float = 0.0) -> None:
        super().__init__(reason)
        self.connected, self.pause_s = connected, pause_s


class Refused(Exception):
    """The server answered, and the answer is no: asking again would not help."""


@dataclass(eq=False)
class Endpoint:
    """One server and how it has been."""

    url: str
    client: Any  # openai.AsyncOpenAI
    busy: int = 0  # requests that wait for it
    failures: int = 0  # since its last answer
    suspect: bool = False  # it has failed too often in a row
    setbacks: int = 0  # times in a row that it was set aside
    failing_since: float = 0.0
    away_until: float = 0.0  # not asked before; afterwards one request tries
    tried: bool = False  # by that one request, right now
    reason: str = ""

    def ready(self, now: float) -> bool:
        """Whether it may be asked: after a failure in earnest only by one request at a time."""
        return not self.suspect or (not self.tried and now >= self.away_until)

    def given_up(self, now: float, patience_s: float) -> bool:
        """Away for longer than `patience_s`, and nobody is trying it or about to."""
        away = self.suspect and not self.tried and now < self.away_until
        return away and now - self.failing_since >= patience_s

    def answered(self) -> None:
        """It works."""
        if self.suspect:
            log.info("%s answers again", self.url)
        self.failures, self.setbacks, self.suspect = 0, 0, False

    def failed(self, reason: str) -> None:
        """Counts a failure; after too many the endpoint is set aside, each time for longer."""
        now = time.monotonic()
        self.reason = reason
        self.failing_since = self.failing_since if self.failures else now
        self.failures += 1
        self.suspect = self.suspect or self.failures > max(_TOLERATED, self.busy // 4)
        if self.suspect and now >= self.away_until:
            pause = min(_FIRST_PAUSE_S * 2 ** min(self.setbacks, 10), _LONGEST_PAUSE_S)
            self.setbacks += 1
            self.away_until = now + pause
            log.warning("%s: %s; set aside for %.2g s", self.url, shortened(reason, 200), pause)

    async def call(self, path: str, body: Any, timeout_s: float) -> Any:
        """What a route answers, JSON as plain values; a body is posted.

        The client's typed methods would look at every character of a body with an image, twice.

        Raises:
            Refused: a 4xx answer.
            Failed: no answer in time, or a broken one.
        """
        import openai

        try:
            async with asyncio.timeout(timeout_s):
                if body is None:
                    return await self.client.get(path, cast_to=object)
                return await self.client.post(path, cast_to=object, body=body)
        except openai.APIStatusError as error:
            raise _of_status(error) from None
        except TimeoutError:
            raise Failed(f"no answer within {timeout_s:g} s") from None
        except openai.APIConnectionError as error:
            raise Failed(root_of(error)) from None
        except (openai.OpenAIError, ValueError, RecursionError) as error:
            raise Failed(f"not JSON ({root_of(error)})", connected=True) from None


def _of_status(error: Any) -> Exception:
    """The failure that an HTTP status means."""
    said = str(error.response.text).strip() or "no reason given"
    if error.status_code >= 500 or error.status_code in _ASK_AGAIN:
        pause = error.response.headers.get("retry-after", "")
        seconds = min(float(pause), 60.0) if pause.isdecimal() else 0.0
        return Failed(f"status {error.status_code}: {shortened(said)}", connected=True, pause_s=seconds)
    return Refused(f"status {error.status_code}: {shortened(said, 500)}")


class Endpoints:
    """Picks who is asked next. Its methods belong to one event loop.

    Args:
        urls: Base URLs; one without a path gets `/v1`.
        api_key_env: Name of the environment variable that holds the key; empty for servers that want none.
        patience_s: See `Patience`.

    Raises:
        ConfigError: no URL, one that is none, or no key in the environment.
        MissingDependency: `openai` is not installed.
    """

    def __init__(self, urls: Sequence[str], api_key_env: str, patience_s: float) -> None:
        try:
            import openai
        except ImportError:
            raise MissingDependency(
                "The chat client needs the package `openai`: pip install 'tracer1[chat]'."
            ) from None
        for library in ("httpx", "httpx2"):  # a line for each of some thousand requests a round says nothing
            if logging.getLogger(library).level == logging.NOTSET:
                logging.getLogger(library).setLevel(logging.WARNING)
        key = os.environ.get(api_key_env) if api_key_env else "none"
        if not key:
            raise ConfigError(
                f"api_key_env names {api_key_env!r}, and the environment has no such variable: export it."
            )
        timeout = openai.Timeout(None, connect=_CONNECT_S)  # the rest is limited by `call`
        self.all = [
            Endpoint(url, openai.AsyncOpenAI(base_url=url, api_key=key, max_retries=0, timeout=timeout))
            for url in base_urls(urls)
        ]
        self._patience_s = patience_s

    async def pick(self) -> tuple[Endpoint, bool]:
        """The least busy endpoint, or one that is due to be tried again, and whether it is; the caller calls `leave` afterwards.

        Raises:
            Gone: none has answered for `patience_s`.
        """
        while True:
            now = time.monotonic()
            ready = [endpoint for endpoint in self.all if endpoint.ready(now)]
            if ready:
                picked = min(ready, key=lambda endpoint: (not endpoint.suspect, endpoint.busy))
                picked.busy += 1
                picked.tried = trial = picked.suspect
                return picked, trial
            if all(endpoint.given_up(now, self._patience_s) for endpoint in self.all):
                last = max(self.all, key=lambda endpoint: endpoint.away_until).reason
                raise Gone(f"no answer for more than {self._patience_s:g} s from {self.names()}; last: {last}")
            await asyncio.sleep(0.02)

    def leave(self, endpoint: Endpoint, trial: bool) -> None:
        """A request does not wait for it any more."""
        endpoint.busy -= 1
        endpoint.tried = endpoint.tried and not trial

    def names(self) -> str:
        """All URLs, for messages."""
        return ", ".join(endpoint.url for endpoint in self.all)

    async def close(self) -> None:
        """Closes the connections."""
        for endpoint in self.all:
            await endpoint.client.close()


def base_urls(urls: Sequence[str]) -> list[str]:
    """The URLs as a client takes them.

    Raises:
        ConfigError: none, or one that is no http(s) URL.
    """
    if isinstance(urls, str) or not isinstance(urls, Sequence) or not urls:
        raise ConfigError(f"chat: endpoints is {urls!r:.60}; it must be a list of URLs, e.g. [http://127.0.0.1:8000].")
    made = []
    for url in urls:
        parts = urlsplit(str(url))
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"chat: {url!r} is no URL of a server; write e.g. http://127.0.0.1:8000.")
        made.append(str(url).rstrip("/") + ("/v1" if parts.path in ("", "/") else ""))
    return made
