"""The http sandbox against a server of our own that answers as SandboxFusion does, or fails as servers do."""

import base64
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tracer1.errors import ConfigError, SandboxFault
from tracer1.sandbox import Limits, open_sandbox


class Server(ThreadingHTTPServer):
    """Runs the code in a process, in an empty folder; `faults` says how the next requests go wrong."""

    faults: list[str]
    requests: list[dict]
    url: str


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append(request)
        fault = self.server.faults.pop(0) if self.server.faults else ""
        if fault == "500":
            self.send_error(500)
        elif fault == "slow":
            time.sleep(1.5)
        elif fault == "refused":
            self.connection.close()
        else:
            answer = {
                "rubbish": b"<html>",
                "error": json.dumps({"status": "SandboxError", "message": "full"}).encode(),
            }.get(fault)
            answer = answer or json.dumps(run(request)).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer) + (99 if fault == "truncated" else 0)))
            self.end_headers()
            self.wfile.write(answer)


def run(request: dict) -> dict:
    """As the server's run_code does, without its walls."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in request.get("files", {}).items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(base64.b64decode(text))
        code = Path(folder, "tmpcode.py")
        code.write_text(request["code"])
        try:
            ran = subprocess.run(
                [sys.executable, str(code)], cwd=folder, capture_output=True, text=True, timeout=request["run_timeout"], check=False
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            result = {
                "status": "TimeLimitExceeded",
                "execution_time": None,
                "return_code": None,
                "stdout": "",
                "stderr": "",
            }
        else:
            result = {
                "status": "Finished",
                "execution_time": 0.1,
                "return_code": ran.returncode,
                "stdout": ran.stdout,
                "stderr": ran.stderr,
            }
    status = "Success" if result["return_code"] == 0 else "Failed"
    return {"status": status, "message": "", "compile_result": None, "run_result": result, "files": {}}


@pytest.fixture
def server() -> Iterator[Server]:
    one = Server(("127.0.0.1", 0), Handler)
    one.faults, one.requests, one.url = [], [], f"http://127.0.0.1:{one.server_address[1]}"
    threading.Thread(target=one.serve_forever, daemon=True).start()
    yield one
    one.shutdown()
    one.server_close()


@pytest.fixture
def session(server: Server, folder: Path):
    return open_sandbox("http", Limits(wall_s=5.0), url=server.url, grace_s=1.0).session(
        folder, {"ocr": ("image",)}, None
    )


def test_names_persist_and_earlier_output_is_not_repeated(session):
    assert session.run("x = 1\nprint('one')\nimport os; os.write(1, b'fd\\n')").output.replace("fd\n", "") == "one\n"
    assert session.run("x += 1\nprint('two', x)").output == "two 2\n"
    assert session.run("1 / 0").error == "ZeroDivisionError: division by zero (line 1)"
    assert session.run("print(x); import sys; print('e', file=sys.stderr)").output == "2\ne\n"
    assert session.run("raise SystemExit(1)").kind == "exception"


def test_names_are_lost_with_a_run_that_was_stopped(session):
    session.run("x = 1")
    assert session.run("while True: pass", Limits(wall_s=1.0)).kind == "timeout"
    assert session.run("print(x)").error.startswith("NameError")
    assert session.run("import os; os._exit(7)").error == "the interpreter ended with exit code 7"


def test_files_go_both_ways_once(session, folder: Path, server: Server):
    (folder / "in.txt").write_text("hello")
    (folder / "sub").mkdir()
    session.run("open('log', 'a').write(open('in.txt').read()); open('sub/new', 'w').write('x')")
    session.run("open('log', 'a').write('!')")
    assert (folder / "log").read_text() == "hello!"
    assert (folder / "sub" / "new").read_text() == "x"
    assert session.run("print(open('in.txt').read())").output == "hello\n"
    (folder / "in.txt").write_text("changed")
    assert session.run("print(open('in.txt').read())").output == "changed\n"
    assert not (folder / "tmpcode.py").exists()


def test_a_name_of_a_file_cannot_lead_out_of_the_folder(session, folder: Path):
    session._write({"../out": "eA==", "/tmp/never": "eA==", "in": "eA=="}, Limits())
    assert [path.name for path in folder.iterdir()] == ["in"]
    assert not (folder.parent / "out").exists()


def test_output_is_cut_and_values_come_back(session):
    ran = session.run("print('x' * 100_000)")
    assert ran.cut
    assert len(ran.output) < 21_000
    assert session.call("json", "loads", {"s": "[1, 2]"}).value == [1, 2]
    assert session.call("math", "sqrt", {}).kind == "exception"


def test_tools_cannot_be_called_and_that_is_said(session):
    assert "has no way back" in session.run("ocr('x.png')").error
    assert session.run("try: ocr(1)\nexcept RuntimeError: print('caught')").output == "caught\n"


@pytest.mark.parametrize("fault", ["500", "slow", "refused", "rubbish", "error", "truncated"])
def test_a_server_that_fails_is_asked_again_and_then_it_is_a_fault(server: Server, session, fault: str):
    session._sandbox._grace_s = 0.5
    quick = replace(Limits(), wall_s=0.5)
    server.faults = [fault]
    assert session.run("print(1)", quick).output == "1\n"
    server.faults = [fault] * 3
    with pytest.raises(SandboxFault, match="3 tries"):
        session.run("print(1)", quick)
    assert session.run("print(2)").output == "2\n"


def test_a_server_that_is_not_there_is_said_at_once():
    with pytest.raises(ConfigError, match="no result in 1 tries"):
        open_sandbox("http", url="http://127.0.0.1:9", tries=1)
    with pytest.raises(ConfigError, match="needs the url"):
        open_sandbox("http")
