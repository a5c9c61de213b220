"""Sessions on a server that speaks SandboxFusion's HTTP (POST /run_code): for clusters that keep model-written code on other machines.

A request starts from nothing there, so earlier blocks of a session run again before each new one, silently. Code cannot call tools.
Source: the API of github.com/bytedance/SandboxFusion.
"""

import base64
import inspect
import json
import logging
import secrets
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import requests

from tracer1.errors import ConfigError, DataError, SandboxFault
from tracer1.sandbox import SANDBOXES, Limits, Ran, ToolCall
from tracer1.sandbox._inside import blocks, plain, replayed
from tracer1.sandbox._printed import Printed

log = logging.getLogger(__name__)

_MOST_BYTES = 32 << 20  # of the folder's files, there and back
_LONGEST_ANSWER = 128 << 20  # bytes
_PROGRAM = "\n".join(inspect.getsource(module) for module in (blocks, plain, replayed))


@SANDBOXES.register("http")
class Http:
    """Sessions on a SandboxFusion server.

    Args:
        limits: `wall_s`, `memory_mb`, `folder_mb` and `output_kb` are asked for or kept; the server has its own for the rest.
        url: Of the server, without `/run_code`.
        tries: Of one request, when the server fails or does not answer.
        grace_s: Seconds that an answer may take beyond the block's own time: a queue, a slow network.
    """

    kind = "http"

    def __init__(self, limits: Limits = Limits(), *, url: str = "", tries: int = 3, grace_s: float = 30.0) -> None:  # noqa: B008
        if not url.startswith(("http://", "https://")):
            raise ConfigError(
                f"sandbox=http needs the url of a SandboxFusion server, e.g. http://sandbox:8080, not {url!r}. "
                "`docker run -p 8080:8080 volcengine/sandbox-fusion:server-20250609` starts one."
            )
        self.limits, self._url, self._tries, self._grace_s = limits, url.rstrip("/"), tries, grace_s
        self._threads = threading.local()  # a connection pool is not for several threads
        try:
            self.post({"language": "python", "code": "print(6 * 7)", "run_timeout": 10}, 10)
        except SandboxFault as fault:
            raise ConfigError(f"sandbox=http: {fault}") from fault

    def session(
        self, folder: Path, tools: Mapping[str, Sequence[str]] | None = None, call: ToolCall | None = None
    ) -> "HttpSession":
        """See `Sandbox.session`."""
        if not Path(folder).is_dir():
            raise DataError(f"{folder} is no folder; a session needs one to work in.")
        return HttpSession(self, Path(folder), list(tools or {}))

    def close(self) -> None:
        """Nothing of ours runs there."""

    def post(self, body: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """The server's answer to a /run_code request; raises SandboxFault when there is none after several tries."""
        why = ""
        for attempt in range(self._tries):
            time.sleep(0.5 * (2**attempt - 1))
            try:
                return self._once(body, seconds + self._grace_s)
            except (requests.RequestException, ValueError) as error:
                why = str(error)
                log.warning("the sandbox server failed (try %d of %d): %s", attempt + 1, self._tries, why)
        raise SandboxFault(
            f"The sandbox server at {self._url} gave no result in {self._tries} tries: {why}. Look at its log, or at the url."
        )

    def _once(self, body: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        session = self._threads.__dict__.setdefault("session", requests.Session())
        with session.post(f"{self._url}/run_code", json=body, timeout=seconds, stream=True) as answer:
            answer.raise_for_status()
            data, deadline = bytearray(), time.monotonic() + seconds
            for piece in answer.iter_content(1 << 16):
                data += piece
                if len(data) > _LONGEST_ANSWER or time.monotonic() > deadline:
                    raise ValueError("an answer that does not end")
        result = json.loads(data)
        if not isinstance(result, dict) or result.get("status") not in ("Success", "Failed"):
            raise ValueError(f"no verdict: {str(result)[:300]}")
        if not isinstance(result.get("run_result"), dict):
            raise ValueError(f"no run_result: {str(result)[:300]}")
        return result["run_result"]


class HttpSession:
    """Blocks that are run again, each time, before the next."""

    def __init__(self, sandbox: Http, folder: Path, tools: Sequence[str]) -> None:
        self._sandbox, self._folder, self._tools = sandbox, folder, list(tools)
        self._earlier: list[str] = []
        self._made: dict[str, str] = {}  # files as the code has left them, in base64: running again makes them again
        self._turn = threading.Lock()

    def run(self, code: str, limits: Limits | None = None) -> Ran:
        """See `Session.run`."""
        with self._turn:
            ran = self._request({"code": code}, limits or self._sandbox.limits)
            if ran.kind in ("", "exception"):
                self._earlier.append(code)
            else:  # as in the other sandboxes, the names are lost with the interpreter
                self._earlier, self._made = [], {}
            return ran

    def call(self, module: str, function: str, arguments: Mapping[str, Any], limits: Limits | None = None) -> Ran:
        """See `Session.call`: the module must be installed on the server."""
        request = {"module": module, "function": function, "arguments": plain.plain(arguments)}
        with self._turn:
            return self._request(request, limits or self._sandbox.limits)

    def close(self) -> None:
        """Nothing of ours runs there."""

    def _request(self, request: dict[str, Any], limits: Limits) -> Ran:
        mark = f"--{secrets.token_hex(16)}--"
        folders = [path.relative_to(self._folder).as_posix() for path in self._folder.rglob("*") if path.is_dir()]
        more = {
            "earlier": self._earlier,
            "tools": self._tools,
            "folders": folders,
            "mark": mark,
            "most_bytes": _MOST_BYTES,
        }
        text = json.dumps(json.dumps({**request, **more}))
        body = {
            "language": "python",
            "code": f"{_PROGRAM}\nmain(json.loads({text}))\n",
            "run_timeout": limits.wall_s,
            "memory_limit_MB": limits.memory_mb,
            "files": self._files(),
        }
        begin = time.monotonic()
        answer = self._sandbox.post(body, limits.wall_s)
        return self._ran(answer, mark, limits, time.monotonic() - begin)

    def _ran(self, answer: Mapping[str, Any], mark: str, limits: Limits, seconds: float) -> Ran:
        text, found, rest = str(answer.get("stdout") or "").rpartition(f"\n{mark}")
        printed = Printed(limits.output_kb << 10)
        printed.add((text if found else rest).encode())
        seconds = float(answer.get("execution_time") or seconds)
        if not found:
            if answer.get("status") == "TimeLimitExceeded":
                error, kind = f"stopped after {limits.wall_s:g} s", "timeout"
            else:
                last = (str(answer.get("stderr") or "").strip().splitlines() or [""])[-1]
                error, kind = (
                    f"the interpreter ended with exit code {answer.get('return_code')} {last}".strip(),
                    "killed",
                )
            return Ran(printed.text(), error, kind, None, seconds, printed.cut)
        try:
            result = json.loads(rest)
            error, kind, value = str(result.get("error", "")), str(result.get("kind", "")), result.get("value")
            self._write(result["files"], limits)
        except (ValueError, TypeError, KeyError, AttributeError) as broken:
            raise SandboxFault(
                f"The sandbox server's answer is cut or broken ({broken}); does it limit its output?"
            ) from broken
        return Ran(printed.text(), error, kind, value, seconds, printed.cut)

    def _files(self) -> dict[str, str]:
        """The folder's files, but for those that the blocks before will make again."""
        files, size = {}, 0
        for path in sorted(self._folder.rglob("*")):
            if path.is_file() and not path.is_symlink():
                size += path.stat().st_size
                if size > _MOST_BYTES:
                    raise SandboxFault(
                        f"{self._folder} holds more than {_MOST_BYTES >> 20} MiB, which is too much to send with every block; "
                        "use sandbox=bubblewrap for such tasks."
                    )
                name, text = path.relative_to(self._folder).as_posix(), base64.b64encode(path.read_bytes()).decode()
                if self._made.get(name) != text:
                    files[name] = text
        return files

    def _write(self, files: Mapping[str, str], limits: Limits) -> None:
        """Puts what the code wrote into the folder. The names come from the code: they stay under the folder."""
        root, left = self._folder.resolve(), limits.folder_mb << 20
        for name, text in files.items():
            data = base64.b64decode(text)
            path = (root / PurePosixPath(name)).resolve()
            left -= len(data)
            if left < 0 or not path.is_relative_to(root) or path == root:
                log.warning("a file of the sandbox server was left out: %s", name[:200])
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            self._made[path.relative_to(root).as_posix()] = text
