"""Two ranks do what one does: the same gradients, the same weights, the same skips, the same errors."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from toy_ranks import update_gradients
from toy_run import PATIENCE_S, ROOT, check_equal_but_for_rounding, environment, toy_overrides, train_apart

from tracer1.algorithms.advantages import round_advantages
from tracer1.training.ranks import agreed, gathered, several, summed


@pytest.fixture(scope="module")
def ranks(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two ranks found; see `toy_ranks.main`."""
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    path = os.pathsep.join([str(ROOT / "src"), str(Path(__file__).parent)])
    shared = {
        **environment(),
        "PYTHONPATH": path,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": "2",
    }
    command = [sys.executable, str(Path(__file__).with_name("toy_ranks.py")), str(folder), str(toy / "planner")]
    processes = [
        subprocess.Popen(command, env={**shared, "LOCAL_RANK": str(rank)}, stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    for process in processes:
        _, stderr = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, stderr
    return [torch.load(folder / f"rank{rank}.pt") for rank in range(2)]


def distance(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    """The difference of two gradients, relative to their size."""
    assert a.keys() == b.keys()
    gap = torch.stack([(a[name] - b[name]).norm() for name in a]).norm()
    return float(gap / torch.stack([value.norm() for value in a.values()]).norm())


def test_the_update_does_not_depend_on_the_number_of_ranks(ranks, toy: Path, one_thread: None):
    """One micro-batch of four groups on one rank; two and four on one rank; one and two on each of two ranks."""
    whole = update_gradients(toy / "planner", 4)
    assert all(gradient.isfinite().all() for gradient in whole.values())
    assert sum(float(gradient.abs().sum()) for gradient in whole.values()) > 0.1
    others = [update_gradients(toy / "planner", per_batch) for per_batch in (2, 1)]
    others += [found["gradients"][per_batch] for found in ranks for per_batch in (1, 2)]
    assert max(distance(whole, other) for other in others) < 1e-5


def test_both_ranks_have_the_same_gradients_bit_for_bit(ranks):
    for per_batch in (1, 2):
        first, second = (found["gradients"][per_batch] for found in ranks)
        assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_rank_may_see_no_picture_at_all(ranks, toy: Path, one_thread: None):
    """DDP waits for the gradient of every parameter, the vision tower's too."""
    whole = update_gradients(toy / "planner", 1, blind=True)
    assert max(distance(whole, found["blind"]) for found in ranks) < 1e-5


def test_a_bad_number_on_one_rank_skips_the_update_on_both(ranks):
    for found in ranks:
        assert found["skipped"] == 1
        assert torch.equal(found["seen"][1], found["seen"][2])
        assert not torch.equal(found["seen"][2], found["seen"][3])
    assert all(torch.equal(a, b) for a, b in zip(ranks[0]["seen"], ranks[1]["seen"], strict=True))


def test_an_error_on_one_rank_is_raised_on_both(ranks):
    assert [found["error"] for found in ranks] == ["the shard of rank 1 is cut off"] * 2
    assert [found["agreed"] for found in ranks] == [0, 1]


def test_every_rank_keeps_its_own_position(ranks):
    for rank, found in enumerate(ranks):
        assert found["positions"]["positions"] == [{"place": 10}, {"place": 11}]
        assert found["restored"] == 10 + rank


def test_sums_and_lists_over_ranks(ranks):
    for found in ranks:
        assert found["summed"] == [2.0, 1.0]
        assert found["gathered"] == [{"rank": 0}, {"rank": 1}]


def test_advantages_over_the_round_see_the_other_rank(ranks):
    everyone = round_advantages(torch.tensor([1, 0, 0.5, 0, 0, 0.75], dtype=torch.float64), 3)
    assert torch.equal(torch.cat([found["advantages"] for found in ranks]), everyone)


def test_a_rank_that_lacks_no_group_waits_for_one_that_does(ranks):
    """On rank 1 all rewards are equal: it draws three times two prompts and is filled up with two of its six ties."""
    assert [len(found["denominators"]) for found in ranks] == [2, 2]
    assert ranks[1]["draws"] == [2, 2, 2]
    assert sum(ranks[0]["draws"]) >= 2
    assert ranks[0]["denominators"] == ranks[1]["denominators"]
    assert ranks[0]["figures"]["rollout/dropped_groups"] == ranks[1]["figures"]["rollout/dropped_groups"] >= 4


def test_one_process_talks_to_nobody():
    assert not several()
    assert summed([1, 2.5], torch.device("meta")) == [1, 2.5]
    assert gathered("a") == ["a"]
    assert agreed(max, 1, 2) == 2


ONE_UPDATE_PER_EPOCH = (
    "rounds=2",
    "algorithm.prompts_per_round=6",  # all of an epoch, whoever reads which shard
    "algorithm.prompts_per_update=6",
    "data.shuffle_shards=2",
    "optimizer._target_=torch.optim.SGD",  # AdamW would blow up differences in the last bit of tiny gradients
    "~optimizer.betas",
    "optimizer.lr=0.5",
)


def test_a_training_on_two_ranks_ends_like_one_on_one(
    toy: Path, tmp_path: Path, train: Callable[..., Any], one_thread: None
):
    """The same prompts and noise in every round, so the same weights but for the order of additions."""
    assert train(*ONE_UPDATE_PER_EPOCH).code == 0
    two = tmp_path / "two"
    settings = ("strategy=ddp", "trainer.devices=2", "algorithm.groups_per_micro_batch=3")
    done = train_apart(toy_overrides(toy, two, *ONE_UPDATE_PER_EPOCH, *settings))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("reward, first") == 1  # one summary, not two
    check_equal_but_for_rounding(toy / "planner", tmp_path / "run" / "policy", two / "run" / "policy")
    assert rewards(tmp_path / "run") == pytest.approx(rewards(two / "run"), abs=1e-6)


def rewards(run: Path) -> list[float]:
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [line[name] for line in lines for name in ("reward/total", "val/heldout/reward") if name in line]
