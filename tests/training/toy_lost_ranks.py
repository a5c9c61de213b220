"""Ranks for test_lost_ranks.py, forked from one process that has imported everything: `toy_lost_ranks.py TOY`.

Reads lines of JSON, `{"outputs": ..., "ranks": 2, "dies": "RANK ROUND STAGE HOW", "more": [...]}`; each is a training of train.py on so
many gloo ranks. Answers each with `{"codes": [...], "said": "...", "after_s": ...}`: exit codes (-9: killed), what all said, and the
seconds from the first end to the last one.
"""

import json
import os
import socket
import sys
import time
from pathlib import Path

import toy_dies  # noqa: F401  (and through it what every training imports)
import toy_run

import tracer1.train
from tracer1.executors import EXECUTORS
from tracer1.training import recipes  # noqa: F401
from tracer1.training.entry import launch

MORE = (
    "strategy=ddp",
    "trainer.devices=2",
    "algorithm.groups_per_micro_batch=1",
    "rounds=3",
    "ckpt_path=auto",
    "plugins=[toy_run,toy_dies]",
    "executor=direct",
)


def arguments(toy: Path, outputs: Path, more: list[str]) -> list[str]:
    """Of train.py, for three rounds on two ranks."""
    return toy_run.toy_overrides(toy, outputs, *MORE, *more)


def one_rank(rank: int, asked: dict[str, object], toy: Path, port: int) -> None:
    """In a process of its own; never returns."""
    outputs = Path(str(asked["outputs"]))
    os.environ |= {
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(asked["ranks"]),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    if asked["dies"]:
        os.environ["TOY_DIES"] = str(asked["dies"])
    log = os.open(outputs / f"said.{rank}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.argv = [str(toy_run.ROOT / "src/tracer1/train.py"), *arguments(toy, outputs, list(asked["more"]))]
    code = 0
    try:
        launch(tracer1.train.main, "train")
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        code = 1
        sys.excepthook(*sys.exc_info())
    sys.stderr.flush()
    os._exit(code)


def together(asked: dict[str, object], toy: Path) -> dict[str, object]:
    """All ranks to their ends. Where one is stopped the other ends first, and it is killed."""
    outputs = Path(str(asked["outputs"]))
    outputs.mkdir(parents=True, exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ranks: dict[int, int] = {}
    for rank in range(int(str(asked["ranks"]))):
        pid = os.fork()
        if not pid:
            one_rank(rank, asked, toy, port)
        ranks[pid] = rank
    codes, ends = [0] * len(ranks), []
    stopped = str(asked["dies"]).endswith("SIGSTOP")
    while ranks:
        pid, status = os.wait()
        codes[ranks.pop(pid)] = os.waitstatus_to_exitcode(status)
        ends.append(time.monotonic())
        if stopped and ranks:
            os.kill(next(iter(ranks)), 9)
    said = "".join((outputs / f"said.{rank}").read_text() for rank in range(len(codes)))
    return {"codes": codes, "said": said, "after_s": ends[-1] - ends[0]}


def main(toy: Path) -> None:
    assert EXECUTORS.get("direct")
    for line in sys.stdin:
        sys.stdout.write(json.dumps(together(json.loads(line), toy)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
