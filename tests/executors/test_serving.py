"""`tools/serve_executor.py` starts the server of an executor, waits until it answers, and leaves no process. `vllm` is a stand-in here."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from tracer1.executors.ui_tars import UiTarsExecutor
from tracer1.schema import Action, Plan, PlanStep, Response, Rollout

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / "tools" / "serve_executor.py"
pytestmark = pytest.mark.skipif(
    find_spec("vllm") is not None, reason="a real vLLM would be started instead of the stand-in"
)

# `vllm serve MODEL ...` that takes a second to start and has a child of its own
STAND_IN = f"""#!{sys.executable}
import json, os, subprocess, sys, time
sys.path.insert(0, {str(ROOT / "src")!r})
from tracer1.training.bench.chat_server import ChatServer
arguments = sys.argv[1:]
print("started with", json.dumps(arguments), os.environ.get("CUDA_VISIBLE_DEVICES"), flush=True)
if "--dies" in arguments:
    sys.exit("no memory for that model")
if "--hangs" in arguments:
    time.sleep(600)
child = subprocess.Popen([sys.executable, "-c", "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(600)"])
print("child", child.pid, flush=True)
time.sleep(1)
names = [arguments[i + 1] for i, a in enumerate(arguments) if a == "--served-model-name"] or [arguments[1]]
server = ChatServer(lambda body: "Action: click(start_box='(1,2)')", names[0])
server.start(int(arguments[arguments.index("--port") + 1]))
time.sleep(2 if "--ends" in arguments else 600)
sys.exit("that was all")
"""


@pytest.fixture
def path_with_vllm(tmp_path: Path) -> dict[str, str]:
    program = tmp_path / "bin" / "vllm"
    program.parent.mkdir()
    program.write_text(STAND_IN)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}", "TMPDIR": str(tmp_path)}


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def start(environment: dict[str, str], *arguments: str) -> subprocess.Popen:
    command = [sys.executable, str(TOOL), *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_ctrl_c_and_leaves_no_process(path_with_vllm, make_step, end: signal.Signals):
    port = free_port()
    tool = start(
        path_with_vllm,
        "ui_tars_7b",
        "--port",
        str(port),
        "--gpus",
        "1,3",
        "--weights",
        "/w",
        "--",
        "--max-num-seqs",
        "8",
    )
    command, log, ready = (tool.stdout.readline() for _ in range(3))
    assert command.startswith("CUDA_VISIBLE_DEVICES=1,3 vllm serve /w --host 127.0.0.1")
    assert ready == f"ready: executor=ui_tars_7b executor.server.endpoints=[http://127.0.0.1:{port}]\n"
    executor = UiTarsExecutor("ByteDance-Seed/UI-TARS-7B-DPO", server={"endpoints": [f"http://127.0.0.1:{port}"]})
    rollout = Rollout(make_step(), Response("", (), ()), Plan((PlanStep(Action("click", "Click.")),)))
    assert executor.execute([rollout])[0].action == Action("click", "Click.", point=(1, 2))
    executor.asker.close()
    printed = Path(log.split()[-1]).read_text().splitlines()
    arguments = json.loads(printed[0].removeprefix("started with ").removesuffix(" 1,3"))
    assert arguments[:2] == ["serve", "/w"]
    assert arguments[-2:] == ["--max-num-seqs", "8"]
    options = dict(zip(arguments[2::2], arguments[3::2], strict=False))
    assert options["--tensor-parallel-size"] == "2"
    assert json.loads(options["--limit-mm-per-prompt"]) == {"image": 1, "video": 0}
    assert json.loads(options["--mm-processor-kwargs"])["max_pixels"] == 2116800
    tool.send_signal(end)
    assert tool.wait(60) == 0
    assert tool.stderr.read() == ""
    deadline = time.monotonic() + 5
    while alive(int(printed[1].split()[1])) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(int(printed[1].split()[1]))


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["--", "--dies"], 2, "ended with code 1 before it answered"),
        (["--wait-s", "1", "--", "--hangs"], 2, "did not answer within 1 s"),
        (["--", "--ends"], 1, "it ended with code 1"),
    ],
)
def test_a_server_that_does_not_stay_is_told_with_its_last_lines(
    path_with_vllm, arguments: list, code: int, error: str
):
    tool = start(path_with_vllm, "ui_tars_7b", "--port", str(free_port()), *arguments)
    _, errors = tool.communicate(timeout=60)
    assert tool.returncode == code
    assert errors.startswith("serve_executor: ")
    assert error in errors
    assert {"--dies": "no memory for that model", "--hangs": "started with", "--ends": "that was all"}[
        arguments[-1]
    ] in errors


def test_mistakes_are_one_line(path_with_vllm):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        tool = start(path_with_vllm, "ui_tars_7b", "--port", port)
        assert f"Something listens at http://127.0.0.1:{port} already" in tool.communicate(timeout=60)[1]
        assert tool.returncode == 2
    tool = start({**path_with_vllm, "PATH": "/usr/bin:/bin"}, "ui_tars_7b")
    assert "There is no vLLM here: pip install 'tracer1[vllm]'" in tool.communicate(timeout=60)[1]
    tool = start(path_with_vllm, "ui_tars_8b")
    assert "Did you mean 'ui_tars_7b'" in tool.communicate(timeout=60)[1]
    assert tool.returncode == 2


def test_the_command_alone(path_with_vllm):
    tool = start({**path_with_vllm, "PATH": "/usr/bin:/bin"}, "ui_tars_1_5_7b", "--print", "--host", "0.0.0.0")
    output, errors = tool.communicate(timeout=60)
    assert (tool.returncode, errors) == (0, "")
    assert output.startswith("vllm serve ByteDance-Seed/UI-TARS-1.5-7B --host 0.0.0.0 --port 8000 --dtype bfloat16 ")
    assert (
        """--mm-processor-kwargs '{"min_pixels": 78400, "max_pixels": 12845056}'""" in output
    )  # those of executor.pixels
