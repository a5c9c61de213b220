"""Two machines in small: two network namespaces that see each other only over a cable, one process of a ZeRO-2 training in each.

They share the disk, as the nodes of a cluster do, and nothing else.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from test_ranks import ONE_UPDATE_PER_EPOCH
from toy_run import ROOT, check_equal_but_for_rounding, command, environment, toy_overrides

LIMIT_S = 600
SAME = ("+experiment=demo_stage1", "rounds=3", "algorithm.kl_coef=0.05", "evaluation.every=3")


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True, timeout=30)


@pytest.fixture
def nodes() -> Iterator[list[str]]:
    """Two namespaces, 10.77.0.1 and 10.77.0.2, joined by a veth pair. On a developer's machine without `ip` or root: skipped."""
    if shutil.which("ip") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("CI must have `ip`: apt-get install iproute2")
        pytest.skip("two nodes need network namespaces: apt-get install iproute2")
    if os.geteuid() != 0:
        pytest.skip("only root makes network namespaces")
    names = [f"tracer1-{os.getpid()}-{node}" for node in range(2)]
    try:
        for name in names:
            ip("netns", "add", name)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespaces here: {error.stderr.strip()}")
    try:
        ip("link", "add", "cable", "netns", names[0], "type", "veth", "peer", "name", "cable", "netns", names[1])
        for node, name in enumerate(names):
            ip("-n", name, "address", "add", f"10.77.0.{node + 1}/24", "dev", "cable")
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "link", "set", "cable", "up")
        yield names
    finally:
        for name in names:
            with contextlib.suppress(subprocess.CalledProcessError):
                ip("netns", "delete", name)


def on_node(names: list[str], node: int, overrides: list[str], log: Path) -> subprocess.Popen[bytes]:
    """As `srun` would start it there: torchrun with the address of the first node."""
    torchrun = ["-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1", f"--node-rank={node}"]
    where = ["--master-addr=10.77.0.1", "--master-port=29577"]
    started = ["ip", "netns", "exec", names[node], sys.executable, *torchrun, *where, *command(overrides)[1:]]
    env = {**environment(), "GLOO_SOCKET_IFNAME": "cable", "DS_ACCELERATOR": "cpu"}
    with log.open("wb") as file:
        return subprocess.Popen(started, env=env, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT)


@pytest.mark.timeout(LIMIT_S + 300)
def test_two_nodes_train_what_one_process_trains(
    nodes: list[str], toy: Path, tmp_path: Path, train: Callable[..., Any], one_thread: None
):
    """demo_stage1 in tiny sizes: the same prompts in every round, so the same weights but for the order of additions."""
    assert train(*ONE_UPDATE_PER_EPOCH, *SAME).code == 0
    two = tmp_path / "two"
    spread = ("strategy=zero2", "trainer.num_nodes=2", "algorithm.groups_per_micro_batch=3")
    overrides = toy_overrides(toy, two, *ONE_UPDATE_PER_EPOCH, *SAME, *spread)
    logs = [tmp_path / f"node{node}.log" for node in range(2)]
    processes = [on_node(nodes, node, overrides, log) for node, log in enumerate(logs)]
    try:
        codes = [process.wait(timeout=LIMIT_S) for process in processes]
    finally:
        for process in processes:
            process.terminate()
    assert codes == [0, 0], "\n".join(log.read_text()[-3000:] for log in logs)
    check_equal_but_for_rounding(toy / "planner", tmp_path / "run" / "policy", two / "run" / "policy")
    mine, theirs = figures(tmp_path / "run"), figures(two / "run")
    assert len(mine) == len(theirs) == 3
    for a, b in zip(mine, theirs, strict=True):
        assert a == pytest.approx(b, rel=1e-3, abs=1e-5)


def figures(run: Path) -> list[dict[str, float]]:
    """What each round's line says of rewards and updates."""
    names = ("reward/total", "policy/kl", "optim/grad_norm", "rollout/response_length")
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [{name: line[name] for name in names} for line in lines if "reward/total" in line]
