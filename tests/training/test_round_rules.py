"""Dynamic sampling, overlong shaping, the log-prob gate and the dump."""

import logging
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from toy_loop import FakeEngine, FakeSteps
from toy_run import toy_trajectory

from tracer1.engines.rollout_file import read_rollouts
from tracer1.errors import ConfigError, DataError, TrainingDiverged
from tracer1.interfaces import Sampling
from tracer1.schema import Response, Rollout
from tracer1.tracking.metric_names import check_names
from tracer1.training.overrides import CONF, check_overrides
from tracer1.training.round_rules import LogprobGate, Overlong, RoundRules

DYNAMIC = RoundRules(max_draws=3)
ROLLOUT = {"dump": None, "max_faults": 0.2, "staleness": 0}


def tied_for(*names: str, value: float = 0.5):
    """A reward that is the same for all responses to these toy steps, and the response's length for others."""

    def reward(rollout: Rollout) -> tuple[float, dict[str, float]]:
        dull = any(rollout.step.key.startswith(f"toy-{name}-") for name in names)
        length = float(len(rollout.response.token_ids))
        return (value if dull else length + 0.001 * (rollout.response.token_ids[0])), {"length": length}

    return reward


# --- dynamic sampling --------------------------------------------------------------------------------------------------------


def test_groups_without_signal_are_replaced(make):
    """Of steps s0 to s5 s1 and s2 teach nothing: s0 s3 of the first draw, s4 s5 of the second."""
    stream = make(rules=DYNAMIC, reward=tied_for("s1", "s2"))
    batches = list(stream)
    asked = [[prompt.key for prompt in asked[0]] for asked in stream.engine.asked]
    assert asked == [["toy-s0-000", "toy-s1-000", "toy-s2-000", "toy-s3-000"], ["toy-s4-000", "toy-s5-000"]]
    assert len(batches) == 4
    assert all(batch.advantages.abs().sum() > 0 for batch in batches)
    assert stream.figures["rollout/dropped_groups"] == 2
    assert stream.figures["rollout/ties"] == pytest.approx(2 / 6)
    check_names(stream.figures)


def test_what_no_draw_finds_is_filled_up_with_ties(make):
    """Only s0 teaches anything, and it comes once in three draws of 4, 3 and 3 prompts (s6 is too long, s0 comes again)."""
    stream = make(rules=DYNAMIC, reward=tied_for("s1", "s2", "s3", "s4", "s5"))
    batches = list(stream)
    asked = [len(asked[0]) for asked in stream.engine.asked]
    assert asked == [4, 3, 2]  # of the second draw's s4, s5, s0 the last is a second one with a signal
    tied = [bool((batch.advantages == 0).all()) for batch in batches]
    assert tied == [False, False, True, True]
    assert stream.figures["rollout/dropped_groups"] == 9 - 4
    assert stream.figures["rollout/ties"] == pytest.approx(7 / 9)


def test_a_full_round_is_not_drawn_again(make):
    stream = make(rules=DYNAMIC, reward=tied_for())
    list(stream)
    assert len(stream.engine.asked) == 1
    assert stream.figures["rollout/dropped_groups"] == 0


def test_figures_show_the_policy_as_it_is_and_not_the_chosen_groups(make):
    stream = make(rules=DYNAMIC, reward=tied_for("s1", "s2", value=0.0))
    list(stream)
    lengths = [len(FakeEngine.answer(seed).token_ids) for asked in stream.engine.asked for g in asked[2] for seed in g]
    assert len(lengths) == 6 * 3
    assert stream.figures["rollout/response_length"] == pytest.approx(sum(lengths) / 18)


def test_a_step_that_comes_again_in_a_round_is_answered_with_other_noise(make):
    steps = FakeSteps()
    steps.steps = [toy_trajectory("only", 1, 1)[0]]
    stream = make(steps=steps, rules=DYNAMIC, reward=lambda rollout: (0.0, {}))
    list(stream)
    seeds = [seed for asked in stream.engine.asked for group in asked[2] for seed in group]
    assert len(seeds) == len(set(seeds)) == 3 * 4 * 3


def test_dynamic_sampling_goes_on_where_it_stood(make):
    reward = tied_for("s1", "s2", "s4")
    whole, begun, resumed = (make(rules=DYNAMIC, reward=reward) for _ in range(3))
    rounds = [tokens(whole) for _ in range(4)]
    assert [tokens(begun), tokens(begun)] == rounds[:2]
    resumed.restore(begun.position())
    assert [tokens(resumed), tokens(resumed)] == rounds[2:]


def tokens(stream: Any) -> list[list[int]]:
    return [batch.responses.input_ids.flatten().tolist() for batch in stream]


# --- overlong shaping --------------------------------------------------------------------------------------------------------


def test_overlong_responses_lose_some_of_their_reward(make):
    """Lengths 1 to 5 of at most 5, buffer 2: -0.5 at 4 tokens and -1 at 5, weighted by 0.2."""
    rules = RoundRules(overlong=Overlong(buffer=2, penalty=0.2, max_tokens=5))
    stream = make(rules=rules, sampling=Sampling(max_tokens=5), reward=lambda rollout: (0.7, {"x": 0.7}))
    list(stream)
    answers = [FakeEngine.answer(seed) for group in stream.engine.asked[0][2] for seed in group]
    terms = [{4: -0.5, 5: -1.0}.get(len(answer.token_ids), 0.0) for answer in answers]
    assert sum(terms) < 0
    assert stream.figures["reward/overlong"] == pytest.approx(sum(terms) / 12)
    assert stream.figures["reward/total"] == pytest.approx(0.7 + 0.2 * sum(terms) / 12)
    assert stream.figures["reward/x"] == pytest.approx(0.7)


def test_a_buffer_longer_than_a_response_is_refused():
    with pytest.raises(ConfigError, match=r"overlong.buffer=9 is longer than algorithm.sampling.max_tokens=8"):
        Overlong(buffer=9, penalty=1.0, max_tokens=8)


# --- the gate ----------------------------------------------------------------------------------------------------------------


def test_the_gate_warns_and_stops(caplog: pytest.LogCaptureFixture):
    gate = LogprobGate(warn=0.1, stop=0.5)
    with caplog.at_level(logging.WARNING):
        gate.check(0.05, 1)
        assert caplog.messages == []
        gate.check(0.2, 2)
    assert re.search(r"is 0.2 nats per token in round 2, above algorithm.logprob_error_warn=0.1", caplog.messages[0])
    for error in (0.6, math.nan, math.inf):
        with pytest.raises(TrainingDiverged, match=r"in round 3, above algorithm.logprob_error_stop=0.5: .* raise the"):
            gate.check(error, 3)
    LogprobGate().check(math.inf, 1)


def test_a_round_whose_engine_disagrees_is_not_trained_on(make):
    stream = make(rules=RoundRules(gate=LogprobGate(stop=1e-3)))  # the fake engine says -1 for every token
    with pytest.raises(TrainingDiverged, match="in round 1"):
        next(iter(stream))
    assert stream.position()["round"] == 0


def test_what_the_updates_measured_is_looked_at_too(make):
    stream = make(rules=RoundRules(gate=LogprobGate(stop=1.0)))
    stream.round = 7
    stream.figures = {}
    stream.check({"rollout/logprob_error": 0.5})
    with pytest.raises(TrainingDiverged, match="in round 7"):
        stream.check({"rollout/logprob_error": 1.5})
    stream.figures = {"rollout/logprob_error": 0.5}
    stream.check({"rollout/logprob_error": 0.5})


# --- the dump ----------------------------------------------------------------------------------------------------------------


def test_every_response_of_a_round_is_written(make, tmp_path: Path):
    stream = make(rules=replace(DYNAMIC, dump=tmp_path / "new"), reward=tied_for("s1", "s2"))
    batches = list(stream)
    list(stream)
    files = sorted(path.name for path in (tmp_path / "new").iterdir())
    assert files == ["round-000001-rank0.jsonl.gz", "round-000002-rank0.jsonl.gz"]
    first = [record for record in read_rollouts(tmp_path / "new") if record.round == 1]
    assert len(first) == 6 * 3
    trained, dropped = first[:12], first[12:]
    assert [record.advantage for record in dropped] == [None] * 6
    advantages = [advantage for batch in batches for advantage in batch.advantages.tolist()]
    assert [record.advantage for record in trained] == pytest.approx(advantages)
    for record in first:
        assert record.response == FakeEngine.answer(record.seed)
        assert record.i in (0, 1, 2)
    assert {record.key for record in dropped} == {"toy-s1-000", "toy-s2-000"}
    assert "time/dumping_s" in stream.figures
    check_names(stream.figures)


def test_a_dump_is_found_by_its_seeds(make, tmp_path: Path):
    stream = make(rules=RoundRules(dump=tmp_path))
    list(stream)
    by_seed = {record.seed: record.response for record in read_rollouts(tmp_path)}

    class Replay(FakeEngine):
        @staticmethod
        def answer(seed: int) -> Response:
            return by_seed[seed]

    again = make(engine=Replay())
    assert tokens(again) == tokens(make())


def test_a_dump_that_cannot_be_written_says_so(make, tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"cannot be written: .* another rollout.dump"):
        list(make(rules=RoundRules(dump=tmp_path / "file")))


# --- from the config -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def algorithm(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TRACER1_ROOT", str(CONF.parent))
    return lambda *overrides: check_overrides("train", list(overrides))["algorithm"]


def test_rules_of_the_shipped_algorithms(algorithm):
    rules = {name: RoundRules.of(algorithm(f"algorithm={name}"), ROLLOUT) for name in ("grpo", "dapo", "gspo", "rloo")}
    assert rules["grpo"] == rules["gspo"] == rules["rloo"] == RoundRules()
    assert rules["dapo"] == RoundRules(max_draws=4, overlong=Overlong(410, 0.5, 2048))
    own = algorithm("algorithm.logprob_error_warn=0.1", "+algorithm.dynamic_sampling.max_draws=2")
    assert RoundRules.of(own, {**ROLLOUT, "dump": "there"}) == RoundRules(
        2, None, LogprobGate(0.1, None), Path("there")
    )


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["algorithm=dapo", "algorithm.sampling.max_tokens=100"], "algorithm.overlong.buffer=410 is longer than"),
        (["algorithm.logprob_error_warn=2", "algorithm.logprob_error_stop=1"], "it would never warn"),
        (
            ["algorithm=reinforce_pp", "algorithm.dynamic_sampling={max_draws: 2}"],
            "Set algorithm.dynamic_sampling=null.",
        ),
        (["algorithm.old_logprobs=engine", "algorithm.top_p_aware=true"], "algorithm.top_p_aware=true would compare"),
        (["algorithm=rloo", "algorithm.kl_coef=0"], "algorithm.kl_in=reward with algorithm.kl_coef=0"),
        (["algorithm=gspo", "algorithm.average=tokens"], "Set algorithm.average=sequences."),
        (["algorithm=gspo", "algorithm.old_logprobs=engine"], "Set algorithm.old_logprobs=recompute."),
        (["algorithm=reinforce_pp", "algorithm.old_logprobs=first_update_on_policy"], "would save nothing"),
    ],
)
def test_settings_that_make_no_sense_together(algorithm, overrides: list[str], said: str):
    with pytest.raises(ConfigError, match=re.escape(said)):
        RoundRules.of(algorithm(*overrides), ROLLOUT)


def test_a_kl_without_a_gradient_is_warned_of(algorithm, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING):
        RoundRules.of(algorithm("algorithm.kl_kind=k1"), ROLLOUT)
    assert "its gradient is 0 in expectation" in caplog.messages[0]


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("algorithm=dappo", "Did you mean 'dapo'?"),
        ("algorithm.advantages=zscore", "Did you mean 'z_score'?"),
        ("algorithm.old_logprobs=recomputed", "Did you mean 'recompute'?"),
        ("algorithm.kl_kind=k4", "it must be one of k1, k2, k3."),
        ("algorithm.dynamic_sampling={max_draws: 1}", "a whole number of at least 2 for max_draws."),
        ("algorithm.dynamic_sampling={draws: 2}", "it must be null, or all of max_draws."),
        ("algorithm.dynamic_sampling=3", "it must be null, or all of max_draws."),
        ("algorithm.overlong={buffer: 3}", "it must be null, or all of buffer, penalty."),
        ("algorithm.importance_cap=0", "a number above 0."),
        ("algorithm.clip_dual=1", "a number above 1, or null."),
        ("rollout.dumps=x", "Did you mean 'rollout.dump'?"),
    ],
)
def test_a_mistake_in_the_config_is_answered(algorithm, override: str, said: str):
    with pytest.raises(ConfigError, match=re.escape(said)):
        algorithm(override)
