"""The environment of tool use: what the agent is shown, what its calls do, how it is scored, what is refused. In-process sandbox."""

import contextlib
import io
import json
import math
import traceback
from pathlib import Path

import pytest
from PIL import Image

from tracer1.data.shards import read_trajectories
from tracer1.environments import ENVIRONMENTS
from tracer1.environments._tools.sources import GAIA_FORM, read_tasks
from tracer1.environments._tools.table import SEEN
from tracer1.environments._tools.task import ToolTask
from tracer1.environments.tools import Tools
from tracer1.errors import ConfigError, DataError, ExecutorError
from tracer1.executors.direct import DirectExecutor
from tracer1.executors.t3 import T3Executor
from tracer1.parsing import format_plan, parse_plan
from tracer1.plan_act.episode import Job, Rules
from tracer1.plan_act.record import EpisodeRecord
from tracer1.plan_act.replay import ReplayPlanner
from tracer1.plan_act.side_by_side import play_all
from tracer1.plan_act.view import action_text
from tracer1.prompts import brief_prompt, full_prompt
from tracer1.sandbox import Limits, Ran, ToolRefused
from tracer1.schema import Action, PlanStep, Response, Rollout, Step
from tracer1.toolbox.backends import Backends

DEMO = Path(__file__).parents[2] / "demo" / "tool_tasks"
PYTHON = "python_interpreter"


class Here:
    """A sandbox that runs the tests' own code in this process."""

    kind = "here"

    def __init__(self) -> None:
        self.closed = False

    def session(self, folder: Path, tools=None, call=None) -> "HereSession":
        return HereSession(folder, tools or {}, call)

    def close(self) -> None:
        self.closed = True


class HereSession:
    def __init__(self, folder: Path, tools, call) -> None:
        self.folder = folder
        self.names = {name: self._function(name, parameters, call) for name, parameters in tools.items()}

    @staticmethod
    def _function(name, parameters, call):
        def function(*values, **words):
            try:
                return call(name, {**dict(zip(parameters, values, strict=False)), **words})
            except ToolRefused as refused:
                raise RuntimeError(str(refused)) from None

        return function

    def run(self, code: str, limits: Limits | None = None) -> Ran:
        out = io.StringIO()
        with contextlib.chdir(self.folder), contextlib.redirect_stdout(out):
            try:
                exec(code, self.names)
            except Exception as error:
                return Ran(out.getvalue(), traceback.format_exception_only(error)[-1].strip(), "exception")
        return Ran(out.getvalue())

    def call(self, module: str, function: str, arguments, limits: Limits | None = None) -> Ran:
        import importlib

        with contextlib.chdir(self.folder):
            return Ran(value=getattr(importlib.import_module(module), function)(**arguments))

    def close(self) -> None: ...


class Dead:
    """A vision model whose server is gone."""

    identity = "dead"

    def ask(self, question: str, images) -> str:
        raise ExecutorError("nobody answers at http://127.0.0.1:1")


def picture(path: Path, colour: str = "red", kind: str = "PNG") -> bytes:
    Image.new("RGB", (60, 40), colour).save(path, kind)
    return path.read_bytes()


def task(folder: Path, **fields) -> ToolTask:
    given = {
        "name": "a",
        "instruction": "How many?",
        "tools": ("calculator", PYTHON, "crop_image"),
        "sources": (folder,),
    }
    return ToolTask(**{**given, **fields})


def begun(one: ToolTask, **settings) -> Tools:
    environment = Tools([one], sandbox=Here(), **settings)
    environment.reset(one.name, 0)
    return environment


def calculate(expression: str) -> Action:
    return Action("calculator", "calculate", arguments={"expression": expression})


def final(text: str) -> Action:
    return Action("final_answer", "answer", content=text)


# --- an episode ------------------------------------------------------------------------------------------------------


def test_it_is_found_by_name_and_acts_with_tools():
    assert ENVIRONMENTS.get("tools") is Tools
    assert Tools.platform == "tool"


def test_what_a_tool_says_is_the_next_observation_and_the_answer_ends_the_episode(tmp_path):
    environment = begun(task(tmp_path, right=lambda said: float(said == "5")))
    seen, ended = environment.step(calculate("2 + 3"))
    assert (seen.text, seen.meta["observation"], ended) == ("5", "5", False)
    assert seen.meta["tools"] == ["calculator(expression)", "python_interpreter(code)", "crop_image(image_path, box)"]
    assert environment.score() == 0.0  # nothing is answered yet
    seen, ended = environment.step(final("5"))
    assert (seen.meta["answer"], ended, environment.score()) == ("5", True, 1.0)
    assert [action["tools"] for action in seen.meta["did"]] == [["calculator"], ["final_answer"]]


def test_what_is_wrong_with_a_call_is_said_and_nothing_else_happens(tmp_path):
    environment = begun(task(tmp_path))
    for action, kind, part in [
        (Action("calculate", arguments={"expression": "1"}), "unknown_tool", "Did you mean 'calculator'?"),
        (Action("calculator", arguments={"sum": "1"}), "bad_arguments", "it has no argument 'sum'"),
        (Action("crop_image", arguments={"image_path": "b.png", "box": [0, 0, 1, 1]}), "no_file", "There is no file 'b.png'"),
        (Action(PYTHON, code="1 / 0"), "exception", "ZeroDivisionError"),
        (Action("ocr", arguments={"image_path": "b.png"}), "unknown_tool", "Available: calculator"),  # there is one, not here
    ]:  # fmt: skip
        seen, ended = environment.step(action)
        assert not ended
        assert seen.text.startswith("error: ")
        assert part in seen.text
        assert (seen.meta["did"][-1]["kind"], bool(seen.meta["did"][-1]["error"])) == (kind, True)


def test_names_persist_and_code_calls_tools_and_answers(tmp_path):
    environment = begun(task(tmp_path, right=lambda said: float(said == "12")))
    assert environment.step(Action(PYTHON, code="a = calculator('2 + 4')"))[0].text.startswith("No observation found")
    assert environment.step(Action(PYTHON, code="print(a, a)"))[0].text == "6 6\n"
    seen, ended = environment.step(
        Action("final_answer", code="b = calculator(a + '*2')\nfinal_answer(b)", content="99")
    )
    assert (seen.meta["answer"], ended, environment.score()) == (
        "12",
        True,
        1.0,
    )  # what the code gives, not what was foreseen
    assert seen.meta["did"][-1]["tools"] == ["calculator", "final_answer"]


def test_an_agent_that_is_not_offered_python_runs_none(tmp_path):
    environment = begun(task(tmp_path, tools=("calculator",)))
    seen, _ = environment.step(Action(PYTHON, code="print(1)"))
    assert seen.meta["did"][-1]["kind"] == "unknown_tool"
    seen, _ = environment.step(Action("calculator", arguments={"expression": "1"}, code="print(2)"))
    assert seen.text == "1"
    seen, ended = environment.step(Action("final_answer", content="3", code="final_answer(4)"))
    assert (seen.meta["answer"], ended) == ("3", True)


def test_a_model_tool_without_a_backend_is_unavailable(tmp_path):
    picture(tmp_path / "a.png")
    environment = begun(task(tmp_path, images=("a.png",), tools=("visualizer",)))
    seen, _ = environment.step(Action("visualizer", arguments={"question": "What?", "image_path": "a.png"}))
    assert seen.meta["did"][-1]["kind"] == "unavailable"
    assert seen.text.startswith("error: ")


def test_a_dead_server_is_a_fault_and_no_observation(tmp_path):
    picture(tmp_path / "a.png")
    one = task(tmp_path, images=("a.png",), tools=("visualizer",))
    environment = begun(one, backends=Backends(vision=Dead()))
    with pytest.raises(ExecutorError, match="nobody answers"):
        environment.step(Action("visualizer", arguments={"question": "What?", "image_path": "a.png"}))
    environment.reset("a", 0)  # and the next episode begins on a whole one
    assert environment.step(final("1"))[1]


def test_long_outputs_lose_their_middle(tmp_path):
    seen, _ = begun(task(tmp_path)).step(Action(PYTHON, code="print('a' * 3000 + 'b' * 3000)"))
    assert SEEN < len(seen.text) < SEEN + 10
    assert (seen.text[0], seen.text[-2]) == ("a", "b")


def test_every_episode_has_a_folder_and_an_interpreter_of_its_own(tmp_path):
    (tmp_path / "note.txt").write_text("42")
    environment = begun(task(tmp_path, files=("note.txt",)))
    environment.step(Action(PYTHON, code="import os; a = 1; os.remove('note.txt'); open('other.txt', 'w').close()"))
    _, seen = environment.reset("a", 1)
    assert (seen.meta["did"], seen.meta["observation"]) == ([], "")
    assert environment.step(Action(PYTHON, code="import os; print(open('note.txt').read(), os.listdir('.'))"))[
        0
    ].text == ("42 ['note.txt']\n")
    assert "NameError" in environment.step(Action(PYTHON, code="print(a)"))[0].text
    assert (tmp_path / "note.txt").read_text() == "42"


def test_it_closes_only_the_sandbox_that_it_opened(tmp_path):
    mine = Here()
    environment = Tools([task(tmp_path)], sandbox=mine)
    environment.reset("a", 0)
    environment.close()
    environment.close()
    assert not mine.closed
    with pytest.raises(ConfigError, match="No episode has begun"):
        environment.step(final("1"))


# --- pictures --------------------------------------------------------------------------------------------------------


def test_the_picture_is_the_first_image_then_the_newest_that_was_made(tmp_path):
    first = picture(tmp_path / "a.png")
    picture(tmp_path / "b.png", "blue")
    environment = Tools([task(tmp_path, images=("a.png", "b.png"))], sandbox=Here())
    _, seen = environment.reset("a", 0)
    assert (seen.screenshot, seen.shown) == (first, True)
    seen, _ = environment.step(Action("crop_image", arguments={"image_path": "b.png", "box": [0, 0, 7, 5]}))
    assert seen.text == "crop_1.png"
    with Image.open(io.BytesIO(seen.screenshot)) as shown:
        assert (shown.size, shown.getpixel((1, 1))) == ((7, 5), (0, 0, 255))
    cropped = seen.screenshot
    assert environment.step(calculate("1"))[0].screenshot == cropped  # it stays the newest
    assert environment.step(Action(PYTHON, code="open('x.png', 'w').write('no picture')"))[0].screenshot == cropped


def test_an_image_that_no_model_reads_is_written_anew(tmp_path):
    picture(tmp_path / "a.gif", "red", "GIF")
    _, seen = Tools([task(tmp_path, images=("a.gif",))], sandbox=Here()).reset("a", 0)
    assert seen.screenshot.startswith(b"\x89PNG")


@pytest.mark.parametrize("fields", [{}, {"images": ("a.png",), "sighted": False}])
def test_without_a_picture_a_plain_one_is_recorded_and_the_planner_sees_none(tmp_path, fields):
    picture(tmp_path / "a.png")
    _, seen = Tools([task(tmp_path, **fields)], sandbox=Here()).reset("a", 0)
    assert not seen.shown
    with Image.open(io.BytesIO(seen.screenshot)) as image:
        assert image.size[0] > 0


# --- the loop --------------------------------------------------------------------------------------------------------


class Expert:
    """Plans what was recorded, and keeps what it was asked."""

    def __init__(self, steps: list[Step]) -> None:
        self.steps, self.asked = steps, []

    def plan(self, step: Step, attempt: int) -> Rollout:
        self.asked.append(step)
        text = format_plan(self.steps[step.index].future, step.index + 1)
        return Rollout(step, Response(text, (), ()), parse_plan(text))

    def serve(self, until, callers=None) -> None:
        until.wait()


@pytest.mark.parametrize("name", ["change-0600", "spread-0601", "note-0604"])
def test_the_loop_asks_with_the_very_prompts_that_training_asks_with(name):
    shard = next(DEMO.glob("*-heldout-*"))
    steps = next(steps for steps in read_trajectories(str(shard), history=4, horizon=4) if steps[0].trajectory == name)
    environment, expert = Tools(str(DEMO), sandbox=Here()), Expert(steps)
    (result,) = play_all([Job(name, 0)], [environment], expert, DirectExecutor(), Rules())
    assert (result.end, result.score, result.steps) == ("done", 1.0, len(steps))
    for style in (brief_prompt, full_prompt):
        assert [style(step, 4) for step in expert.asked] == [style(step, 4) for step in steps]
    assert expert.asked[1].meta["observation"] != ""


@pytest.mark.parametrize(
    ("code", "parts"), [("print(2 + 3)", []), ("import time; print(time.time_ns())", ["what is said"])]
)
def test_an_episode_is_replayed_and_what_a_tool_says_otherwise_is_told(tmp_path, code, parts):
    """Nobody knows whether its answer is right: NaN then, NaN now, is no difference."""

    class Twice(Expert):
        def plan(self, step: Step, attempt: int) -> Rollout:
            action = final("5") if step.index else Action(PYTHON, "compute", code=code)
            text = format_plan([PlanStep(action, "not done", "known")], step.index + 1)
            return Rollout(step, Response(text, (), ()), parse_plan(text))

    environment = Tools([task(tmp_path)], sandbox=Here())
    record = EpisodeRecord(tmp_path / "out", {"environment": {"name": "tools"}})
    play_all([Job("a", 0)], [environment], Twice([]), DirectExecutor(), Rules(), [record])
    record.close()
    replay = ReplayPlanner(tmp_path / "out")
    (result,) = play_all(replay.jobs, [environment], replay, replay, Rules(), [replay])
    assert (result.end, result.steps) == ("ended", 2)
    assert [part in str(parting) for part, parting in zip(parts, replay.partings, strict=True)] == [True] * len(parts)


def test_views_show_arguments_and_code():
    assert action_text(calculate("1 + 1")) == "calculator expression='1 + 1'"
    assert action_text(Action(PYTHON, code="print(1)")) == "python_interpreter 'print(1)'"


def test_the_t3_executor_says_that_the_environment_runs_the_calls():
    plan = parse_plan(format_plan([PlanStep(calculate("1"), "not done", "known")]))
    step = Step("k", "episode", "a", 0, "u", None, (), (), platform="tool")
    with pytest.raises(ConfigError, match="executor=direct"):
        T3Executor(sandbox=Here()).execute([Rollout(step, Response("", (), ()), plan)])


# --- where tasks come from -------------------------------------------------------------------------------------------


def test_shards_of_tool_steps():
    tasks = read_tasks(str(DEMO))
    assert len(tasks) == 120
    assert not any(one.refusal or one.sighted for one in tasks)  # their steps have no screenshot
    change = tasks[0]
    assert (change.name, change.right("424"), change.right("425"), change.right(None)) == ("change-0600", 1.0, 0.0, 0.0)
    assert len(read_tasks(str(DEMO), "train")) == 600


def gta(folder: Path, gold, **fields) -> Path:
    (folder / "image").mkdir()
    picture(folder / "image" / "a.png")
    query = {
        "tools": [{"name": "OCR"}, {"name": "Calculator"}],
        "files": [{"type": "image", "path": "image/a.png"}],
        "dialogs": [{"role": "user", "content": "How many?"}],
        "gt_answer": gold,
        **fields,
    }
    (folder / "dataset.json").write_text(json.dumps({"7": query}))
    return folder


def test_gtas_queries_with_their_own_tools(tmp_path):
    source = gta(tmp_path, {"whitelist": [["3", "three"]], "blacklist": None})
    environment = Tools(str(source), sandbox=Here())
    assert environment.tasks() == ("7",)
    asked, seen = environment.reset("7", 0)
    assert (asked, seen.meta["files"], seen.shown) == ("How many?", ["image/a.png"], True)
    assert seen.meta["tools"][0] == "OCR(image): Reads all text in an image. Returns lines of `(x1, y1, x2, y2) text`."
    assert len(seen.meta["tools"]) == 2
    assert (
        environment.step(Action("calculator", arguments={"expression": "1+2"}))[0].text == "3"
    )  # names are lower-cased
    environment.step(final("It is three."))
    assert environment.score() == 1.0


@pytest.mark.parametrize("gold", [None, ["It is three.", "Three.", "3"]])
def test_an_answer_that_nobody_can_judge_has_no_score(tmp_path, gold):
    environment = Tools(str(gta(tmp_path, gold)), sandbox=Here())
    environment.reset("7", 0)
    environment.step(final("three"))
    assert math.isnan(environment.score())


def test_a_missing_image_or_tool_is_refused_by_name(tmp_path):
    source = gta(
        tmp_path, None, files=[{"type": "image", "path": "image/b.png"}, {"type": "image", "path": "image/c.png"}]
    )
    environment = Tools(str(source), sandbox=Here())
    assert environment.refuses("7") == f"the file {tmp_path}/image/b.png and 1 more is not there"
    with pytest.raises(ConfigError, match="Task '7' is refused, not scored 0: the file"):
        environment.reset("7", 0)
    other = tmp_path / "other"
    other.mkdir()
    environment = Tools(str(gta(other, None, tools=[{"name": "Teleport"}])), sandbox=Here())
    assert environment.refuses("7") == "it is to be solved with Teleport, which the toolbox does not have"


def gaia(folder: Path, **fields) -> Path:
    (folder / "2023" / "validation").mkdir(parents=True)
    line = {"task_id": "t-1", "Question": "How many?", "Level": 2, "Final answer": "1,234", "file_name": "", **fields}
    (folder / "2023" / "validation" / "metadata.jsonl").write_text(json.dumps(line) + "\n")
    return folder


def test_gaias_questions_with_t3s_tools(tmp_path):
    source = gaia(tmp_path, file_name="a.png")
    picture(source / "2023" / "validation" / "a.png")
    environment = Tools(str(source), sandbox=Here())
    asked, seen = environment.reset("t-1", 0)
    assert asked == f"How many?\n{GAIA_FORM}"
    assert (seen.meta["files"], seen.shown, len(seen.meta["tools"])) == (["a.png"], True, 9)
    environment.step(final("1,234"))
    assert environment.score() == 1.0
    environment.reset("t-1", 0)
    environment.step(final("1234"))
    assert environment.score() == 0.0  # the leaderboard's trap: the gold is a list
    (source / "2023" / "validation" / "a.png").unlink()
    assert "a.png is not there" in Tools(str(source), sandbox=Here()).refuses("t-1")


def test_an_attachment_that_is_no_picture_is_told_by_name(tmp_path):
    source = gaia(tmp_path, file_name="a.csv")
    (source / "2023" / "validation" / "a.csv").write_text("x,y\n1,2\n")
    environment = Tools(str(source), sandbox=Here())
    _, seen = environment.reset("t-1", 0)
    assert (seen.meta["files"], seen.shown) == (["a.csv"], False)
    seen, _ = environment.step(Action("inspect_file_as_text", arguments={"file_path": "a.csv"}))
    assert "| 1 | 2 |" in seen.text


# --- mistakes in settings --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"tools": "t33"}, "t3, gta, or a list of names. Did you mean 't3'?"),
        ({"tools": ["calculater"]}, "There is no tool 'calculater'. Did you mean 'calculator'?"),
        ({"limits": {"wal_s": 1}}, "environment.limits has no setting 'wal_s'. Did you mean 'wall_s'?"),
        ({"source": None}, "environment.source is missing"),
        ({"source": "/nowhere"}, "/nowhere is not there"),
        ({"split": "held_out"}, "has no tasks of the split 'held_out'; it has heldout, train"),
    ],
)
def test_mistakes_are_answered_before_anything_runs(settings, said):
    with pytest.raises(ConfigError) as caught:
        Tools(**{"source": str(DEMO), **settings})
    assert said in str(caught.value)


def test_a_folder_without_tasks_says_what_was_looked_for(tmp_path):
    (tmp_path / "gta_first150.json").write_text("{}")
    with pytest.raises(
        ConfigError, match=r"holds none of GTA's dataset.json, GAIA's .* Is it one of gta_first150.json\?"
    ):
        read_tasks(tmp_path)
    (tmp_path / "x.json").write_text("[]")
    with pytest.raises(DataError, match="an object of queries"):
        read_tasks(tmp_path / "x.json")
    with pytest.raises(ConfigError, match="GTA has no splits"):
        read_tasks(gta(tmp_path, None), "test")


def test_a_task_that_there_is_not_names_the_nearest():
    environment = Tools(str(DEMO), sandbox=Here())
    with pytest.raises(ConfigError, match=r"There is no task 'change-600'\. Did you mean 'change-0600'"):
        environment.reset("change-600", 0)
