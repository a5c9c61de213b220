"""A small chat server that misbehaves on demand: it speaks the OpenAI protocol's two routes and spoils a share of its answers.

For tests and measurements of whoever asks such servers. It runs no model: `answer` makes the text from the request's body.

Ways to misbehave: `refused` (the connection is reset), `slow` (answers after `slow_s`), `truncated` (half a body), `non-json` (a page
of HTML), `rubbish` (a text of no use), `empty` (no text), or a status such as `503`.
"""

import asyncio
import json
import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

Answer = Callable[[Mapping[str, Any]], str]
FAULTS = ("refused", "slow", "truncated", "non-json")


class ChatServer:
    """Answers in a thread of its own between `start` and `stop`.

    Args:
        answer: Body of a request -> text.
        model: The name it serves.
        shares: Way to misbehave -> share of the answers it spoils, drawn with `seed`.
        slow_s: How long a slow answer takes, in seconds.
        work_s: How long any answer takes, in seconds.

    Attributes:
        trouble: Ways to misbehave in the next answers, one each, before `shares` are drawn; an empty text is a good answer.
        asked: Bodies of the good requests, if `keep`; `counts` has the number of answers of each kind.
    """

    def __init__(
        self,
        answer: Answer,
        model: str = "toy",
        *,
        shares: Mapping[str, float] | None = None,
        seed: int = 0,
        slow_s: float = 5.0,
        work_s: float = 0.0,
    ) -> None:
        self.answer, self.models, self.shares = answer, [model], dict(shares or {})
        self.slow_s, self.work_s, self.keep = slow_s, work_s, True
        self.trouble: list[str] = []
        self.asked: list[dict[str, Any]] = []
        self.counts: Counter[str] = Counter()
        self.busiest = self._busy = 0  # most requests at once, and now
        self._chance = random.Random(seed)

    def start(self, port: int = 0) -> str:
        """Listens on this machine; returns the URL."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        opened = asyncio.start_server(self._serve, "127.0.0.1", port, backlog=1024, limit=2**20)
        self._server = asyncio.run_coroutine_threadsafe(opened, self._loop).result()
        self.port = self._server.sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        """Listens no more and drops whoever is connected: the next connection is refused."""

        async def end() -> None:
            self._server.close()
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode("latin-1").split("\r\n")
                names = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
                body = await reader.readexactly(int(names.get("content-length", 0)))
                if not await self._one(lines[0].split()[1], body, writer):
                    return
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the other side went away, or `stop`
        finally:
            writer.close()

    async def _one(self, path: str, body: bytes, writer: asyncio.StreamWriter) -> bool:
        """Answers one request; False where the connection ends with it."""
        if path.endswith("/health"):
            return await self._write(writer, 200, b"")
        if path.endswith("/models"):
            return await self._write(writer, 200, _json({"data": [{"id": name} for name in self.models]}))
        if not path.endswith("/chat/completions"):
            return await self._write(writer, 404, _json({"error": {"message": "no such route"}}))
        self._busy += 1
        self.busiest = max(self.busiest, self._busy)
        try:
            if self.work_s:
                await asyncio.sleep(self.work_s)
            return await self._spoilt(self._way(), json.loads(body), writer)
        finally:
            self._busy -= 1

    def _way(self) -> str:
        if self.trouble:
            return self.trouble.pop(0)
        at = self._chance.random()
        for way, share in self.shares.items():
            at -= share
            if at < 0:
                return way
        return ""

    async def _spoilt(self, way: str, body: dict[str, Any], writer: asyncio.StreamWriter) -> bool:
        self.counts[way or "good"] += 1
        if way == "refused":
            linger = struct.pack("ii", 1, 0)  # closing resets
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            return False
        if way == "slow":
            await asyncio.sleep(self.slow_s)
        if way == "non-json":
            return await self._write(writer, 200, b"<html>busy</html>", "text/html")
        if way.isdecimal():
            return await self._write(writer, int(way), _json({"error": {"message": f"status {way} it is"}}))
        if body["model"] not in self.models:
            return await self._write(writer, 404, _json({"error": {"message": f"no model {body['model']}"}}))
        text = {"rubbish": "asdf", "empty": ""}.get(way)
        if not way and self.keep:
            self.asked.append(body)
        message = {"role": "assistant", "content": self.answer(body) if text is None else text}
        data = _json({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})
        return await self._write(writer, 200, data, cut=way == "truncated")

    async def _write(
        self, writer: asyncio.StreamWriter, status: int, data: bytes, kind: str = "application/json", cut: bool = False
    ) -> bool:
        head = f"HTTP/1.1 {status} -\r\nContent-Type: {kind}\r\nContent-Length: {len(data)}\r\n\r\n"
        writer.write(head.encode() + (data[: len(data) // 2] if cut else data))
        await writer.drain()
        return not cut


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()
