"""Several servers: how groups are shared out, that it changes nothing which of them answers, and what becomes of one that dies."""

import logging
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_server import FakeVllm
from server_toys import IMAGE, SAMPLING, Policy, ask, expected, make, seeing_prompt, text_prompt

from tracer1.engines._balance import group_cost, spread
from tracer1.engines._side_by_side import side_by_side
from tracer1.errors import ConfigError, EngineError
from tracer1.schema import Prompt

PROMPTS = [seeing_prompt("a"), text_prompt("b"), seeing_prompt("ccc"), text_prompt("d"), text_prompt("e")]
SEEDS = [[10 * b + i for i in range(3)] for b in range(len(PROMPTS))]
WHOLE = [expected(seed) for group in SEEDS for seed in group]


@pytest.fixture
def fakes() -> Iterator[list[FakeVllm]]:
    servers = [FakeVllm() for _ in range(3)]
    for server in servers:
        server.url = server.start()
    yield servers
    for server in servers:
        server.stop()


# --- sharing out ---------------------------------------------------------------------------------------------------------


def test_the_dearest_first_to_whoever_has_least():
    assert spread([7, 3, 5, 3, 1], 2) == [[0, 3], [1, 2, 4]]
    assert spread([2, 2, 2], 2) == [[0, 2], [1]]
    assert spread([2, 2, 2], 2, first=1) == [[1], [0, 2]]
    assert spread([], 2) == [[], []]
    assert spread([4], 3) == [[0], [], []]


def test_no_share_exceeds_the_mean_by_more_than_the_dearest_item():
    chance = random.Random(4)
    for _ in range(300):
        costs = [chance.choice((1, 40, 300, 2200)) * chance.random() for _ in range(chance.randrange(1, 60))]
        shares = chance.randrange(1, 9)
        shared = spread(costs, shares, chance.randrange(shares))
        assert sorted(item for share in shared for item in share) == list(range(len(costs)))
        assert max(sum(costs[i] for i in share) for share in shared) <= sum(costs) / shares + max(costs)


def test_a_group_costs_its_prompt_once_with_its_pictures():
    assert group_cost(Prompt("a", (1, *[IMAGE] * 4, 2), {}), 3, 10.0) == 6 + 3 * 10
    assert group_cost(Prompt("a", (1, 2), {}), 1, 0.5) == 2.5


# --- several servers -----------------------------------------------------------------------------------------------------


def _groups_of(fake: FakeVllm) -> set[int]:
    """Which groups a server answered, by their seeds."""
    return {body["sampling_params"]["seed"] // 10 for path, body in fake.asked if path.endswith("generate")}


def test_groups_go_whole_to_several_servers_and_say_the_same(fakes: list[FakeVllm], tmp_path: Path):
    responses = ask(make(fakes, tmp_path), PROMPTS, SEEDS)
    assert [r.token_ids for r in responses] == WHOLE
    answered = [_groups_of(fake) for fake in fakes]
    assert all(answered)
    assert sum(map(len, answered)) == len(PROMPTS)  # no group on two servers
    assert len({fake.version for fake in fakes}) == 1
    alone = ask(make(fakes[0], tmp_path), PROMPTS, SEEDS)
    assert [(r.token_ids, r.logprobs) for r in alone] == [(r.token_ids, r.logprobs) for r in responses]


def test_all_servers_get_the_weights_from_one_folder(fakes: list[FakeVllm], tmp_path: Path):
    policy = Policy()
    policy.fill = 3.0
    responses = ask(make(fakes, tmp_path), PROMPTS, SEEDS, policy)
    assert [r.token_ids for r in responses] == [expected(seed, 3) for group in SEEDS for seed in group]
    folders = {b["kwargs"]["weights_path"] for fake in fakes for path, b in fake.asked if path == "/collective_rpc"}
    assert len(folders) == 1
    assert not list(tmp_path.iterdir())


def test_a_dead_servers_groups_go_to_the_others(
    fakes: list[FakeVllm], tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    engine, began = make(fakes, tmp_path, hand_over_s=0.3, patience_s=60), time.monotonic()
    fakes[1].trouble = ["500"] * 1000
    with caplog.at_level(logging.WARNING):
        responses = ask(engine, PROMPTS, SEEDS)
    assert [r.token_ids for r in responses] == WHOLE
    assert time.monotonic() - began < 10
    assert f"at {fakes[1].url} did not answer" in caplog.text
    assert "2 of 3 servers are left; it is taken in again when it answers" in caplog.text
    assert not _groups_of(fakes[1])


def test_a_server_that_returns_is_taken_in_with_the_right_weights(fakes: list[FakeVllm], tmp_path: Path):
    engine, policy = make(fakes, tmp_path, hand_over_s=0.2, patience_s=60), Policy()
    gone, port = fakes[2], fakes[2].http.server_port
    gone.stop()
    ask(engine, PROMPTS, SEEDS, policy)
    assert not gone.asked
    gone.restart()
    gone.start(port)
    policy.fill = 2.0
    responses = ask(engine, PROMPTS, SEEDS, policy)
    assert [r.token_ids for r in responses] == [expected(seed, 2) for group in SEEDS for seed in group]
    assert _groups_of(gone)
    assert (gone.version, gone.fill) == (fakes[0].version, 2)


def test_a_server_that_returns_within_a_round_gets_that_rounds_weights(fakes: list[FakeVllm], tmp_path: Path):
    engine, policy = make(fakes, tmp_path, hand_over_s=0.2, patience_s=60), Policy()
    with engine.serving(policy):
        ports = [fake.http.server_port for fake in fakes]
        for fake in fakes:
            fake.stop()

        def come_back() -> None:
            time.sleep(1.0)
            fakes[0].restart()
            fakes[0].start(ports[0])

        threading.Thread(target=come_back).start()
        responses = engine.generate(PROMPTS, SAMPLING, SEEDS)
    assert [r.token_ids for r in responses] == WHOLE
    for fake, port in zip(fakes[1:], ports[1:], strict=True):
        fake.start(port)


def test_when_all_are_gone_the_run_ends_with_one_line(fakes: list[FakeVllm], tmp_path: Path):
    engine = make(fakes, tmp_path, hand_over_s=0.2, patience_s=0.8)
    ports = [fake.http.server_port for fake in fakes]
    with engine.serving(Policy()):
        for fake in fakes:
            fake.stop()
        began = time.monotonic()
        with pytest.raises(EngineError, match=r"No vLLM server is left of 3\. .*did not answer.*ckpt_path=last"):
            engine.generate(PROMPTS, SAMPLING, SEEDS)
        assert time.monotonic() - began < 10
    for fake, port in zip(fakes, ports, strict=True):
        fake.start(port)


def test_a_server_that_only_answers_a_glance_is_not_asked_for_ever(fakes: list[FakeVllm], tmp_path: Path):
    fakes[0].trouble = ["500"] * 10_000
    began = time.monotonic()
    with pytest.raises(EngineError, match="No vLLM server is left of 1"):
        ask(make(fakes[0], tmp_path, hand_over_s=0.3, patience_s=1.5), PROMPTS, SEEDS)
    assert time.monotonic() - began < 10


def test_addresses_that_cannot_work(fakes: list[FakeVllm], tmp_path: Path):
    for wrong in ([], [fakes[0], fakes[0]]):
        with pytest.raises(ConfigError, match=r"engine\.url="):
            make(wrong, tmp_path)
    with pytest.raises(ConfigError, match=r"engine\.transfer=carrier is unknown\. Known: folder, gloo, nccl"):
        make(fakes, tmp_path, transfer="carrier")


# --- calls side by side --------------------------------------------------------------------------------------------------


def test_after_an_error_no_further_call_begins():
    begun: list[int] = []

    def run(number: int) -> int:
        begun.append(number)
        time.sleep(0.01)
        if number == 3:
            raise EngineError("three")
        return -number

    with pytest.raises(EngineError, match="three"):
        side_by_side(run, range(100), 2)
    assert len(begun) < 10
    assert side_by_side(run, [1, 2, 4], 8) == [-1, -2, -4]
