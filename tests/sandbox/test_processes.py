"""docker (by a stand-in program that starts the inner interpreter itself) and the plain process, over stdin and stdout."""

import itertools
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tracer1.errors import SandboxFault
from tracer1.sandbox import Limits, ToolRefused
from tracer1.sandbox.docker import Docker
from tracer1.sandbox.unsafe import Unsafe

LIMITS = Limits(wall_s=2.0, cpu_s=2.0, memory_mb=512, processes=12, file_mb=4, folder_mb=16)
PARAMETERS = {"add": ("a", "b")}

# Writes its command line down; `run` starts the interpreter where the folder lies, `kill` ends it by the name that it was given.
FAKE_DOCKER = """#!{python}
import os, signal, sys
from pathlib import Path
here, arguments = Path({here!r}), sys.argv[1:]
with (here / "log").open("a") as log: log.write("\\0".join(arguments) + "\\n")
if arguments[0] == "info":
    print({runtimes!r})
elif arguments[0] == "kill":
    os.kill(int((here / arguments[1]).read_text()), signal.SIGKILL)
else:
    after = dict(zip(arguments, arguments[1:]))
    volumes = [b.split(":") for a, b in zip(arguments, arguments[1:]) if a == "--volume"]
    (here / after["--name"]).write_text(str(os.getpid()))
    os.chdir(volumes[0][0])
    code = arguments[-1].replace(volumes[1][1].removesuffix("/tracer1"), volumes[1][0].removesuffix("/tracer1"))
    os.execv(sys.executable, [sys.executable, *arguments[arguments.index("python3") + 1 : -1], code])
"""


@pytest.fixture
def fake_docker(tmp_path: Path) -> Path:
    path = tmp_path / "docker"
    path.write_text(FAKE_DOCKER.format(python=sys.executable, here=str(tmp_path), runtimes='{"runsc": {}, "runc": {}}'))
    path.chmod(0o755)
    return path


@pytest.fixture(params=["docker", "unsafe"])
def sandbox(request: pytest.FixtureRequest, fake_docker: Path):
    one = Docker(LIMITS, program=str(fake_docker)) if request.param == "docker" else Unsafe(LIMITS)
    yield one
    one.close()


def add(name: str, arguments: dict) -> object:
    if arguments["a"] == "no":
        raise ToolRefused("not that")
    return arguments["a"] + arguments["b"]


def test_it_answers_like_the_other_sandboxes(sandbox, folder: Path, started, soon):
    with sandbox.session(folder, PARAMETERS, add) as session:
        assert session.run(
            "x = 1\nprint('one')\nimport sys, os; print('two', file=sys.stderr); os.write(1, b'three')"
        ).output == ("one\ntwo\nthree")
        assert session.run("print(add(x, b=2))\n1 / 0").error == "ZeroDivisionError: division by zero (line 2)"
        assert session.run("add('no', 1)").error == "RuntimeError: not that (line 1)"
        assert session.run("open('out', 'w').write('x')").ok
        assert session.call("json", "dumps", {"obj": [1]}).value == "[1]"
        ran = session.run("for n in range(500): print('x' * 100_000)\nprint('last')")
        assert ran.cut
        assert ran.output.endswith("last\n")
        assert len(ran.output) < 21_000
    assert (folder / "out").read_text() == "x"
    assert soon(lambda: started() == [])


def test_it_ends_what_does_not_end(sandbox, folder: Path, started, soon):
    with sandbox.session(folder) as session:
        session.run("x = 1")
        begin = time.monotonic()
        assert session.run("while True: pass", replace(LIMITS, wall_s=0.5)).kind == "timeout"
        assert time.monotonic() - begin < 4
        assert session.run("print(x)").error.startswith("NameError")
        assert session.run("bytearray(8 << 30)").kind == "memory"
        assert session.run("open('f', 'wb').write(bytes(9 << 20))").error.startswith("OSError")
        assert session.run("import os; os._exit(3)").error == "the interpreter ended itself with exit code 3"
        assert session.run("import ctypes; ctypes.string_at(0)").error == "the interpreter was ended by SIGSEGV"
        assert session.run("input()").error.startswith("EOFError")
        assert session.run("print('alive')").output == "alive\n"
    assert soon(lambda: started() == [])


def test_an_interpreter_ends_when_nobody_listens_any_more(sandbox, folder: Path, started, soon):
    session = sandbox.session(folder)
    session.run("import threading, time\nthreading.Thread(target=time.sleep, args=(99,)).start()")
    link = session._link
    link._end = lambda process: None  # as if this process had been killed
    for fd in (link.read_fd, link.write_fd, link.output_fd):
        __import__("os").close(fd)
    assert soon(lambda: link.gone())
    link.read_fd = link.write_fd = link.output_fd = -1
    session.close()
    assert soon(lambda: started() == [])


def test_the_container_has_no_network_no_capabilities_and_bounds(fake_docker: Path, folder: Path):
    docker = Docker(LIMITS, program=str(fake_docker), image="mine")
    with docker.session(folder) as session:
        session.run("1")
    line = next(line for line in (fake_docker.parent / "log").read_text().splitlines() if line.startswith("run"))
    words = line.split("\0")
    pairs = set(itertools.pairwise(words))
    for pair in (
        ("--network", "none"), ("--cap-drop", "ALL"), ("--security-opt", "no-new-privileges"), ("--pids-limit", "13"),
        ("--memory", "768m"), ("--memory-swap", "768m"), ("--runtime", "runsc"), ("--volume", f"{folder}:/sandbox/work"),
        ("--workdir", "/sandbox/work"), ("mine", "python3"),
    ):  # fmt: skip
        assert pair in pairs, pair
    assert {"--rm", "--read-only", "--interactive"} <= set(words)
    assert "/sandbox/package/tracer1:ro" in line


def test_a_container_that_cannot_start_is_a_fault_of_the_sandbox(fake_docker: Path, folder: Path):
    docker = Docker(LIMITS, program=str(fake_docker))
    fake_docker.write_text("#!/bin/sh\necho 'no such image' >&2; exit 125\n")
    with docker.session(folder) as session, pytest.raises(SandboxFault, match="no result"):
        session.run("1")


def test_without_gvisor_none_is_asked_for(fake_docker: Path, folder: Path):
    fake_docker.write_text(fake_docker.read_text().replace('"runsc": {}, ', ""))
    assert "--runtime" not in Docker(LIMITS, program=str(fake_docker)).command("x", folder)
