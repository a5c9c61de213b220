"""The HTTP server inside the desktop: OSWorld's routes, over one X display, as the user of the desktop. It knows no task and no score.

A program of its own, started by `machine.py`: it imports all it needs, becomes the desktop's user, starts the window manager, and
prints its port once windows are managed. When its stdin ends, whoever started it is gone: it then ends the whole desktop.
It listens on 127.0.0.1 and asks each request for nothing: like OSWorld's, it lets everybody on this machine act on this desktop.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from tracer1.environments._desktop import windows
from tracer1.environments._desktop.processes import Desk, end_all
from tracer1.environments._desktop.screen import Hand, screenshot

COMMAND_S = 80.0  # for one command: OSWorld's client waits 90 s
Answer = tuple[int, Any]  # status; bytes, or what becomes JSON
_TIMED_OUT = -1
_WARM = "multipart/form-data; boundary=x"


def _place(path: str) -> Path:
    """A path of a request: `~` and variables are the desktop's."""
    return Path(os.path.expandvars(os.path.expanduser(path)))


def _command(request: Mapping[str, Any]) -> str | list[str]:
    command = request["command"]
    if request.get("shell"):
        return command if isinstance(command, str) else " ".join(command)
    words = command.split() if isinstance(command, str) else list(command)
    words = [os.path.expanduser(word) if word.startswith("~/") else word for word in words]
    return [_python(), *words[1:]] if words and words[0] in ("python", "python3") else words


def _python() -> str:
    """An interpreter that the desktop's user may start: ours may lie in somebody else's home."""
    return sys.executable if os.access(sys.executable, os.X_OK) else shutil.which("python3") or "python3"


def _run(command: str | list[str], seconds: float, folder: Path | None = None) -> dict[str, Any]:
    """Runs a command to its end; what it has started in the background lives on, unless the time is over."""
    process = subprocess.Popen(
        command, shell=isinstance(command, str), executable="/bin/bash" if isinstance(command, str) else None, cwd=folder,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        return {"status": "error", "output": "", "error": f"not done after {seconds:g} s", "returncode": _TIMED_OUT}
    code = process.returncode
    return {
        "status": "success",
        "output": out.decode(errors="replace"),
        "error": err.decode(errors="replace"),
        "returncode": code,
    }


class Routes:
    """What each route answers.

    Args:
        hand: Presses keys and buttons.
        size: Width and height of the screen in pixels.
    """

    def __init__(self, hand: Hand, size: tuple[int, int]) -> None:
        self._hand, self._size = hand, size
        setup = {
            "/setup/execute": self.execute, "/setup/launch": self.launch, "/setup/upload": self.upload,
            "/setup/activate_window": self.activate, "/setup/close_window": self.close_window,
        }  # fmt: skip
        self.table: dict[tuple[str, str], Callable[[Mapping[str, Any]], Answer]] = {
            ("GET", "/screenshot"): lambda request: (200, screenshot()),
            ("GET", "/platform"): lambda request: (200, b"Linux"),
            ("GET", "/terminal"): lambda request: (200, {"status": "success", "output": None}),  # the client's sign of life
            ("GET", "/accessibility"): lambda request: (501, {"error": "this desktop has no accessibility tree"}),
            ("POST", "/screen_size"): lambda request: (200, dict(zip(("width", "height"), self._size, strict=True))),
            ("POST", "/execute"): self.execute, ("POST", "/run_python"): self.run_python,
            ("POST", "/run_bash_script"): self.run_bash, ("POST", "/file"): self.file,
            **{("POST", path): route for path, route in setup.items()},
        }  # fmt: skip

    def execute(self, request: Mapping[str, Any]) -> Answer:
        """A command; what acts by PyAutoGUI runs in this process, which has it at hand (1 ms; a fresh interpreter: 0.3 s)."""
        command = request["command"]
        if (
            isinstance(command, list)
            and len(command) == 3
            and command[1] == "-c"
            and self._hand.understands(command[2])
        ):
            return 200, self._hand.run(command[2])
        try:
            return 200, _run(_command(request), COMMAND_S)
        except OSError as error:
            return 500, {"status": "error", "message": str(error)}

    def run_python(self, request: Mapping[str, Any]) -> Answer:
        done = _run([_python(), "-c", request["code"]], COMMAND_S)
        return 200, {**done, "message": done["output"], "return_code": done["returncode"]}

    def run_bash(self, request: Mapping[str, Any]) -> Answer:
        folder = _place(request["working_dir"]) if request.get("working_dir") else None
        return 200, _run(["/bin/bash", "-c", request["script"]], float(request.get("timeout") or 30), folder)

    def launch(self, request: Mapping[str, Any]) -> Answer:
        """Starts an application and does not wait for it."""
        command = _command(request)
        try:
            subprocess.Popen(
                command, shell=isinstance(command, str), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            return 500, {"status": "error", "message": str(error)}
        return 200, {"status": "success"}

    def activate(self, request: Mapping[str, Any]) -> Answer:
        """404 where the window does not come: with 200, a window that never opened would end as a silent score of 0."""
        name = request["window_name"]
        if windows.activate(name, bool(request.get("strict")), bool(request.get("by_class"))):
            return 200, {"status": "success"}
        there = ", ".join(repr(window.title) for window in windows.windows())
        return 404, {"status": "error", "message": f"no window {name!r} came to the front; windows: {there or 'none'}"}

    def close_window(self, request: Mapping[str, Any]) -> Answer:
        name = request["window_name"]
        if windows.close(name, bool(request.get("strict")), bool(request.get("by_class"))):
            return 200, {"status": "success"}
        return 404, {"status": "error", "message": f"no window {name!r}, or it does not close"}

    def file(self, request: Mapping[str, Any]) -> Answer:
        try:
            return 200, _place(request["file_path"]).read_bytes()
        except OSError as error:
            return 404, {"status": "error", "message": str(error)}

    def upload(self, request: Mapping[str, Any]) -> Answer:
        path = _place(request["file_path"].decode())
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(request["file_data"])
        return 200, {"status": "success"}


def parse(kind: str, body: bytes) -> dict[str, Any]:
    """The fields of a request: JSON, a form, or a form with files (their values are bytes). Raises ValueError."""
    if kind.startswith("multipart/form-data"):
        message = BytesParser(policy=HTTP).parsebytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body)
        return {
            part.get_param("name", header="content-disposition"): part.get_payload(decode=True)
            for part in message.iter_parts()
        }
    if kind.startswith("application/x-www-form-urlencoded"):
        return {name: values[-1] for name, values in parse_qs(body.decode(), keep_blank_values=True).items()}
    fields = json.loads(body or b"{}")
    if not isinstance(fields, dict):
        raise ValueError("the body is no JSON object")
    return fields


def handler(routes: Routes) -> type[BaseHTTPRequestHandler]:
    """The class that `ThreadingHTTPServer` makes one of for each connection."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            try:
                self._answer(parse(self.headers.get("Content-Type", ""), body))
            except ValueError as error:
                self._send(400, {"status": "error", "message": str(error)})

        def _answer(self, request: Mapping[str, Any]) -> None:
            route = routes.table.get((self.command, self.path))
            try:
                answer = route(request) if route else (404, {"status": "error", "message": f"no route {self.path}"})
            except Exception as error:  # a bad request must not end the connection without an answer
                answer = 500, {"status": "error", "message": f"{type(error).__name__}: {error}"}
            self._send(*answer)

        def _send(self, status: int, content: Any) -> None:
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header(
                "Content-Type", "application/octet-stream" if isinstance(content, bytes) else "application/json"
            )
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler


def _end_with_stdin(desk: Desk) -> None:
    sys.stdin.buffer.read()
    shutil.rmtree(desk.home, ignore_errors=True)
    end_all(desk.token)
    os._exit(0)


def main() -> None:
    """Serves until killed, or until stdin ends. The one line on stdout is {"port": number} or {"error": text}."""
    desk = Desk.read(json.loads(sys.stdin.buffer.readline()))
    hand = Hand()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(Routes(hand, desk.size)))
    parse(_WARM, b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n--x--\r\n')
    desk.become_user()  # from here on nothing may be left to import: our interpreter may lie where that user cannot read
    os.chdir(desk.home)
    subprocess.Popen(
        ["openbox", "--sm-disable"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )  # its settings are in HOME
    if not windows.managed():
        sys.stdout.write(json.dumps({"error": "openbox did not take over the display"}) + "\n")
        sys.exit(1)
    server.daemon_threads = True
    threading.Thread(target=_end_with_stdin, args=(desk,), daemon=True).start()
    sys.stdout.write(json.dumps({"port": server.server_address[1]}) + "\n")
    sys.stdout.flush()
    server.serve_forever(poll_interval=0.1)


if __name__ == "__main__":
    main()
