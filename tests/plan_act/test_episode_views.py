"""What is shown of episodes: traces in MLflow, lines and tables on a terminal, the page."""

import io
import logging
import re
from dataclasses import replace

import pytest
from rich.console import Console
from toy_square import Notes, ScriptedPlanner, SquareWorld, click, goal_of, plan_to_goal

from tracer1.errors import DataError
from tracer1.executors.direct import DirectExecutor
from tracer1.parsing import format_plan
from tracer1.plan_act.episode import Job, Rules
from tracer1.plan_act.page import choose, page
from tracer1.plan_act.reading import read_record
from tracer1.plan_act.record import EpisodeRecord
from tracer1.plan_act.side_by_side import play_all
from tracer1.plan_act.traces import EpisodeTraces, episode_span
from tracer1.plan_act.view import EpisodeView, plan_text, show_results
from tracer1.schema import DONE, Action, PlanStep
from tracer1.tracking.traces import TraceSender, TraceSpan


def stumble(step, attempt):
    """The plan of turn 2 is unreadable at first."""
    return "<script>alert(1)</script>" if step.meta["turn"] == 2 and not attempt else plan_to_goal(step, attempt)


def played(jobs, watchers=(), say=stumble, rules=None, world=None):
    notes = Notes()
    results = play_all(
        jobs, [world or SquareWorld()], ScriptedPlanner(say), DirectExecutor(), rules or Rules(), [*watchers, notes]
    )
    return results, notes


# --- traces ------------------------------------------------------------------------------------------------------------


def test_an_episode_is_a_trace_with_a_span_per_look_plan_and_act():
    _, notes = played([Job("reach", 3)])
    root = episode_span(notes.episodes[0])
    assert [span.name for span in root.below] == [
        "observe",
        "plan",
        "execute",
        "observe",
        "plan",
        "execute",
        "plan",
        "execute",
    ]
    assert root.outputs["score"] == 1.0
    look, plan, act = root.below[:3]
    assert look.outputs["screenshot"] == notes.seen[0][2].screenshot
    assert next(step["action"]["point"] for step in plan.outputs["steps"]) == [500, 500]
    assert act.outputs["action"]["step_instruction"] == "click the middle"
    refused, again = root.below[5], root.below[7]
    assert (refused.error, refused.outputs["action"]) == ("no <answer> block", None)
    assert (again.error, again.inputs["attempt"]) == ("", 1)


def test_a_trace_has_no_empty_values():
    _, notes = played([Job("reach", 3)])
    looks, plans = (span for span in episode_span(notes.episodes[0]).below if span.name in ("observe", "plan")), []
    for span in looks:
        for values in (span.inputs, span.outputs, *span.outputs.get("steps", ())):
            assert not [name for name, value in values.items() if value in ("", None, [])]
        plans += span.outputs.get("steps", ())
    assert plans


def test_the_turn_that_met_a_fault_is_in_the_trace_with_the_fault():
    _, notes = played([Job("crash-1", 3)], rules=Rules(restarts=0))
    observe, plan, execute = episode_span(notes.episodes[0]).below
    assert (observe.name, plan.error, len(plan.outputs["steps"])) == ("observe", "", 2)
    assert execute.error == notes.episodes[0].fault
    assert execute.outputs["action"]["point"] == [500, 500]
    assert observe.time[0] <= plan.time[1] <= execute.time[1]


def test_traces_reach_mlflow_with_their_screenshots(tmp_path):
    from mlflow import MlflowClient
    from mlflow.tracing.attachments import Attachment

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    sender = TraceSender(uri, "toy")
    _, notes = played([Job("reach", 3), Job("crash-1", 4)], [EpisodeTraces(sender, {"run": "toy"})])
    assert sender.close(60.0)
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("toy").experiment_id
    traces = {
        trace.info.tags["task"] + trace.info.tags["attempt"]: trace
        for trace in client.search_traces(locations=[experiment])
    }
    assert sorted(traces) == ["crash-10", "crash-11", "reach0"]
    assert traces["reach0"].info.tags["score"] == "1"
    assert traces["crash-10"].info.tags["end"] == "fault"
    spans = traces["reach0"].data.spans
    assert [span.name for span in spans].count("plan") == 3
    look = next(span for span in spans if span.name == "observe")
    picture = Attachment.parse_ref(look.outputs["screenshot"])["attachment_id"]
    (file,) = tmp_path.rglob(picture)
    assert file.read_bytes() == notes.seen[0][2].screenshot
    (act,) = [span for span in spans if span.name == "execute" and span.status.status_code.name == "ERROR"]
    assert act.events[0].attributes["exception.message"] == "no <answer> block"


def test_a_dead_server_stops_no_episode_and_is_named_once(caplog):
    sender = TraceSender("http://127.0.0.1:9", "toy")
    with caplog.at_level(logging.WARNING, logger="tracer1"):
        results, _ = played([Job("reach", seed) for seed in range(4)], [EpisodeTraces(sender)])
        assert not sender.close(30.0)
    assert all(result.score == 1.0 for result in results)
    assert sender.dropped == 4
    said = [record.message for record in caplog.records if "does not take traces" in record.message]
    assert len(said) == 1


def test_a_full_queue_drops_and_counts(monkeypatch):
    monkeypatch.setattr(TraceSender, "_run", lambda self: None)  # a store that hangs for ever
    sender = TraceSender("sqlite:///nowhere.db", "toy")
    for _ in range(70):
        sender.send(TraceSpan("x", "AGENT", (0, 1)), {})
    assert sender.dropped == 6


# --- terminal ----------------------------------------------------------------------------------------------------------


def test_plain_lines_where_nothing_can_be_redrawn(caplog, tmp_path):
    view = EpisodeView(1, lambda episode, number: tmp_path / f"{number}.png", Console(file=io.StringIO()))
    with caplog.at_level(logging.INFO, logger="tracer1"), view:
        played([Job("reach", 3)], [view])
    lines = [record.message for record in caplog.records]
    assert lines[0].startswith("reach seed 3: Bring the square to")
    assert re.search(rf"step 1: click \(500, 500\) \| plan: click \(500, 500\) → click .*{tmp_path}/1.png", lines[1])
    assert "(at attempt 2)" in lines[2]
    assert lines[3] == "reach seed 3: done after 2 steps, score 1"


def test_a_terminal_shows_screenshot_plan_and_action_of_what_is_under_way(tmp_path):
    console = Console(file=io.StringIO(), force_terminal=True, width=160)
    view = EpisodeView(2, lambda episode, number: tmp_path / f"{number}.png", console)
    tables = []

    class Peeks(Notes):
        def turned(self, episode, turn):
            paper = Console(file=io.StringIO(), width=200)
            paper.print(view._table())
            tables.append(paper.file.getvalue())

    with view:
        played([Job("reach", 3), Job("reach", 4)], [view, Peeks()])
    assert "0 of 2 episodes" in tables[0]
    assert "reach seed 3" in tables[0]
    assert f"{tmp_path}/1.png" in re.sub(r"[\s│]", "", tables[0])
    assert "click (500, 500) →" in tables[0]
    assert "1 of 2 episodes, mean score 1.00" in tables[-1]


def test_the_table_at_the_end_has_task_seed_score_steps_and_end():
    results, _ = played(
        [Job("reach", 3), Job("crash-always", 4), Job("endless", 5)], rules=Rules(max_steps=2, restarts=0)
    )
    console = Console(file=io.StringIO(), width=150)
    show_results(results, ["record: here"], console)
    text = console.file.getvalue()
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if line.startswith("│")]
    assert rows[0] == ["reach", "3", "1", "2", "done"]
    assert rows[1][:4] == ["crash-always", "4", "-", "0"]
    assert rows[1][4].startswith("fault: The square world has crashed")
    assert "mean score 1.000 of 2" in text  # a fault is no 0
    assert text.splitlines()[-2].endswith("1 fault")
    assert "record: here" in text


def test_long_plans_and_text_are_shortened():
    steps = [PlanStep(Action("type", content="x" * 500)), *(PlanStep(Action("wait")) for _ in range(5)), PlanStep(None)]
    text = plan_text(steps)
    assert text.endswith("→ wait and 3 more")
    assert len(text) < 120
    assert plan_text([]) == "no plan"


# --- page --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def recording(tmp_path):
    def say(step, attempt):
        if step.meta["task"] == "endless":
            seen = click(goal_of(step), "<b>bold</b>", DONE, 'a "quoted" & <i>slanted</i> screen')
            return format_plan(
                [PlanStep(Action("scroll", "scroll", direction="down")), seen], thought="see <u>here</u>"
            )
        return stumble(step, attempt)

    record = EpisodeRecord(tmp_path, {"policy": "a/planner"})
    played([Job("reach", 3), Job("endless", 4), Job("crash-always", 5)], [record], say, Rules(max_steps=2, restarts=1))
    record.close()
    return read_record(tmp_path)


def test_the_page_holds_everything_and_loads_nothing(recording):
    html = page(recording, recording.episodes)
    assert html.count("<section") == 3
    assert html.count("data:image/webp;base64,") == 8  # 2 x (2 turns, end); broken turn, end
    assert not re.search(r'(src|href)="(?!data:|#)', html)
    assert "default-src 'none'" in html
    for text in (
        "score 1",
        "done",
        "1 retried",
        "fault",
        "none",
        "a/planner",
        "see &lt;u&gt;here&lt;/u&gt;",
        "scroll down",
    ):
        assert text in html, text


def test_what_the_record_says_is_escaped(recording):
    html = page(recording, recording.episodes)
    assert "&lt;script&gt;alert(1)" in html
    assert "<script>alert" not in html
    assert "<b>bold</b>" not in html
    assert "<i>slanted" not in html


def test_one_episode_can_be_chosen(recording):
    (episode,) = choose(recording, 2)
    assert episode.job == Job("endless", 4)
    assert page(recording, [episode]).count("<section") == 1
    with pytest.raises(DataError, match="episodes 1 to 3, not 4"):
        choose(recording, 4)


def test_a_missing_screenshot_leaves_the_rest_of_the_page(recording):
    recording.episodes[0].turns[0].screenshot.unlink()
    recording.episodes[0].turns[1].screenshot.write_bytes(b"no picture")
    html = page(recording, recording.episodes)
    assert "cannot be read: No such file" in html
    assert "is not an image" in html
    assert html.count("<article") == 8


def test_a_picture_that_the_planner_does_not_see_says_so(tmp_path):
    class Told(SquareWorld):
        def _look(self):
            return replace(super()._look(), shown=False)

    record = EpisodeRecord(tmp_path, {})
    played([Job("endless", 4)], [record], plan_to_goal, Rules(max_steps=2), Told())
    record.close()
    recording = read_record(tmp_path)
    assert page(recording, recording.episodes).count("which the planner does not see") == 3  # two turns and the end
    assert not recording.episodes[0].turns[0].shown


def test_the_tool_writes_the_page_and_names_mistakes(recording, capsys, monkeypatch):
    import importlib.util
    from pathlib import Path

    tool = Path(__file__).parents[2] / "tools" / "show_episode.py"
    spec = importlib.util.spec_from_file_location("show_episode", tool)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    out = recording.path.parent / "pages" / "page.html"
    assert module.main([str(recording.path), "--out", str(out)]) == 0
    assert out.read_text().startswith("<!doctype html>")
    assert "3 episodes" in capsys.readouterr().out
    assert module.main([str(recording.path), "--out", str(out), "--episode", "9"]) == 2
    assert module.main([str(out), "--out", str(out)]) == 2
    assert module.main([str(recording.path), "--out", "/proc/nowhere/page.html"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 3
    assert "not 9" in said[0]
    assert "line 1" in said[1]
    assert "choose another --out" in said[2].lower()
