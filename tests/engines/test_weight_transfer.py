"""Weights over gloo: the trainer's side, really sent, to hand-written servers that keep vLLM's routes and really receive."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from fake_server import FakeVllm
from server_toys import SAMPLING, Policy, ask, expected, make, text_prompt

from tracer1.engines._weight_broadcast import address_towards, in_buckets
from tracer1.engines._weight_senders import in_time, together
from tracer1.errors import EngineError

PROMPTS, SEEDS = [text_prompt("a"), text_prompt("b")], [[1, 2], [3, 4]]
ROUTES = ["/init_weight_transfer_engine", "/start_weight_update", "/update_weights", "/finish_weight_update"]


@pytest.fixture
def fakes() -> Iterator[list[FakeVllm]]:
    servers = [FakeVllm() for _ in range(2)]
    for server in servers:
        server.url = server.start()
    yield servers
    for server in servers:
        server.stop()


def said(fill: int) -> list[tuple[int, ...]]:
    return [expected(seed, fill) for group in SEEDS for seed in group]


def test_all_servers_receive_in_one_group_that_stays(fakes: list[FakeVllm], tmp_path: Path):
    engine, policy = make(fakes, tmp_path, transfer="gloo", answer_s=30), Policy()
    for fill in (1, 2):
        policy.fill = float(fill)
        assert [r.token_ids for r in ask(engine, PROMPTS, SEEDS, policy)] == said(fill)
        assert [fake.fill for fake in fakes] == [fill, fill]
    infos = [body["init_info"] for fake in fakes for path, body in fake.asked if path == ROUTES[0]]
    assert [info["rank_offset"] for info in infos] == [1, 2]  # one group for both rounds
    assert {info["world_size"] for info in infos} == {3}
    assert [path for path in fakes[0].paths() if path in ROUTES] == [*ROUTES, *ROUTES[1:]]
    assert not list(tmp_path.iterdir())


def test_a_bucket_is_one_update_with_its_own_description(fakes: list[FakeVllm], tmp_path: Path):
    engine = make(fakes, tmp_path, transfer="gloo", bucket_mb=0, answer_s=30)  # every tensor fills a bucket
    with engine.serving(Policy()):
        pass
    updates = [body["update_info"] for path, body in fakes[1].asked if path == "/update_weights"]
    assert [(u["names"][0].rpartition(".")[0][-6:], u["dtype_names"], u["shapes"]) for u in updates] == [
        ("l.norm", ["float32"], [[4]]),
        ("q_proj", ["float32"], [[4, 4]]),
        ("n_proj", ["float32"], [[4, 4]]),
    ]
    assert set(fakes[0].weights) == {name for name, _ in Policy().weights()}


def test_weights_that_did_not_arrive_are_found_out(fakes: list[FakeVllm], tmp_path: Path):
    engine, policy = make(fakes, tmp_path, transfer="gloo", answer_s=30), Policy()
    ask(engine, PROMPTS, SEEDS, policy)
    fakes[1].ignores_weights, policy.fill = True, 4.0
    assert [r.token_ids for r in ask(engine, PROMPTS, SEEDS, policy)] == said(
        4
    )  # by the other: it may have been restarted
    with pytest.raises(EngineError, match="does not hold the weights that were pushed: language_model"):
        ask(engine, PROMPTS, SEEDS, policy)


def test_the_group_is_formed_anew_with_a_server_that_returns(fakes: list[FakeVllm], tmp_path: Path):
    engine, policy = make(fakes, tmp_path, transfer="gloo", answer_s=30, hand_over_s=0.2, patience_s=20), Policy()
    ask(engine, PROMPTS, SEEDS, policy)
    port = fakes[1].http.server_port
    fakes[1].stop()
    fakes[1].restart()
    policy.fill = 2.0
    assert [r.token_ids for r in ask(engine, PROMPTS, SEEDS, policy)] == said(2)
    fakes[1].start(port)
    policy.fill = 3.0
    assert [r.token_ids for r in ask(engine, PROMPTS, SEEDS, policy)] == said(3)
    assert [fake.fill for fake in fakes] == [3, 3]
    sizes = [body["init_info"]["world_size"] for path, body in fakes[0].asked if path == ROUTES[0]]
    assert sizes == [3, 2, 3]


def test_a_server_that_lost_the_weights_in_a_round_waits_for_the_next(fakes: list[FakeVllm], tmp_path: Path):
    engine, policy = make(fakes, tmp_path, transfer="gloo", answer_s=30, hand_over_s=0.2, patience_s=20), Policy()
    with engine.serving(policy):
        fakes[1].restart()
        responses = engine.generate(PROMPTS, SAMPLING, SEEDS)
    assert [r.token_ids for r in responses] == said(1)
    policy.fill = 2.0
    assert [r.token_ids for r in ask(engine, PROMPTS, SEEDS, policy)] == said(2)
    assert fakes[1].fill == 2


def test_a_server_without_the_backend_is_told(fakes: list[FakeVllm], tmp_path: Path):
    def unknown(body: object) -> None:
        raise AssertionError("not configured")  # the connection is cut

    fakes[0].init_weight_transfer_engine = fakes[1].init_weight_transfer_engine = unknown
    engine, began = make(fakes, tmp_path, transfer="gloo", hand_over_s=0.2, patience_s=5), time.monotonic()
    with pytest.raises(EngineError, match=r'--weight-transfer-config \'\{"backend": "tracer1_gloo"\}\''):
        ask(engine, PROMPTS, SEEDS)
    assert time.monotonic() - began < 15


def test_either_side_may_fail_first_and_none_is_waited_for_for_ever():
    def fail() -> None:
        raise EngineError("refused")

    together(lambda: None, lambda: None, 1.0)
    for sides in ((fail, lambda: time.sleep(2)), (lambda: time.sleep(2), fail)):
        began = time.monotonic()
        with pytest.raises(EngineError, match="refused"):
            together(*sides, 5.0)
        assert time.monotonic() - began < 1.5
    with pytest.raises(EngineError, match=r"did not arrive within 0\.1 s"):
        together(lambda: time.sleep(1), lambda: None, 0.1)
    with pytest.raises(EngineError, match=r"more than 0\.1 s to wait"):
        in_time(lambda: time.sleep(1), 0.1, "wait")


def test_buckets_hold_about_as_much_as_they_should():
    weights = [(str(i), torch.zeros(10)) for i in range(7)]
    assert [[name for name, _ in bucket] for bucket in in_buckets(weights, 80)] == [
        ["0", "1"],
        ["2", "3"],
        ["4", "5"],
        ["6"],
    ]
    (bucket,) = in_buckets([("t", torch.arange(6).view(2, 3).T)], 1000)
    assert bucket[0][1].is_contiguous()


def test_where_servers_reach_this_machine():
    assert address_towards(["http://127.0.0.1:8000"]) == "127.0.0.1"
