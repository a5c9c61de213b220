"""The server engine against a hand-written server: what is sent, seeds, weights, and every way a server can fail."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_server import FakeVllm
from server_toys import SAMPLING, Policy, ask, expected, make, seeing_prompt, text_prompt

from tracer1.engines._patient_http import Refused
from tracer1.errors import EngineError
from tracer1.interfaces import Sampling


@pytest.fixture
def fake() -> Iterator[FakeVllm]:
    server = FakeVllm()
    server.url = server.start()
    yield server
    server.stop()


def test_responses_come_group_adjacent_with_their_own_seeds(fake: FakeVllm, tmp_path: Path):
    seeds = [[2**62 + 5, 1, 2], [3, 4, 5]]
    responses = ask(make(fake, tmp_path), [text_prompt("a"), text_prompt("b")], seeds)
    assert [r.token_ids for r in responses] == [expected(seed) for group in seeds for seed in group]
    first = responses[0]
    assert first.logprobs == pytest.approx([-t / 100 for t in first.token_ids])
    assert (first.text, first.truncated) == (" ".join(map(str, first.token_ids)), False)
    sent = next(body for path, body in fake.asked if path.endswith("generate"))
    assert sent["sampling_params"] == {
        "temperature": 1.0, "top_p": 0.99, "max_tokens": 16, "logprobs": 0, "stop_token_ids": [0, 5],
        "ignore_eos": True, "detokenize": False, "seed": sent["sampling_params"]["seed"],
    }  # fmt: skip


def test_a_response_at_the_limit_is_truncated(fake: FakeVllm, tmp_path: Path):
    engine = make(fake, tmp_path)
    with engine.serving(Policy()):
        (response,) = engine.generate([text_prompt("a")], Sampling(1.0, 1.0, 2), [[7]])
    assert (response.truncated, len(response.token_ids)) == (True, 2)


def test_no_prompts_no_responses(fake: FakeVllm, tmp_path: Path):
    assert ask(make(fake, tmp_path), [], []) == []


def test_a_groups_picture_travels_once(fake: FakeVllm, tmp_path: Path):
    seeds = [[1, 2, 3], [4, 5, 6]]
    responses = ask(make(fake, tmp_path), [seeing_prompt("a"), seeing_prompt("bb")], seeds)
    assert [r.token_ids for r in responses] == [expected(seed) for group in seeds for seed in group]
    bodies = [body for path, body in fake.asked if path.endswith("generate")]
    brought = [body["features"]["kwargs_data"]["image"][0] for body in bodies]
    assert (len(bodies), sum(data is not None for data in brought)) == (8, 2)
    assert bodies[0]["features"]["mm_placeholders"] == {"image": [{"offset": 1, "length": 4}]}
    assert len({body["features"]["mm_hashes"]["image"][0] for body in bodies}) == 2
    assert all(body["sampling_params"]["max_tokens"] == 1 for body, data in zip(bodies, brought, strict=True) if data)


def test_a_picture_that_the_server_dropped_is_sent_again(fake: FakeVllm, tmp_path: Path):
    fake.forgets_pictures = True
    responses = ask(make(fake, tmp_path), [seeing_prompt("a")], [[1, 2]])
    assert [r.token_ids for r in responses] == [expected(1), expected(2)]


def test_a_single_response_needs_one_request(fake: FakeVllm, tmp_path: Path):
    ask(make(fake, tmp_path), [seeing_prompt("a")], [[1]])
    assert fake.paths().count("/inference/v1/generate") == 1


# --- weights -----------------------------------------------------------------------------------------------------------


def test_serving_hands_the_weights_over_and_drops_every_cache(fake: FakeVllm, tmp_path: Path):
    policy, engine = Policy(), make(fake, tmp_path)
    with engine.serving(policy):
        pass
    assert fake.weights["model.language_model.norm.weight"].tolist() == [1.0] * 4
    assert fake.paths() == [
        "/collective_rpc", "/reset_prefix_cache", "/reset_mm_cache", "/reset_encoder_cache", "/update_weight_version",
        "/weight_checker",
    ]  # fmt: skip
    policy.fill = 3.0
    first = fake.version
    with engine.serving(policy):
        pass
    assert fake.weights["model.language_model.norm.weight"].tolist() == [3.0] * 4
    assert fake.version not in (first, "default")
    assert not list(tmp_path.iterdir())  # the handed-over files are gone


def test_weights_go_in_files_of_the_bucket_size(fake: FakeVllm, tmp_path: Path):
    engine = make(fake, tmp_path, bucket_mb=0)  # every tensor fills a bucket
    with engine.serving(Policy()):
        assert len(fake.weights) == 3


def test_a_server_that_keeps_old_weights_is_found_out(fake: FakeVllm, tmp_path: Path):
    policy, engine = Policy(), make(fake, tmp_path)
    ask(engine, [text_prompt("a")], [[1]], policy)
    fake.ignores_weights, policy.fill = True, 4.0
    with pytest.raises(EngineError, match="does not hold the weights that were pushed: language_model"):
        ask(engine, [text_prompt("a")], [[1]], policy)


def test_a_restarted_server_gets_the_weights_again(fake: FakeVllm, tmp_path: Path):
    fake.trouble = ["restart"]
    responses = ask(make(fake, tmp_path), [text_prompt("a"), text_prompt("b")], [[1, 2], [3, 4]])
    assert [r.token_ids for r in responses] == [expected(seed) for seed in (1, 2, 3, 4)]
    assert fake.paths().count("/collective_rpc") == 2
    assert fake.version != "default"


@pytest.mark.parametrize("path", ["/reset_mm_cache", "/update_weight_version", "/weight_checker"])
def test_a_server_restarted_after_it_got_its_weights(fake: FakeVllm, tmp_path: Path, path: str):
    policy, engine = Policy(), make(fake, tmp_path)
    fake.forgets = (path, 2)
    for fill in (1, 2, 3):
        policy.fill = float(fill)
        assert [r.token_ids for r in ask(engine, [text_prompt("a")], [[1]], policy)] == [expected(1, fill)]
    assert fake.paths().count("/collective_rpc") == 4


def test_what_a_mended_server_still_samples_is_of_no_use(fake: FakeVllm, tmp_path: Path):
    engine = make(fake, tmp_path)
    with engine.serving(Policy()):
        fake.restart()
        fake.busy = True  # another rank has not noticed yet
        (response,) = engine.generate([text_prompt("a")], SAMPLING, [[11]])
    assert response.token_ids == expected(11)
    assert fake.paths().count("/abort_requests") == 1


def test_a_server_under_training_serves_one_training(fake: FakeVllm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tracer1.engines._vllm_remote._CACHE_S", 0.2)
    fake.busy = True
    with pytest.raises(EngineError, match="has requests of somebody else"), make(fake, tmp_path).serving(Policy()):
        pass
    assert "/abort_requests" not in fake.paths()


def test_what_another_rank_pushed_is_not_pushed_again(fake: FakeVllm, tmp_path: Path):
    engine = make(fake, tmp_path)
    with engine.serving(Policy()):
        fake.version = "default"
        generate, fake.generate = fake.generate, lambda body: back(FakeVllm.generate(fake, body))

        def back(answer: dict[str, Any]) -> dict[str, Any]:
            fake.version, fake.generate = engine.version, generate
            return answer

        (response,) = engine.generate([text_prompt("a")], SAMPLING, [[11]])
    assert response.token_ids == expected(11)
    assert fake.paths().count("/collective_rpc") == 1


def test_a_server_that_restarts_for_ever_is_an_error(fake: FakeVllm, tmp_path: Path):
    fake.generate = lambda body: {"choices": [_stale(FakeVllm.generate(fake, body))]}
    with pytest.raises(EngineError, match="lost the pushed weights 3 times"):
        ask(make(fake, tmp_path), [text_prompt("a")], [[1]])


def _stale(answer: dict[str, Any]) -> dict[str, Any]:
    return answer["choices"][0] | {"weight_versions": [{"version": "default", "start": 0, "end": 3}]}


def test_a_server_that_was_started_wrongly_is_told_apart(fake: FakeVllm, tmp_path: Path):
    model, device = fake.config["model_config"], fake.config["device_config"]

    def said() -> str:
        with pytest.raises(EngineError) as caught, make(fake, tmp_path).serving(Policy()):
            pass
        return str(caught.value)

    model["dtype"] = "torch.bfloat16"
    assert "it computes in torch.bfloat16, the policy in torch.float32" in said()
    model |= {"dtype": "torch.float32", "multimodal_config": {"mm_device_do_normalize": True}}
    assert "--no-mm-device-do-normalize" in said()
    model["multimodal_config"]["mm_device_do_normalize"] = False
    device["device"] = "cpu"
    assert "--no-enable-chunked-prefill" in said()
    fake.config["scheduler_config"]["enable_chunked_prefill"] = False
    assert "engine.reload=tracer1_reload" in said()
    with make(fake, tmp_path, reload="tracer1_reload").serving(Policy()):
        assert fake.version != "default"


# --- failures ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", [["500"], ["503", "500"], ["cut"], ["cut", "500", "cut"], ["hang"], ["429"]])
def test_a_passing_fault_is_waited_out(fake: FakeVllm, tmp_path: Path, trouble: list[str]):
    fake.trouble = trouble
    (response,) = ask(make(fake, tmp_path, patience_s=10), [text_prompt("a")], [[11]])
    assert response.token_ids == expected(11)


def test_a_server_that_comes_back_is_found_again(fake: FakeVllm, tmp_path: Path):
    engine, policy = make(fake, tmp_path, patience_s=10), Policy()
    with engine.serving(policy):
        port = fake.http.server_port
        fake.stop()

        def come_back() -> None:
            time.sleep(0.6)
            fake.restart()
            fake.start(port)

        thread = threading.Thread(target=come_back)
        thread.start()
        (response,) = engine.generate([text_prompt("a")], SAMPLING, [[11]])
        thread.join()
    assert response.token_ids == expected(11)
    assert fake.paths().count("/collective_rpc") == 2  # it came back with other weights


def test_a_server_that_is_gone_for_good_ends_in_bounded_time(fake: FakeVllm, tmp_path: Path):
    engine = make(fake, tmp_path, patience_s=1.0, concurrency=2)
    prompts = [text_prompt(str(i)) for i in range(40)]
    with engine.serving(Policy()):
        fake.stop()
        began = time.monotonic()
        with pytest.raises(EngineError, match=r"did not answer /inference/v1/generate for 1 s.*ckpt_path=last"):
            engine.generate(prompts, SAMPLING, [[1, 2]] * 40)
        assert time.monotonic() - began < 4
    fake.start()


def test_a_server_that_hangs_ends_in_bounded_time(fake: FakeVllm, tmp_path: Path):
    fake.trouble, fake.hang_s = ["hang"] * 100, 2.0
    engine = make(fake, tmp_path, answer_s=0.2, patience_s=0.8)
    began = time.monotonic()
    with pytest.raises(EngineError, match="did not answer"):
        ask(engine, [text_prompt("a")], [[1]])
    assert time.monotonic() - began < 5


def test_a_refusal_is_told_at_once(fake: FakeVllm, tmp_path: Path):
    fake.trouble = ["400"]
    began = time.monotonic()
    with pytest.raises(Refused, match=r"refused /inference/v1/generate \(400\).*the engine says no"):
        ask(make(fake, tmp_path, patience_s=60), [text_prompt("a")], [[1]])
    assert time.monotonic() - began < 5


def test_a_server_without_development_routes_is_told_apart(fake: FakeVllm, tmp_path: Path):
    engine = make(fake, tmp_path)
    engine.pool.servers[0].http.url += "/v1"  # every path is now unknown
    with pytest.raises(EngineError, match=r"404.*VLLM_SERVER_DEV_MODE=1"), engine.serving(Policy()):
        pass


def test_a_given_up_response_is_an_error(fake: FakeVllm, tmp_path: Path):
    fake.generate = lambda body: json.loads(json.dumps(FakeVllm.generate(fake, body)).replace('"stop"', '"abort"'))
    with pytest.raises(EngineError, match=r"gave up on a response to 'a' \(abort\)"):
        ask(make(fake, tmp_path), [text_prompt("a")], [[1]])
