"""Many episodes: the order of results, who plays what, batches, the same actions whatever the batches, faults and interrupts."""

import threading
from collections.abc import Sequence
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from toy_square import Notes, ScriptedPlanner, SquareWorld, click, goal_of, plan_to_goal

from tracer1.engines.rollout_file import rollout_seed
from tracer1.errors import DataError, EngineError
from tracer1.executors.direct import DirectExecutor
from tracer1.interfaces import Sampling
from tracer1.parsing import format_plan
from tracer1.plan_act.episode import Job, Rules
from tracer1.plan_act.planner import SharedPlanner
from tracer1.plan_act.side_by_side import play_all
from tracer1.schema import Prompt, Response, Step


class SeededEngine:
    """Plans a click whose place is drawn from the seed; notes its batches and the thread."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.threads: set[int] = set()
        self.seeds: list[int] = []
        self.serves = False

    @contextmanager
    def serving(self, policy):
        self.serves = True
        yield
        self.serves = False

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[Sequence[int]]) -> list[Response]:
        assert self.serves
        self.batches.append(len(prompts))
        self.threads.add(threading.get_ident())
        self.seeds += [seed for (seed,) in seeds]
        places = [((seed % 997) * 1000 // 997, (seed % 991) * 1000 // 991) for (seed,) in seeds]
        return [Response(format_plan([click(place)]), (), ()) for place in places]


def encode(step: Step) -> Prompt | None:
    if step.instruction == "too long":
        return None
    if step.screenshot == b"broken":
        raise DataError("its screenshot does not decode")
    return Prompt(step.key, (1,), {})


POLICY = SimpleNamespace(encoder=SimpleNamespace(encode=encode))
JOBS = [Job("endless", seed) for seed in range(7)]
RULES = Rules(max_steps=4)


def shared(engine=None, **more) -> SharedPlanner:
    return SharedPlanner(POLICY, engine or SeededEngine(), Sampling(), **{"seed": 1, **more})


def actions(notes: Notes) -> dict[Job, list]:
    return {episode.job: [turn.action.point for turn in episode.turns] for episode in notes.episodes}


def run(jobs=JOBS, count=3, planner=None, rules=RULES, worlds=None):
    worlds, notes = worlds or [SquareWorld() for _ in range(count)], Notes()
    results = play_all(jobs, worlds, planner or shared(), DirectExecutor(), rules, [notes])
    return results, notes, worlds


def test_results_come_in_the_order_of_the_jobs_and_none_is_lost():
    jobs = [Job(task, seed) for seed in range(5) for task in ("reach", "crash-1", "endless")]
    results, notes, worlds = run(jobs, 4, ScriptedPlanner(), Rules(restarts=1))
    assert [result.job for result in results] == jobs
    assert all(result.end == "done" and result.score == 1.0 for result in results)
    assert sum(bool(result.faults) for result in results) == sum("crash-1" in world.crashed for world in worlds) >= 1
    assert len(notes.episodes) == len(jobs) + sum(len(result.faults) for result in results)


def test_actions_do_not_depend_on_how_many_are_played_side_by_side():
    found = [actions(run(count=count, planner=shared(at_most=most))[1]) for count, most in ((1, 64), (3, 64), (7, 2))]
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == 7
    places = [place for episode in found[0].values() for place in episode]
    assert len(set(places)) > 20  # each episode and step has its own noise


def test_seeds_are_made_of_run_task_episode_step_and_attempt():
    engine = SeededEngine()
    run([Job("endless", 5), Job("endless", 5, sample=1)], 1, shared(engine, seed=9), Rules(max_steps=2))
    places = [("endless", 5, sample, turn) for sample in (0, 1) for turn in (1, 2)]
    assert engine.seeds == [rollout_seed(9, "act", *place, 0) for place in places]


def test_a_retried_plan_has_other_noise():
    class Stumbling(SeededEngine):
        def generate(self, prompts, sampling, seeds):
            made = super().generate(prompts, sampling, seeds)
            return made if len(self.seeds) % 2 == 0 else [Response("nothing", (), ())]

    engine = Stumbling()
    run([Job("endless", 1)], 1, shared(engine), Rules(max_steps=2))
    assert len(set(engine.seeds)) == 4


def test_no_environment_is_used_by_two_threads_and_a_free_one_takes_the_next_job():
    _, _, worlds = run(count=3)
    assert all(len(world.threads) <= 1 for world in worlds)
    assert sum(len(world.resets) for world in worlds) == 7


def test_plans_of_many_episodes_are_sampled_in_one_call_at_most_so_many():
    engine, gather = SeededEngine(), threading.Barrier(6)

    class Slow(SquareWorld):
        def step(self, action):
            gather.wait(10)  # all six are ready at the same moment
            return super().step(action)

    jobs = [Job("endless", seed) for seed in range(6)]
    run(jobs, planner=shared(engine, at_most=4), worlds=[Slow() for _ in range(6)])
    assert sum(engine.batches) == 6 * 4
    assert max(engine.batches) <= 4
    assert len(engine.batches) < 6 * 4
    assert engine.threads == {threading.get_ident()}  # the engine works in the caller's thread


def test_nobody_waits_for_a_slow_environment():
    done, release = [], threading.Event()

    class Slow(SquareWorld):
        def reset(self, task, seed):
            assert release.wait(20)
            return super().reset(task, seed)

    class Frees(Notes):
        def ended(self, episode):
            done.append(episode.job.seed)
            if len(done) == 6:
                release.set()

    play_all(JOBS, [Slow(), SquareWorld()], shared(), DirectExecutor(), RULES, [Frees()])
    assert len(done) == 7


def test_a_prompt_that_is_too_long_loses_steps_and_asks_no_engine():
    class Wordy(SquareWorld):
        def reset(self, task, seed):
            return "too long", super().reset(task, seed)[1]

    engine = SeededEngine()
    ((result,), notes, _) = run([Job("endless", 1)], planner=shared(engine), worlds=[Wordy()])
    assert (result.end, result.lost, engine.batches) == ("lost", 3, [])
    assert "max_prompt_tokens" in notes.episodes[0].turns[0].tries[0].error


def test_a_screenshot_that_is_no_picture_is_the_environments_fault():
    class Blind(SquareWorld):
        def _look(self):
            from tracer1.interfaces import Observation

            return Observation(b"broken")

    ((result,), _, _) = run([Job("endless", 1)], worlds=[Blind()], rules=Rules(restarts=0))
    assert result.end == "fault"
    assert "does not decode" in result.fault


def test_a_dead_engine_ends_the_run_with_its_error():
    class Dead(SeededEngine):
        def generate(self, prompts, sampling, seeds):
            raise EngineError("the engine died")

    with pytest.raises(EngineError, match="the engine died"):
        run(planner=shared(Dead()))


def test_an_interrupt_ends_all_threads_and_is_passed_on():
    class Interrupted(SeededEngine):
        def generate(self, prompts, sampling, seeds):
            if len(self.batches) == 3:
                raise KeyboardInterrupt
            return super().generate(prompts, sampling, seeds)

    notes = Notes()
    with pytest.raises(KeyboardInterrupt):
        play_all(JOBS, [SquareWorld() for _ in range(3)], shared(Interrupted()), DirectExecutor(), RULES, [notes])
    told = len(notes.turns)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("episodes-")]
    assert len(notes.turns) == told >= 1


def test_a_bug_in_a_watcher_is_not_swallowed():
    class Broken(Notes):
        def turned(self, episode, turn):
            raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        play_all(JOBS, [SquareWorld()], ScriptedPlanner(), DirectExecutor(), RULES, [Broken()])


def test_more_environments_than_jobs_and_no_jobs_at_all():
    assert len(run([Job("endless", 1)], 4)[0]) == 1
    assert run([], 2)[0] == []


def test_toy_plan_reaches_its_goal():
    step = Step("k", "d", "t", 0, "Bring the square to 1, 2.", None, (), ())
    assert goal_of(step) == (1.0, 2.0)
    assert plan_to_goal(step, 0).count("Step ") == 2
