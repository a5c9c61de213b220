"""A web server in a thread that answers what a test tells it to."""

import contextlib
import json
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@dataclass
class Asked:
    """A request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Say:
    """An answer."""

    body: Any = b""  # bytes, text, or a value that becomes JSON
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    wait_s: float = 0.0
    trickle_s: float = 0.0  # between the bytes of the body
    cut: bool = False  # the connection breaks half-way

    def bytes(self) -> bytes:
        if isinstance(self.body, bytes):
            return self.body
        return (self.body if isinstance(self.body, str) else json.dumps(self.body)).encode()


class ToyServer:
    """Answers with `answers` in turn, the last one again and again, or with what `answers(asked)` returns.

    Args:
        answers: See above.
        certificate: A file with key and certificate; the server then speaks https.
    """

    def __init__(self, answers: list[Say] | Callable[[Asked], Say], certificate: Path | None = None) -> None:
        self.asked: list[Asked] = []
        self._answers = answers
        self._lock = threading.Lock()
        toy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                asked = Asked(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body)
                self.say(toy.answer(asked))

            do_GET = do_POST = handle_any

            def say(self, say: Say) -> None:
                time.sleep(say.wait_s)
                body = say.bytes()
                try:
                    self.send_response(say.status)
                    for name, value in {"Content-Type": "application/json", **say.headers}.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    if say.cut:
                        self.wfile.write(body[: len(body) // 2])
                        self.close_connection = True
                        return
                    step = 1 if say.trickle_s else len(body) or 1
                    for start in range(0, len(body), step):
                        self.wfile.write(body[start : start + step])
                        self.wfile.flush()
                        time.sleep(say.trickle_s)
                except OSError:  # the client has had enough
                    self.close_connection = True

            def handle(self) -> None:
                with contextlib.suppress(ssl.SSLError, ConnectionError):  # of clients that do not trust it
                    super().handle()

            def log_message(self, *args: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def answer(self, asked: Asked) -> Say:
        with self._lock:
            self.asked.append(asked)
            if callable(self._answers):
                return self._answers(asked)
            return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
