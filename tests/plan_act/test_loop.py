"""One episode: what the planner is shown, what is executed, how it ends, and what becomes of bad plans and faults."""

import pytest
from toy_square import Notes, Refuses, ScriptedPlanner, SquareWorld, click, goal_of, plan_to_goal

from tracer1.errors import ConfigError, ExecutorError
from tracer1.executors.direct import DirectExecutor
from tracer1.parsing import format_plan
from tracer1.plan_act.episode import Episode, Job, Rules
from tracer1.plan_act.side_by_side import play_all
from tracer1.schema import DONE, Action, Outcome, PlanStep


def play(task="reach", planner=None, executor=None, world=None, rules=None, seed=3):
    """The episode of one job, with its result."""
    notes, world = Notes(), world or SquareWorld()
    planner = planner or ScriptedPlanner()
    (result,) = play_all([Job(task, seed)], [world], planner, executor or DirectExecutor(), rules or Rules(), [notes])
    return result, notes.episodes[-1], planner


def test_the_first_step_of_each_plan_is_executed_and_nothing_else():
    world = SquareWorld()
    result, episode, planner = play(world=world)
    assert [action.point for action in world.done] == [(500.0, 500.0), goal_of(planner.asked[0][0])]
    assert (result.end, result.score, result.steps, result.lost) == ("done", 1.0, 2, 0)
    assert [turn.number for turn in episode.turns] == [1, 2]
    assert [len(turn.tries[0].rollout.plan.steps) for turn in episode.turns] == [2, 1]


def test_the_planner_is_shown_the_new_screenshot_and_what_was_done():
    _, episode, planner = play()
    first, second = (step for step, _ in planner.asked)
    assert first.history == ()
    assert first.index == 0
    assert first.screenshot != second.screenshot == episode.turns[1].step.screenshot
    assert second.index == 1
    assert second.instruction == first.instruction == episode.instruction
    (past,) = second.history
    assert (past.action.action_type, past.action.step_instruction) == ("click", "click the middle")
    assert (past.screenshot_abstraction, past.number, past.status) == ("a red square", 1, "not done")
    assert second.platform == "web"
    assert first.meta == {"task": "reach", "seed": 3, "sample": 0, "turn": 1}


def test_history_is_cut_at_its_limit_but_numbers_go_on():
    def wander(step, attempt):
        return format_plan([click((100.0 + step.index, 100.0), f"click {step.index}")], step.index + 1)

    _, _, planner = play("endless", ScriptedPlanner(wander), rules=Rules(max_steps=5, history=2))
    last = planner.asked[-1][0]
    assert last.index == 4
    assert [past.action.step_instruction for past in last.history] == ["click 2", "click 3"]
    _, _, planner = play("endless", ScriptedPlanner(wander), rules=Rules(max_steps=3, history=0))
    assert planner.asked[-1][0].history == ()


@pytest.mark.parametrize(
    ("step", "end"),
    [
        (click((1.0, 1.0), status=DONE), "done"),
        (PlanStep(Action("finished", "stop")), "done"),
        (PlanStep(Action("call_user", "give up", content="no")), "call_user"),
    ],
)
def test_the_agent_ends_the_episode_by_executing_its_last_step(step, end):
    world = SquareWorld()
    result, _, _ = play("endless", ScriptedPlanner(lambda *_: format_plan([step, click((2.0, 2.0))])), world=world)
    assert (result.end, result.steps, len(world.done)) == (end, 1, 1)
    assert world.done[0].action_type == step.action.action_type  # the environment is told


def test_a_later_done_step_ends_nothing():
    plan = format_plan([click((1.0, 1.0)), click((2.0, 2.0), status=DONE)])
    result, _, _ = play("endless", ScriptedPlanner(lambda *_: plan), rules=Rules(max_steps=4))
    assert (result.end, result.steps) == ("step_limit", 4)


def test_the_environment_ends_the_episode():
    result, _, _ = play(planner=ScriptedPlanner(lambda step, _: format_plan([click(goal_of(step))])))
    assert (result.end, result.score, result.steps) == ("ended", 1.0, 1)


def test_a_bad_plan_is_sampled_once_more():
    def stumble(step, attempt):
        return "no plan at all" if attempt == 0 else plan_to_goal(step, attempt)

    result, episode, planner = play(planner=ScriptedPlanner(stumble))
    assert [attempt for _, attempt in planner.asked] == [0, 1, 0, 1]
    assert (result.end, result.steps, result.lost, result.retried) == ("done", 2, 0, 2)
    assert [one.error for one in episode.turns[0].tries] == ["no <answer> block", ""]


def test_a_twice_bad_plan_loses_the_step_and_nothing_is_done():
    def stumble(step, attempt):
        return "nothing" if step.meta["turn"] == 2 else plan_to_goal(step, attempt)

    world = SquareWorld()
    result, episode, planner = play(planner=ScriptedPlanner(stumble), world=world)
    assert (result.end, result.steps, result.lost, result.retried) == ("done", 2, 1, 1)
    assert [turn.action is None for turn in episode.turns] == [False, True, False]
    assert len(world.done) == 2
    again = planner.asked[-1][0]
    assert again.index == 1  # a lost turn is no executed step, so the plan's numbers do not jump
    assert again.meta["turn"] == 3  # but its noise is another
    assert again.screenshot == episode.turns[1].step.screenshot


def test_too_many_lost_steps_end_the_episode_with_the_environments_score():
    result, _, planner = play(planner=ScriptedPlanner(lambda *_: "nothing"), rules=Rules(max_lost=2))
    assert (result.end, result.score, result.steps, result.lost) == ("lost", -1.0, 0, 2)
    assert len(planner.asked) == 4


def test_lost_steps_count_for_the_step_limit():
    result, _, _ = play(planner=ScriptedPlanner(lambda *_: "nothing"), rules=Rules(max_lost=9, max_steps=3))
    assert (result.end, result.lost) == ("step_limit", 3)


def test_a_readable_later_step_does_not_replace_a_broken_first_one():
    text = (
        '<think>x</think><answer>\nStep 1: {"action": 3}\nStep 2: '
        + format_plan([click((1.0, 1.0))]).split("Step 1: ")[1]
    )
    result, episode, _ = play(planner=ScriptedPlanner(lambda *_: text), rules=Rules(max_lost=1))
    assert result.steps == 0
    assert "the first step cannot be read" in episode.turns[0].tries[0].error


def test_what_the_executor_cannot_execute_is_a_bad_plan():
    plan = format_plan([PlanStep(Action("click", "click without a point"))])
    result, episode, _ = play(planner=ScriptedPlanner(lambda *_: plan), rules=Rules(max_lost=1))
    assert (result.end, result.lost, result.retried) == ("lost", 1, 1)
    assert episode.turns[0].tries[0].error == "click lacks point"
    silent = Refuses(lambda rollout: Outcome())
    result, episode, _ = play(executor=silent, rules=Rules(max_lost=1))
    assert episode.turns[0].tries[0].error == "the executor named no action"


def test_the_executors_action_is_what_is_done_and_told():
    moved = Refuses(lambda rollout: Outcome(action=Action("click", point=(7.5, 8.25))))
    world = SquareWorld()
    _, episode, planner = play("endless", executor=moved, world=world, rules=Rules(max_steps=2))
    assert world.done[0].point == (7.5, 8.25)
    (past,) = planner.asked[1][0].history
    assert (past.action.point, past.action.step_instruction) == ((7.5, 8.25), "click the middle")
    assert episode.turns[0].planned.action.point == (500.0, 500.0)


def dead(rollout):
    raise ExecutorError("nobody listens on port 9")


@pytest.mark.parametrize("executor", [Refuses(dead), Refuses(lambda r: Outcome(fault="nobody listens on port 9"))])
def test_a_fault_of_the_executor_is_no_verdict(executor):
    result, _, _ = play(executor=executor, rules=Rules(restarts=1))
    assert (result.end, result.score, result.fault) == ("fault", None, "nobody listens on port 9")
    assert len(result.faults) == 2


def test_a_crashed_environment_is_no_verdict_and_the_episode_begins_again():
    world = SquareWorld()
    result, episode, planner = play("crash-2", world=world, rules=Rules(max_steps=4, restarts=1))
    assert world.resets == [("crash-2", 3)] * 2
    assert (result.end, result.score, result.fault) == ("done", 1.0, "")
    assert result.faults == ("The square world has crashed; its next reset begins on a whole one.",)
    assert episode.attempt == 1
    assert planner.asked[0][0] == planner.asked[2][0]  # the same noise: nothing is drawn anew for a crash


def test_an_episode_that_always_crashes_is_reported_as_a_fault():
    world = SquareWorld()
    result, _, _ = play("crash-always", world=world, rules=Rules(restarts=2))
    assert (result.end, result.score, result.steps) == ("fault", None, 0)
    assert len(result.faults) == len(world.resets) == 3


def test_a_fault_while_the_score_is_read_is_a_fault():
    class Scoreless(SquareWorld):
        def score(self):
            from tracer1.errors import EnvironmentFault

            raise EnvironmentFault("gone")

    result, _, _ = play(world=Scoreless(), rules=Rules(restarts=0))
    assert (result.end, result.score, result.fault) == ("fault", None, "gone")


def test_a_users_mistake_ends_the_run():
    with pytest.raises(ConfigError, match="No task 'nope'"):
        play("nope")


def test_times_follow_each_other():
    _, episode, _ = play()
    moments = [episode.time[0]]
    for turn in episode.turns:
        moments += [*turn.observed, *turn.tries[0].planned, *turn.tries[0].executed, *turn.acted]
    assert moments == sorted(moments)
    assert moments[-1] <= episode.time[1]
    assert Episode(0, Job("a", 1)).steps == 0
