"""Stage 3: what a round of episodes is made of, what is compared with what, and that it repeats itself."""

import random
from dataclasses import replace

import pytest
import torch
from toy_episodes import SIZE, PlanEngine, make_episodes

from tracer1.algorithms.objective import Objective
from tracer1.errors import ConfigError, ExecutorError
from tracer1.parsing import format_plan, parse_plan
from tracer1.plan_act.episode import Job
from tracer1.rewards import build_reward
from tracer1.rewards.episode_score import episode_score
from tracer1.schema import NOT_DONE, Action, Outcome, PlanStep, Response, Rollout, Step
from tracer1.training.balancing import padded_tokens
from tracer1.training.episodes import EpisodeGroup, Played, SeededTasks, executed_part
from tracer1.training.groups import Group
from tracer1.training.round_rules import FaultLimit, Overlong, RoundRules


@pytest.fixture
def episodes(policy, reference):
    """`episodes(tasks=..., objective=...)`: an EpisodeStream of small parts, see `toy_episodes.make_episodes`."""
    return lambda **changes: make_episodes(policy, reference, **changes)


def played(stream) -> list[EpisodeGroup]:
    """The groups of a round, as they were trained on."""
    kept = []
    compared = stream._compared

    def keep(groups, batches):
        kept.extend(compared(groups, batches))
        return kept

    stream._compared = keep
    stream.batches = list(stream)
    return kept


# --- what is trained on --------------------------------------------------------------------------------------------------


def test_all_turns_of_an_episode_carry_its_advantage(episodes):
    stream = episodes()
    groups = played(stream)
    assert [len(group.episodes) for group in groups] == [3] * 4
    assert any(len(episode.turns) == 3 for group in groups for episode in group.episodes)
    for group, batch in zip(groups, stream.batches, strict=True):
        rewards = torch.tensor([episode.reward for episode in group.episodes], dtype=torch.float64)
        wanted = (rewards - rewards.mean()) / (rewards.std() + 1e-6)  # method, section 4: over episodes, not over turns
        rows = [float(a) for a, episode in zip(wanted, group.episodes, strict=True) for _ in episode.turns]
        assert batch.advantages.tolist() == pytest.approx(rows, abs=1e-6)
        assert len(batch.responses.mask) == len(batch.prompts.input_ids) == len(rows)
        turns = [turn for episode in group.episodes for turn in episode.turns]
        assert batch.responses.mask.sum(1).tolist() == [len(t.rollouts[0].response.token_ids) for t in turns]
        assert [turn.rollouts[0].advantage for turn in turns] == pytest.approx(rows, abs=1e-6)


def test_the_reward_of_an_episode_is_the_mean_over_its_turns(episodes):
    for group in played(episodes()):
        for episode in group.episodes:
            lengths = [len(turn.rollouts[0].response.token_ids) / 10 for turn in episode.turns]
            assert episode.terms["score"] == episode.score
            assert episode.terms["length"] == pytest.approx(sum(lengths) / len(lengths))
            assert episode.reward == pytest.approx(episode.score + sum(lengths) / len(lengths))


def test_a_plan_that_cannot_be_read_loses_its_turn_and_is_trained_on(episodes):
    stream = episodes()
    groups = played(stream)
    lost = [
        turn
        for group in groups
        for episode in group.episodes
        for turn in episode.turns
        if turn.rollouts[0].outcome.error
    ]
    assert lost  # else the engine's nonsense was sampled again, as at inference
    assert sum(e.lost for g in groups for e in g.episodes) == len(lost)
    assert stream.figures["episode/lost"] == pytest.approx(len(lost) / 12)


def test_the_prompts_of_a_round_are_those_that_were_answered(episodes):
    stream = episodes()
    groups = played(stream)
    asked = [seed for batch in stream.engine.batches for _, seed in batch]
    turns = [turn for group in groups for turn in group.rows]
    assert sorted(turn.seeds[0] for turn in turns) == sorted(asked)
    assert all(stream.engine.answer(turn.seeds[0]) == turn.rollouts[0].response for turn in turns)


def test_a_prompt_that_episodes_share_is_asked_once(episodes):
    stream = episodes(parallel=6)
    list(stream)
    first = stream.engine.batches[:4]  # six episodes begin: two tasks, three of each; four plans at most in one call
    assert [len({key for key, _ in batch}) for batch in first[:2]] == [1, 1]
    assert [len(batch) for batch in first[:2]] == [3, 3]


def test_kl_in_the_reward_is_taken_off_the_episode(episodes, policy, reference, monkeypatch):
    stream = episodes(objective=Objective(kl_in="reward", kl_coef=0.5))
    monkeypatch.setattr(
        Objective, "kl_penalty", lambda self, old, ref, mask: mask.sum(1).double()
    )  # a nat for each token
    for group, batch in zip(played(stream), stream.batches, strict=True):
        tokens = [sum(len(t.rollouts[0].response.token_ids) for t in e.turns) for e in group.episodes]
        rewards = torch.tensor([e.reward - n for e, n in zip(group.episodes, tokens, strict=True)], dtype=torch.float64)
        wanted = (rewards - rewards.mean()) / (rewards.std() + 1e-6)
        rows = [float(a) for a, episode in zip(wanted, group.episodes, strict=True) for _ in episode.turns]
        assert batch.advantages.tolist() == pytest.approx(rows, abs=1e-5)


def test_the_denominator_counts_the_tokens_of_an_update(episodes):
    stream = episodes()
    batches = list(stream)
    assert len(batches) == len(stream) == 4
    for update in (batches[:2], batches[2:]):
        assert [b.denominator for b in update] == [sum(int(b.responses.mask.sum()) for b in update)] * 2


def test_overlong_responses_cost_their_episode(episodes):
    plain, shaped = episodes(), episodes(rules=RoundRules(overlong=Overlong(6, 1.0, 8)))
    for one, other in zip(played(plain), played(shaped), strict=True):
        for a, b in zip(one.episodes, other.episodes, strict=True):
            over = [max(0, len(t.rollouts[0].response.token_ids) - 2) / 6 for t in a.turns]
            assert b.reward == pytest.approx(a.reward - sum(over) / len(over))
            assert b.terms["overlong"] == pytest.approx(-sum(over) / len(over))


# --- credit --------------------------------------------------------------------------------------------------------------

CLICK, WAIT = (
    PlanStep(Action("click", "there", point=(1.0, 2.0)), NOT_DONE, "a"),
    PlanStep(Action("wait", "wait"), NOT_DONE, "b"),
)


def turn_of(text: str, outcome: Outcome | None = None) -> Group:
    response = Response(text, tuple(map(ord, text)), tuple(-0.1 * i for i in range(len(text))))
    step = Step("k", "e", "t", 0, "do", None, (), ())
    return Group(step, None, (1,), (Rollout(step, response, parse_plan(text), outcome or Outcome()),))


def credited(turn: Group) -> str:
    (rollout,) = executed_part(turn, lambda ids: "".join(map(chr, ids))).rollouts
    assert rollout.response.logprobs == turn.rollouts[0].response.logprobs[: len(rollout.response.token_ids)]
    return "".join(map(chr, rollout.response.token_ids))


def test_only_what_was_executed_carries_the_advantage():
    assert credited(turn_of(format_plan([CLICK, WAIT], 3))) == format_plan([CLICK], 3).removesuffix("</answer>")
    for whole in (
        format_plan([CLICK], 3),
        format_plan([CLICK, WAIT]) + "more",
        format_plan([CLICK, WAIT]).replace('"b"', "b"),
    ):
        assert credited(turn_of(whole)) == whole  # nothing else to cut, or what follows may be at fault
    assert credited(turn_of(format_plan([CLICK, WAIT]), Outcome(error="no"))) == format_plan([CLICK, WAIT])


def test_what_is_not_credited_is_in_no_batch_and_in_no_denominator(episodes, policy, monkeypatch):
    monkeypatch.setattr("tracer1.training.online.executed_part", half)
    whole, cut = episodes(), episodes(credit="first_step")
    groups, batches = played(cut), cut.batches
    assert rollouts(groups) == rollouts(
        played(whole)
    )  # what was played, its advantages and its figures are of whole responses
    for name in ("reward/total", "rollout/response_length", "episode/score"):
        assert cut.figures[name] == whole.figures[name]
    wanted = [[(len(t.rollouts[0].response.token_ids) + 1) // 2 for t in group.rows] for group in groups]
    assert [batch.responses.mask.sum(1).tolist() for batch in batches] == wanted
    assert batches[0].denominator == sum(map(sum, wanted[:2]))


@pytest.mark.parametrize("credit", ["plan", "first_step"])
def test_ranks_are_balanced_by_what_is_trained_on(episodes, monkeypatch, credit: str):
    seen = []
    monkeypatch.setattr("tracer1.training.online.executed_part", half)
    monkeypatch.setattr("tracer1.training.rounds.balance", lambda groups, costs, _: seen.extend(costs) or (groups, {}))
    stream = episodes(credit=credit)
    groups = played(stream)
    stream._balanced(groups)
    kept = [[half(turn, None) if credit == "first_step" else turn for turn in group.rows] for group in groups]
    assert seen == [padded_tokens(rows) for rows in kept]
    assert all(seen)


def rollouts(groups: list[EpisodeGroup]) -> list[Rollout]:
    return [turn.rollouts[0] for group in groups for turn in group.rows]


def half(turn: Group, decode: object) -> Group:
    (rollout,) = turn.rollouts
    response = rollout.response
    keep = (len(response.token_ids) + 1) // 2
    cut = replace(response, token_ids=response.token_ids[:keep], logprobs=response.logprobs[:keep])
    return replace(turn, rollouts=(replace(rollout, response=cut),))


# --- faults --------------------------------------------------------------------------------------------------------------


def test_faults_are_masked_and_ranks_still_do_the_same_number_of_passes(episodes, policy):
    stream = episodes(tasks=("long", "dies"), rules=RoundRules(faults=FaultLimit(0.6)))
    groups = played(stream)
    died = [all(episode.masked and not episode.turns for episode in group.episodes) for group in groups]
    assert sum(died) == 2
    assert stream.figures["executor/infra_errors"] == 6
    assert stream.figures["episode/score"] == pytest.approx(
        sum(e.score for g in groups for e in g.episodes if not e.masked) / 6
    )
    assert len(stream.batches) == 4
    for batch, empty in zip(stream.batches, died, strict=True):
        assert (int(batch.responses.mask.sum()) == 0) == empty
        if empty:
            loss = policy.objective.reduce(torch.zeros_like(batch.responses.mask), batch.responses.mask, 1.0, 1)
            assert float(loss) == 0.0
            logprobs = policy.logprobs(policy.prepared(batch.prompts), batch.responses)
            assert torch.isfinite(logprobs).all()


def test_too_many_faults_stop_the_run_with_one_line(episodes):
    with pytest.raises(
        ExecutorError, match=r"6 of 12 episodes met a fault .*max_faults=0\.2 allows; 6 times: The page is gone"
    ):
        list(episodes(tasks=("long", "dies")))


def test_a_group_with_a_fault_is_compared_without_it():
    one = [Played(Job("a", 0), reward=r) for r in (1.0, None, 1.0)]
    assert EpisodeGroup(tuple(one)).tied
    assert not EpisodeGroup((*one, Played(Job("a", 0), reward=0.5))).tied


def test_no_prompt_fits(episodes, policy):
    stream = episodes()
    policy.encoder.max_prompt_tokens = 5
    with pytest.raises(ConfigError, match=r"All prompts of round 1 had more than 5 tokens\. Raise model.prompt"):
        list(stream)


# --- which tasks come next -----------------------------------------------------------------------------------------------


def test_every_lap_has_every_task_once_with_another_seed():
    tasks = SeededTasks(["a", "b", "c"], range(10**6), 1)
    jobs = [tasks.job(number) for number in range(300)]
    assert all({job.task for job in jobs[lap : lap + 3]} == {"a", "b", "c"} for lap in range(0, 300, 3))
    assert len({tuple(job.task for job in jobs[lap : lap + 3]) for lap in range(0, 300, 3)}) == 6  # all orders
    assert len({job.seed for job in jobs}) > 295
    assert all(0 <= job.seed < 10**6 for job in jobs)
    assert jobs == [tasks.job(number) for number in range(300)]
    assert jobs != [SeededTasks(["a", "b", "c"], range(10**6), 2).job(number) for number in range(300)]
    assert SeededTasks(["a"], [7, 9], 1).job(4).seed in (7, 9)


def test_ranks_take_their_own_tasks(episodes):
    alone = episodes(size=replace(SIZE, prompts_per_round=8, prompts_per_update=4))
    shared = [episodes(place=(rank, 2)) for rank in (0, 1)]
    jobs = [{episode.job for group in played(stream) for episode in group.episodes} for stream in (alone, *shared)]
    assert jobs[0] == jobs[1] | jobs[2]
    assert not jobs[1] & jobs[2]


def test_dynamic_sampling_plays_other_tasks_for_groups_without_signal(episodes):
    stream = episodes(rules=RoundRules(max_draws=3))
    groups = played(stream)
    assert len(groups) == 4
    assert not any(group.tied for group in groups)


# --- it repeats itself ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parallel", [1, 5])
def test_lockstep_repeats_itself_however_fast_the_pages_are(episodes, parallel: int):
    first = episodes(slow=random.Random(1), parallel=parallel)
    again = episodes(slow=random.Random(2), parallel=parallel)
    for _ in range(2):
        for one, other in zip(first, again, strict=True):
            assert torch.equal(one.responses.input_ids, other.responses.input_ids)
            assert torch.equal(one.advantages, other.advantages)
            assert torch.equal(one.prompts.input_ids, other.prompts.input_ids)
    assert (
        first.engine.batches == again.engine.batches
    )  # the very same batches: what is beside a prompt rounds its numbers
    assert all(len(batch) <= 4 for batch in first.engine.batches)
    assert max(map(len, first.engine.batches)) == min(parallel, 4)


def test_without_lockstep_the_responses_are_the_same_in_other_batches(episodes):
    first, again = episodes(lockstep=False, slow=random.Random(1)), episodes(slow=random.Random(2))
    for one, other in zip(first, again, strict=True):
        assert torch.equal(one.responses.input_ids, other.responses.input_ids)


def test_a_round_goes_on_from_its_position(episodes):
    whole, cut = episodes(), episodes()
    list(whole)
    list(cut)
    resumed = episodes()
    resumed.restore(cut.position())
    for one, other in zip(whole, resumed, strict=True):
        assert torch.equal(one.responses.input_ids, other.responses.input_ids)
    assert resumed.position() == whole.position()


def test_rounds_have_other_noise(episodes):
    stream = episodes()
    list(stream)
    list(stream)
    seeds = [seed for batch in stream.engine.batches for _, seed in batch]
    assert len(seeds) == len(set(seeds))


# --- the reward ----------------------------------------------------------------------------------------------------------


def rollout(outcome: Outcome | None) -> Rollout:
    step = Step("k", "episode", "k", 0, "go", None, (), ())
    return Rollout(step, Response("", (), ()), outcome=outcome)


@pytest.mark.parametrize(
    ("score", "least", "reward"), [(1.0, 0.0, 1.0), (-1.0, 0.0, 0.0), (-1.0, -1.0, -1.0), (0.25, 0.0, 0.25)]
)
def test_a_wrong_answer_may_be_no_worse_than_none(score: float, least: float, reward: float):
    assert episode_score(rollout(Outcome(score=score)), least=least) == reward


@pytest.mark.parametrize("outcome", [None, Outcome()])
def test_recorded_steps_have_no_score(outcome: Outcome | None):
    with pytest.raises(ConfigError, match=r"'episode_score' is about episodes.*stage3_online"):
        build_reward({"episode_score": {"weight": 1.0}})(rollout(outcome))


def test_an_empty_share_is_served_all_the_same(episodes):
    engine = PlanEngine()
    stream = episodes(engine=engine)
    assert stream._drawn_groups(0) == []
    assert engine.served == 1  # weights may be gathered there, on all ranks
