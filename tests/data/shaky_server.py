"""A web server on this machine whose connections fail as a test says, in real sockets."""

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PIECE = 4096  # bytes sent at once


class ShakyServer:
    """Serves files by name.

    Args:
        files: Name -> content; tests may change it.
        ranges: Whether it answers a Range with that part, or with everything as `python -m http.server` does.
    """

    def __init__(self, files: dict[str, bytes], ranges: bool = True) -> None:
        self.files, self.ranges = files, ranges
        self.faults: dict[str, list[tuple]] = defaultdict(list)  # per name, the next request's first
        self.asked: list[tuple[str, int]] = []  # name, first byte asked for
        self.sent: dict[str, int] = defaultdict(int)  # bytes of content
        self.url = ""

    def fail(self, name: str, *faults: tuple) -> None:
        """What becomes of the next requests: ("status", 503), ("cut", bytes), ("slow", seconds a piece), ("fine",)."""
        self.faults[name] = list(faults)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    shaky: ShakyServer

    def do_GET(self) -> None:
        shaky, name = self.shaky, self.path.partition("?")[0].lstrip("/")
        asked = self.headers.get("Range")
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and shaky.ranges else 0
        shaky.asked.append((name, start))
        kind, *value = shaky.faults[name].pop(0) if shaky.faults[name] else ("fine",)
        if kind == "status":
            return self._answer(value[0], b"")
        if name == "":
            links = "".join(f'<a href="{file}">{file}</a>' for file in shaky.files)
            return self._answer(200, f"<html>{links}</html>".encode(), "text/html")
        if name not in shaky.files:
            return self._answer(404, b"")
        content = shaky.files[name]
        self.send_response(206 if asked and shaky.ranges else 200)
        if asked and shaky.ranges:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("ETag", f'"{hash(content)}"')
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        end = start + value[0] if kind == "cut" else len(content)
        for place in range(start, min(end, len(content)), PIECE):
            part = content[place : min(place + PIECE, end)]
            self.wfile.write(part)
            shaky.sent[name] += len(part)
            if kind == "slow":
                time.sleep(value[0])
        if kind == "cut":
            time.sleep(0.05)  # what was sent arrives
            self.close_connection = True
            self.connection.close()
        return None

    def _answer(self, status: int, content: bytes, kind: str = "application/octet-stream") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that went away is part of the test."""


@contextmanager
def serving(files: dict[str, bytes], ranges: bool = True) -> Iterator[ShakyServer]:
    shaky = ShakyServer(files, ranges)
    with _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"shaky": shaky})) as server:
        shaky.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        try:
            yield shaky
        finally:
            server.shutdown()
