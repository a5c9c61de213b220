"""Asks OpenAI-compatible servers many things at once, and answers for every one of them in time: a text or a fault.

It balances several endpoints, asks again what failed, waits for a server that is restarted, and gives up at the deadline of a round.
It knows nothing about what a text means: `check` says whether it can be used.
"""

import asyncio
import logging
import random
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from tracer1.chat.cache import ReplyCache
from tracer1.chat.endpoints import Endpoint, Endpoints, Failed, Gone, Patience, Refused, base_urls
from tracer1.chat.request import ChatReply, ChatRequest, Identity, Remembered, identity, sha256, to_data_url, to_wire
from tracer1.chat.wording import shortened
from tracer1.errors import ConfigError
from tracer1.registry import nearest

log = logging.getLogger(__name__)

Check = Callable[[str], str]  # what is wrong with a reply's text; empty when it can be used
_LONGEST_BACKOFF_S = 15.0


class ChatClient:
    """One client for one model on one or more servers. Safe to use from several threads; its event loop has a thread of its own.

    Args:
        endpoints: Base URLs, e.g. `http://10.0.0.5:8000`; all serve the same model.
        model: The model's name; None takes the only one that the server names.
        api_key_env: Name of the environment variable that holds the key; empty for servers that want none.
        cache: Folder of the replies; None keeps none.
        patience: Fields of `Patience`.

    Raises:
        ConfigError: settings that cannot work.
        MissingDependency: `openai` is not installed (when first asked).
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        model: str | None = None,
        *,
        api_key_env: str = "",
        cache: str | Path | None = None,
        **patience: float,
    ) -> None:
        known = [setting.name for setting in fields(Patience)]
        for name in patience:
            if name not in known:
                raise ConfigError(
                    f"The chat client has no setting {name!r}.{nearest(name, known)} Known: {', '.join(known)}."
                )
        base_urls(endpoints)
        self.patience = Patience(**patience)
        self.model = model
        self.cache = ReplyCache(cache) if cache is not None else None
        self._settings = (endpoints, api_key_env, self.patience.patience_s)
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._said: set[str] = set()  # refusals that were logged
        self._flying: dict[str, asyncio.Future[ChatReply]] = {}  # requests under way, by their key

    def ask(self, requests: Sequence[ChatRequest], check: Check | None = None) -> list[ChatReply]:
        """One reply for each request, in order, within `round_s`. A text that `check` objects to is asked for again.

        Raises:
            ConfigError: the server has several models and none was named.
        """
        if not requests:
            return []
        loop = self._started()
        future = asyncio.run_coroutine_threadsafe(self._ask(requests, check), loop)
        try:
            return future.result()
        except BaseException:  # Ctrl-C while waiting: nothing is asked any more
            future.cancel()
            raise

    def close(self) -> None:
        """Ends its thread and connections; a later `ask` opens them again, but not the cache."""
        with self._lock:
            loop, self._loop = self._loop, None
            if loop is not None:
                asyncio.run_coroutine_threadsafe(self._endpoints.close(), loop).result()
                loop.call_soon_threadsafe(loop.stop)
                self._thread.join()
        if self.cache is not None:
            self.cache.close()

    # --- the thread of the loop ------------------------------------------------------------------------------------------

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._endpoints = Endpoints(*self._settings)
                loop = asyncio.new_event_loop()
                self._slots, self._naming = asyncio.Semaphore(self.patience.concurrency), asyncio.Lock()
                self._digest, self._data_url = Remembered(sha256, 4096), Remembered(to_data_url, 32)
                self._asks = 0  # under way
                self._thread = threading.Thread(target=_run, args=(loop,), name="tracer1-chat", daemon=True)
                self._thread.start()
                self._loop = loop
            return self._loop

    async def _ask(self, requests: Sequence[ChatRequest], check: Check | None) -> list[ChatReply]:
        limit = self.patience.round_s
        self._asks += 1
        tasks = [asyncio.ensure_future(self._reply(request, check)) for request in requests]
        try:
            _, late = await asyncio.wait(tasks, timeout=limit)
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            for task in tasks:
                task.cancel()
            self._asks -= 1
            if not self._asks:
                self._digest.forget()
                self._data_url.forget()
        fault = ChatReply(fault=f"no reply within the {limit:g} s that a round may take", seconds=limit)
        return [fault if task.cancelled() else task.result() for task in tasks]

    async def _reply(self, request: ChatRequest, check: Check | None) -> ChatReply:
        """From the cache, from an identical request that is under way, or from a server."""
        begin = time.monotonic()
        try:
            asked = identity(request, await self._named(), self._digest)
        except _NoReply as error:
            return ChatReply(fault=str(error), refused=error.refused, seconds=time.monotonic() - begin)
        while True:
            kept = self.cache.get(asked) if self.cache is not None else None
            if kept is not None and not (check and check(kept[0])):
                return ChatReply(kept[0], truncated=kept[1], cached=True, seconds=time.monotonic() - begin)
            other = self._flying.get(asked.key)
            if other is None:
                return await self._first(asked, request, check, begin)
            await asyncio.wait([other])
            if not other.cancelled():
                return replace(other.result(), cached=not other.result().fault)

    async def _first(self, asked: Identity, request: ChatRequest, check: Check | None, begin: float) -> ChatReply:
        """Asks, while identical requests wait for what this one gets."""
        mine = self._flying[asked.key] = asyncio.get_running_loop().create_future()
        try:
            text, truncated, url = await self._text(asked, request, check)
            reply = ChatReply(text, truncated=truncated, endpoint=url)
            if self.cache is not None:
                self.cache.put(asked, text, truncated)
        except _NoReply as error:
            reply = ChatReply(fault=str(error), refused=error.refused)
        except BaseException:
            mine.cancel()
            raise
        finally:
            del self._flying[asked.key]
        reply = replace(reply, seconds=time.monotonic() - begin)
        mine.set_result(reply)
        return reply

    async def _text(self, asked: Identity, request: ChatRequest, check: Check | None) -> tuple[str, bool, str]:
        """The text, whether it was truncated, and who gave it. Rubbish is asked for again with other noise."""
        rubbish = 0

        async def once(endpoint: Endpoint) -> tuple[str, bool, str]:
            nonlocal rubbish
            body = to_wire(request.again(rubbish), asked.model, self._data_url)
            text, truncated = _read(await endpoint.call("/chat/completions", body, self.patience.timeout_s))
            complaint = check(text) if check is not None else ""
            if complaint:
                rubbish += 1
                raise _Rubbish(f"{complaint}: {shortened(text, 120)!r}")
            return text, truncated, endpoint.url

        return await self._patiently(once, asked.key)

    async def _named(self) -> str:
        """The model's name."""
        if self.model is not None:
            return self.model

        async def once(endpoint: Endpoint) -> str:
            listed = await endpoint.call("/models", None, self.patience.timeout_s)
            try:
                names = [str(model["id"]) for model in listed["data"]]
            except (TypeError, KeyError):
                raise Failed("its list of models cannot be read", connected=True) from None
            if len(names) != 1:
                raise ConfigError(f"{endpoint.url} serves {', '.join(names) or 'no model'}: name one with `model`.")
            return names[0]

        async with self._naming:
            if self.model is None:
                self.model = await self._patiently(once, "models")
        return self.model

    async def _patiently(self, once: Callable[[Endpoint], Coroutine[Any, Any, Any]], key: str) -> Any:
        """What `once` gives, after as many attempts as it takes and is allowed.

        Raises:
            _NoReply: none of them gave anything.
        """
        chance, attempts = random.Random(key), 0
        while True:
            async with self._slots:
                try:
                    endpoint, trial = await self._endpoints.pick()
                except Gone as error:
                    raise _NoReply(str(error)) from None
                try:
                    value = await once(endpoint)
                    endpoint.answered()
                    return value
                except Refused as error:
                    endpoint.answered()
                    raise self._refused(f"{endpoint.url} refused it: {error}") from None
                except Failed as error:
                    failure = error
                    endpoint.answered() if isinstance(error, _Rubbish) else endpoint.failed(str(error))
                finally:
                    self._endpoints.leave(endpoint, trial)
            attempts += not trial or failure.connected  # trying whether a server is back costs no attempt
            if attempts >= self.patience.attempts:
                raise _NoReply(f"{attempts} attempts failed; last: {failure}")
            backoff = min(self.patience.backoff_s * 2 ** max(attempts - 1, 0), _LONGEST_BACKOFF_S)
            await asyncio.sleep(max(backoff * chance.uniform(0.5, 1.0), failure.pause_s))

    def _refused(self, reason: str) -> "_NoReply":
        if reason not in self._said and len(self._said) < 20:
            self._said.add(reason)
            log.warning("%s", reason)
        return _NoReply(reason, refused=True)


class _Rubbish(Failed):
    """The server works, and its text cannot be used."""


class _NoReply(Exception):
    """There will be none; the message says why."""

    def __init__(self, reason: str, refused: bool = False) -> None:
        super().__init__(reason)
        self.refused = refused


def _read(answer: Any) -> tuple[str, bool]:
    """Text of a chat completion and whether it was truncated; raises Failed for another kind of answer."""
    try:
        choice = answer["choices"][0]
        text = choice["message"]["content"]
        if text is None:  # nothing but a tool call or thoughts
            text = ""
        if not isinstance(text, str):
            raise TypeError
        return text, choice.get("finish_reason") == "length"
    except (TypeError, KeyError, IndexError, AttributeError):
        raise Failed(f"not a chat completion: {shortened(repr(answer), 120)}", connected=True) from None


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    loop.run_forever()
    loop.close()
