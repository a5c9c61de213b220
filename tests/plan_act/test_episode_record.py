"""The record: what is written is read back, a cut file too; a replay does the same and says where it parts."""

import json
from pathlib import Path

import pytest
from toy_square import Notes, Refuses, ScriptedPlanner, SquareWorld, click, plan_to_goal

from tracer1.errors import DataError, EnvironmentFault
from tracer1.executors.direct import DirectExecutor
from tracer1.parsing import format_plan
from tracer1.plan_act.episode import Job, Rules
from tracer1.plan_act.reading import read_record
from tracer1.plan_act.record import EpisodeRecord
from tracer1.plan_act.replay import ReplayPlanner
from tracer1.plan_act.side_by_side import play_all
from tracer1.schema import Action, Outcome

JOBS = [Job("reach", 3), Job("crash-2", 4), Job("reach", 5, sample=1)]


def stumble(step, attempt):
    """Every first plan is unreadable, and in turn 2 of seed 5 the second one too."""
    bad = attempt == 0 or (step.meta["seed"] == 5 and step.meta["turn"] == 2)
    return "<think>hm</think>no \x00 plan <b> \ud800" if bad else plan_to_goal(step, attempt)


def recorded(folder, jobs=JOBS, say=stumble, executor=None, worlds=2, rules=None):
    record, notes = EpisodeRecord(folder, {"environment": {"name": "square"}}), Notes()
    environments = [SquareWorld() for _ in range(worlds)]
    results = play_all(
        jobs, environments, ScriptedPlanner(say), executor or DirectExecutor(), rules or Rules(), [record, notes]
    )
    record.close()
    return record.path, results, notes


def test_what_was_played_is_read_back(tmp_path):
    path, results, notes = recorded(tmp_path)
    found = read_record(path)
    assert found.settings == {"environment": {"name": "square"}}
    assert [episode.job for episode in found.episodes] == JOBS
    for episode, result in zip(found.episodes, results, strict=True):
        assert (episode.end, episode.score, episode.steps) == (result.end, result.score, result.steps)
        assert (episode.instruction, episode.retried) == (result.instruction, result.retried)
    played = {episode.job: episode for episode in notes.episodes}
    for episode in found.episodes:
        assert episode.attempt == (1 if episode.job.task == "crash-2" else 0)
        for turn, live in zip(episode.turns, played[episode.job].turns, strict=True):
            assert turn.action == live.action
            assert turn.screenshot.read_bytes() == live.step.screenshot
            assert [one.plan for one in turn.tries] == [one.rollout.plan for one in live.tries]
            assert [one.response for one in turn.tries] == [one.rollout.response.text for one in live.tries]
            assert [one.error for one in turn.tries] == [one.error for one in live.tries]
            assert turn.text.startswith("square at")
        assert episode.last.read_bytes() == played[episode.job].last.screenshot
    assert found.episodes[2].turns[1].action is None


def test_a_line_per_turn_and_one_for_each_end(tmp_path):
    path, _, _ = recorded(tmp_path, [Job("crash-2", 4)], say=plan_to_goal)
    kinds = [(line["kind"], line.get("attempt")) for line in map(json.loads, path.read_text().splitlines())]
    assert kinds == [("run", None), ("turn", 0), ("fault", 0), ("end", 0), ("turn", 1), ("turn", 1), ("end", 1)]


def test_the_turn_in_which_the_environment_crashed_is_kept_with_its_plan(tmp_path):
    path, (result,), _ = recorded(tmp_path, [Job("crash-2", 4)], rules=Rules(restarts=0))
    (episode,) = read_record(path).episodes
    broken = episode.broken
    assert (result.end, [turn.number for turn in episode.turns], broken.number) == ("fault", [1], 2)
    assert [bool(one.error) for one in broken.tries] == [True, False]  # the plan that was sampled again, too
    assert broken.action == broken.tries[1].plan.steps[0].action
    assert broken.screenshot.read_bytes() == episode.last.read_bytes()
    assert broken.seconds["execute"] > 0
    (line,) = [line for line in map(json.loads, path.read_text().splitlines()) if line["kind"] == "fault"]
    assert line["error"] == episode.fault == "The square world has crashed; its next reset begins on a whole one."


def test_the_turn_in_which_the_executor_failed_is_kept_with_its_plan(tmp_path):
    fails = Refuses(lambda rollout: Outcome(fault="the server is gone"))
    path, _, _ = recorded(tmp_path, [Job("reach", 3)], plan_to_goal, fails, rules=Rules(restarts=0))
    (episode,) = read_record(path).episodes
    (one,) = episode.broken.tries
    assert (episode.turns, episode.broken.action, one.error) == ([], None, "the server is gone")
    assert one.plan.steps[0].action.point == (500.0, 500.0)


def test_a_fault_before_any_plan_has_no_turn(tmp_path):
    def gone(step, attempt):
        raise EnvironmentFault("the screenshot is no picture")

    path, _, _ = recorded(tmp_path, [Job("reach", 3)], gone, rules=Rules(restarts=0))
    (episode,) = read_record(path).episodes
    assert (episode.broken, episode.fault) == (None, "the screenshot is no picture")


def test_whole_episodes_have_no_broken_turn(tmp_path):
    path, _, notes = recorded(tmp_path)
    assert all(episode.broken is None for episode in read_record(path).episodes)
    assert all(episode.broken is None for episode in notes.episodes if episode.end != "fault")


def test_places_keep_all_their_digits(tmp_path):
    exact = Action("drag", "pull", point=(1 / 3, 2.5), end_point=(999.99, 0.1))
    path, _, _ = recorded(tmp_path, [Job("endless", 1)], plan_to_goal, Refuses(lambda r: Outcome(action=exact)))
    assert read_record(path).episodes[0].turns[0].action == exact


def test_a_record_that_was_cut_off_is_read_as_far_as_it_goes(tmp_path):
    path, _, _ = recorded(tmp_path, [Job("reach", 3)])
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    (episode,) = read_record(tmp_path).episodes
    assert (episode.end, episode.score, len(episode.turns)) == ("", None, 2)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"hello\n", "line 1"),
        (b'{"kind": "turn"}\n', "line 1.*`run`"),
        (b'{"kind": "run", "version": 99}\n', "line 1.*version 99"),
        (b'{"kind": "run", "version": 1, "settings": {}}\n{"kind": "end"}\n', "line 2"),
        (b'{"kind": "run", "version": 1, "settings": {}}\n[]\n', "line 2"),
    ],
)
def test_what_is_no_record_is_named(tmp_path, content, says):
    (tmp_path / "episodes.jsonl").write_bytes(content)
    with pytest.raises(DataError, match=says):
        read_record(tmp_path)


def test_no_record_at_all_is_named(tmp_path):
    with pytest.raises(DataError, match=r"episodes\.jsonl cannot be read"):
        read_record(tmp_path / "nowhere" / "episodes.jsonl")


def test_an_earlier_record_in_the_folder_is_kept_whole(tmp_path):
    recorded(tmp_path, [Job("reach", 3)])
    recorded(tmp_path, [Job("reach", 9)])
    records = sorted(tmp_path.glob("episodes*.jsonl"))
    assert sorted(read_record(path).episodes[0].job.seed for path in records) == [3, 9]
    assert all(turn.screenshot.is_file() for path in records for turn in read_record(path).episodes[0].turns)


def test_a_folder_that_cannot_be_written_is_a_users_error():
    with pytest.raises(DataError, match="Free some space or choose another"):
        EpisodeRecord(Path("/proc/nowhere"), {})


# --- replay ------------------------------------------------------------------------------------------------------------


def replayed(path, world=SquareWorld, rules=None):
    replay, notes = ReplayPlanner(path), Notes()
    results = play_all(replay.jobs, [world(), world()], replay, replay, rules or Rules(), [replay, notes])
    return replay, results, notes


def test_a_replay_does_the_same_without_a_model(tmp_path):
    path, results, notes = recorded(tmp_path)
    replay, again, seen = replayed(path)
    assert replay.partings == []
    assert [(r.job, r.end, r.score, r.steps, r.lost) for r in again] == [
        (r.job, r.end, r.score, r.steps, r.lost) for r in results
    ]
    first = {e.job: [turn.action for turn in e.turns] for e in notes.episodes}
    assert {e.job: [turn.action for turn in e.turns] for e in seen.episodes} == first


def test_a_replay_repeats_the_executors_action_not_the_planners(tmp_path):
    moved = Refuses(lambda rollout: Outcome(action=Action("click", "there", point=(7.5, 8.25))))
    path, _, _ = recorded(tmp_path, [Job("endless", 1)], plan_to_goal, moved, rules=Rules(max_steps=2))
    _, _, notes = replayed(path, rules=Rules(max_steps=2))
    assert [turn.action.point for turn in notes.episodes[0].turns] == [(7.5, 8.25)] * 2


def test_a_replay_says_where_the_screen_parts(tmp_path):
    class Shifted(SquareWorld):
        def step(self, action):
            super().step(action)
            self.place = (self.place[0] + 50, self.place[1])
            return self._look(), False

    path, _, _ = recorded(tmp_path, [Job("reach", 3)], plan_to_goal)
    replay, _, _ = replayed(path, Shifted)
    (parting,) = replay.partings
    assert (parting.job, parting.turn) == (Job("reach", 3), 2)
    assert "differs in" in parting.what


def test_a_replay_says_when_the_task_is_another(tmp_path):
    class Reworded(SquareWorld):
        def reset(self, task, seed):
            instruction, seen = super().reset(task, seed)
            return instruction + " Now!", seen

    path, _, _ = recorded(tmp_path, [Job("reach", 3)], plan_to_goal)
    replay, _, _ = replayed(path, Reworded)
    assert (replay.partings[0].turn, "the instruction is now" in replay.partings[0].what) == (1, True)


def test_a_replay_says_when_it_ends_otherwise_or_goes_on_beyond_its_record(tmp_path):
    class Grumpy(SquareWorld):
        def score(self):
            return -0.5

    path, _, _ = recorded(tmp_path, [Job("reach", 3)], plan_to_goal)
    replay, _, _ = replayed(path, Grumpy)
    assert "it ended done with -0.5, before done with 1.0" in str(replay.partings[0])

    def wander(step, attempt):
        return format_plan([click((float(step.index), 1.0))])

    path, _, _ = recorded(tmp_path, [Job("endless", 3)], wander, rules=Rules(max_steps=2))
    replay, (result,), _ = replayed(path, rules=Rules(max_steps=9))
    assert "nothing more was recorded" in str(replay.partings[0])
    assert result.steps == 2


def test_one_level_of_a_few_pixels_is_no_parting(tmp_path):
    import io

    from PIL import Image

    from tracer1.interfaces import Observation

    class Flickers(SquareWorld):
        levels = 1

        def _look(self):
            image = Image.open(io.BytesIO(super()._look().screenshot))
            for x in range(5):
                image.putpixel((x, 0), (255 - self.levels, 255, 255))
            out = io.BytesIO()
            image.save(out, "PNG")
            return Observation(out.getvalue())

    class Blinks(Flickers):
        levels = 9

    path, _, _ = recorded(tmp_path, [Job("reach", 3)], plan_to_goal)
    assert replayed(path, Flickers)[0].partings == []
    assert len(replayed(path, Blinks)[0].partings) == 1
