"""Starts the vLLM server that a frozen executor asks, waits until it answers, and leaves no process behind. It knows no model."""

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import requests

from tracer1.errors import ConfigError, ExecutorError, MissingDependency

_POLL_S, _END_S = 0.5, 30.0
_LAST_LINES = 15


@dataclass(frozen=True, slots=True)
class Server:
    """What to start.

    Args:
        model: The name that it serves.
        options: Of vLLM, underscores for dashes; from the executor's config.
        weights: Folder of the weights where they do not come from the hub.
        host, port: Where it listens.
        gpus: Which ones, e.g. `0,1`; the model is divided among them. None leaves it to vLLM.
        more: Further arguments, which win over `options`.
        log: Takes all that it prints.
    """

    model: str
    options: Mapping[str, Any]
    weights: str | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    gpus: str | None = None
    more: Sequence[str] = ()
    log: Path = field(default_factory=lambda: Path(tempfile.mkstemp(prefix="tracer1-serve-", suffix=".log")[1]))

    @property
    def url(self) -> str:
        """Where a client on this machine finds it."""
        return f"http://{'127.0.0.1' if self.host == '0.0.0.0' else self.host}:{self.port}"

    def arguments(self) -> list[str]:
        """After the model."""
        made = ["--host", self.host, "--port", str(self.port)]
        if self.weights is not None:
            made += ["--served-model-name", self.model]
        if self.gpus is not None and "," in self.gpus:
            made += ["--tensor-parallel-size", str(len(self.gpus.split(",")))]
        for name, value in self.options.items():
            flag = name.replace("_", "-")
            if isinstance(value, bool):
                made.append(f"--{'' if value else 'no-'}{flag}")
            else:
                made += [f"--{flag}", json.dumps(value) if isinstance(value, (dict, list)) else str(value)]
        return [*made, *self.more]

    def command(self) -> list[str]:
        """The whole command.

        Raises:
            MissingDependency: there is no vLLM.
        """
        return [*_program(self.weights or self.model), *self.arguments()]

    def shown(self) -> str:
        """The command for a shell, with `vllm` wherever that may be."""
        visible = f"CUDA_VISIBLE_DEVICES={self.gpus} " if self.gpus is not None else ""
        return visible + shlex.join(["vllm", "serve", self.weights or self.model, *self.arguments()])

    def last_lines(self) -> str:
        """The end of what it printed."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LAST_LINES:]
        return "\n  ".join([f"The last lines of {self.log}:", *lines]) if lines else f"It printed nothing ({self.log})."


def _program(model: str) -> list[str]:
    """`vllm serve MODEL` of this Python's environment, or else of the path."""
    if find_spec("vllm") is not None:
        try:
            distribution("vllm")
        except (
            PackageNotFoundError
        ):  # a CPU build, whose command misses its own distribution: the same program without it
            return [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", model]
        return [sys.executable, "-m", "vllm.entrypoints.cli.main", "serve", model]
    found = shutil.which("vllm")
    if found is None:
        raise MissingDependency(
            "There is no vLLM here: pip install 'tracer1[vllm]' on a GPU host, or run what --print shows where one is."
        )
    return [found, "serve", model]


@contextmanager
def serving(server: Server, wait_s: float) -> Iterator[subprocess.Popen]:
    """While entered, the server answers. Its processes have ended afterwards, also when this one is asked to end.

    Args:
        server: What to start.
        wait_s: How long it may take to answer, in seconds.

    Raises:
        ConfigError: something listens there already.
        ExecutorError: it ended, or did not answer in time; with its last lines.
        MissingDependency: there is no vLLM.
    """
    command = server.command()
    with socket.socket() as probe:
        if probe.connect_ex((server.url.removeprefix("http://").rsplit(":", 1)[0], server.port)) == 0:
            raise ConfigError(f"Something listens at {server.url} already: choose another --port.")
    visible = {} if server.gpus is None else {"CUDA_VISIBLE_DEVICES": server.gpus}
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    with server.log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **visible},
            start_new_session=True,  # Ctrl-C comes to us, and we end all of it
        )
    try:
        _wait(server, process, wait_s)
        yield process
    finally:
        _end(process)
        signal.signal(signal.SIGTERM, before)


def _wait(server: Server, process: subprocess.Popen, wait_s: float) -> None:
    deadline = time.monotonic() + wait_s
    while not _answers(server):
        if process.poll() is not None:
            raise ExecutorError(
                f"The server ended with code {process.returncode} before it answered. {server.last_lines()}"
            )
        if time.monotonic() > deadline:
            raise ExecutorError(f"The server did not answer within {wait_s:g} s. {server.last_lines()}")
        time.sleep(_POLL_S)


def _answers(server: Server) -> bool:
    try:
        if not requests.get(f"{server.url}/health", timeout=5).ok:
            return False
        listed = requests.get(f"{server.url}/v1/models", timeout=5).json()["data"]
        return server.model in [model["id"] for model in listed]
    except (requests.RequestException, ValueError, KeyError, TypeError):
        return False


def _end(process: subprocess.Popen) -> None:
    """Asks it to end as Ctrl-C does, and kills what is left of its processes."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGINT)
    with suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
        process.wait(_END_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
