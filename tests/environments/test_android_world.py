"""AndroidWorld as our environment, its server, and our agent in its runner, on a small checkout with its signatures."""

import io
import json
import math
import sys
import types
from pathlib import Path

import fakes_android_world as fakes
import numpy as np
import pytest
from PIL import Image

from tracer1.actions import ACTION_TYPES
from tracer1.environments import ENVIRONMENTS
from tracer1.environments._android_world import device
from tracer1.environments._android_world.agent import agent_class
from tracer1.environments._android_world.device import to_png
from tracer1.environments._android_world.gesture import Area, to_json_actions
from tracer1.environments._android_world.tally import tally
from tracer1.environments._foreign import ImpossibleAction
from tracer1.environments.android_world import AndroidWorld
from tracer1.errors import ConfigError, EnvironmentFault, MissingDependency
from tracer1.schema import Action, Plan, PlanStep, Response, Rollout

DATA = Path(__file__).parents[2] / ".." / "shared" / "data" / "androidworld"
SIZE = (1080, 2400)


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A clone; its modules are forgotten afterwards."""
    monkeypatch.setattr(device, "FOCUS_S", 0)
    root = fakes.build(tmp_path / "android_world_clone").resolve()
    yield root
    fakes.forget(root)


@pytest.fixture
def world(checkout):
    environment = AndroidWorld(checkout=str(checkout))
    yield environment
    environment.close()


def env():
    return fakes.Env.connected[-1]


def did(world, *actions):
    """What reaches the device."""
    world.reset("SaySomething", 30)
    env().did.clear()
    for action in actions:
        world.step(action)
    return env().did


def test_it_is_registered():
    assert ENVIRONMENTS.get("android_world") is AndroidWorld
    assert AndroidWorld.platform == "mobile"


@pytest.mark.parametrize(
    ("action", "wanted"),
    [
        (Action("click", point=(500.0, 500.0)), [("click", 540, 1200)]),
        (Action("left_double", point=(0.0, 1000.0)), [("double_tap", 0, 2399)]),
        (Action("long_press", point=(1500.0, -3.0)), [("long_press", 1079, 0)]),
        # the revealed side: a scroll down moves the finger up, as a swipe up would
        (Action("scroll", direction="down"), [((540, 1200), (540, 0))]),
        (Action("scroll", direction="up"), [((540, 1200), (540, 2400))]),
        (Action("scroll", direction="right"), [((540, 1200), (0, 1200))]),
        (Action("scroll", direction="left"), [((540, 1200), (1080, 1200))]),
        (Action("right_single", point=(0.0, 0.0)), [("long_press", 0, 0)]),
        (Action("press_home"), ["navigate_home"]),
        (Action("press_back"), ["navigate_back"]),
        (Action("press_recent"), ["shell input keyevent KEYCODE_APP_SWITCH"]),
        (Action("open_app", app_name="Markor"), ["open Markor"]),
        (Action("wait"), ["wait"]),
        (Action("hotkey", key="enter"), ["keyboard_enter"]),
        (Action("drag", point=(0.0, 500.0), end_point=(1000.0, 500.0)), ["shell input swipe 0 1200 1079 1200 500"]),
        # Enter is pressed where a newline says so, and nowhere else
        (Action("type", content="hello you"), ["text hello you"]),
        (Action("type", content="hello\n"), ["text hello", "enter"]),
        (Action("type", content="a\r\nb"), ["text a", "enter", "text b"]),
        (Action("type", content="hi", point=(500.0, 500.0)), [("click", 540, 1200), "text hi"]),
        # what a phone has no use for
        (Action("hover", point=(1.0, 1.0)), []),
        (Action("hotkey", key="ctrl c"), []),
        (Action("click"), []),
        (Action("type"), []),
        (Action("open_app"), []),
        (Action("drag", point=(1.0, 1.0)), []),
        (Action("scroll", direction="sideways"), []),
    ],
)
def test_what_reaches_the_device(world, action, wanted):
    assert did(world, action) == wanted


def test_every_action_of_a_phone_can_be_done(world):
    values = {
        "point": (500.0, 500.0),
        "end_point": (600.0, 600.0),
        "direction": "up",
        "content": "x",
        "app_name": "Clock",
    }
    for name, row in ACTION_TYPES.items():
        if "mobile" in row.platforms and name not in ("drag", "press_recent"):
            assert to_json_actions(Action(name, **{key: values[key] for key in row.required}), SIZE)
    assert did(world, Action("drag", point=(1.0, 1.0), end_point=(2.0, 2.0)), Action("press_recent"))


def test_a_scroll_with_a_place_scrolls_what_is_there(world):
    def element(x1, y1, x2, y2, scrollable=True):
        box = types.SimpleNamespace(x_min=x1, y_min=y1, x_max=x2, y_max=y2)
        return types.SimpleNamespace(bbox_pixels=box, is_scrollable=scrollable)

    world.reset("SaySomething", 30)
    env().elements = [
        element(0, 0, 1080, 2400),  # its index, 0, counts as none for AndroidWorld
        element(0, 0, 1080, 2000),
        element(0, 1000, 1080, 1400),
        element(500, 1150, 580, 1250, scrollable=False),
        types.SimpleNamespace(bbox_pixels=None, is_scrollable=True),
    ]
    env().did.clear()
    world.step(Action("scroll", direction="down", point=(500.0, 500.0)))
    world.step(Action("scroll", direction="down", point=(500.0, 900.0)))
    assert env().did == [((540, 1200), (540, 1000)), ((540, 1200), (540, 0))]


def test_the_smallest_area_counts_and_never_index_0():
    areas = [Area(0, (0, 0, 10, 10)), Area(4, (0, 0, 1080, 2400)), Area(7, (0, 0, 1080, 100))]
    action = Action("scroll", direction="up", point=(0.0, 0.0))
    assert to_json_actions(action, SIZE, areas) == [{"action_type": "scroll", "direction": "up", "index": 7}]
    assert to_json_actions(action, SIZE, areas[:1]) == [{"action_type": "scroll", "direction": "up"}]


def test_letters_that_adb_cannot_type_are_warned_of(world, caplog):
    did(world, Action("type", content="你好"))
    assert "ASCII only" in caplog.text


# -- scores


def test_a_task_is_solved_where_the_agent_says_so(world):
    goal, seen = world.reset("SaySomething", 30)
    assert goal == "Say hello 30."
    assert Image.open(io.BytesIO(seen.screenshot)).size == SIZE
    assert world.step(Action("type", content="hello"))[1] is False
    assert world.step(Action("finished"))[1] is True
    assert world.score() == 1.0


def test_what_was_not_said_to_be_done_is_0_even_where_it_is_done(world):
    world.reset("SaySomething", 30)
    world.step(Action("type", content="hello"))
    assert world.score() == 0.0


def test_giving_up_ends_the_episode_and_leaves_the_verdict_to_the_task(world):
    world.reset("SaySomething", 30)
    assert world.step(Action("call_user", content="cannot be done"))[1] is True
    assert world.score() == 0.0


def test_an_answer_is_given_before_the_status(world):
    world.reset("FindSomething", 30)
    assert env().interaction_cache == ""
    world.step(Action("finished", content="42"))
    assert (env().interaction_cache, world.score()) == ("42", 1.0)


def test_an_ending_without_words_is_no_answer(world):
    world.reset("FindSomething", 30)
    world.step(Action("finished"))
    assert (env().interaction_cache, world.score()) == ("", 0.0)


def test_the_step_budget_is_ten_times_the_complexity_and_ends_the_episode(world):
    world.reset("FindSomething", 30)
    assert world.budget == 3  # int(10 * 0.35)
    assert [world.step(Action(kind))[1] for kind in ("wait", "hover", "wait")] == [False, False, True]
    assert world.score() == 0.0
    with pytest.raises(ConfigError, match="is over"):
        world.step(Action("finished"))


def test_no_task_is_refused(world):
    assert {world.refuses(task) for task in world.tasks()} == {""}


def test_an_ending_in_the_last_step_counts(world):
    world.reset("FindSomething", 30)
    world.step(Action("wait"))
    world.step(Action("wait"))
    assert world.step(Action("finished", content="42"))[1] is True
    assert world.score() == 1.0


def test_the_start_is_the_tasks_own(world):
    world.reset("SaySomething", 30)
    assert env().did == ["home"]
    world.reset("FindSomething", 30)
    assert env().did == ["home", "stay"]


def test_a_verdict_is_asked_for_once(world, monkeypatch):
    world.reset("SaySomething", 30)
    world.step(Action("type", content="hello"))
    world.step(Action("finished"))
    world.score()
    env().did.clear()
    assert world.score() == 1.0


# -- tear-down and faults


def test_every_task_is_torn_down_once(world):
    world.reset("SaySomething", 30)
    first = env().task
    world.reset("SaySomething", 31)
    second = env().task
    world.close()
    world.close()
    assert (first.torn_down, second.torn_down) == (1, 1)
    assert env().closed


def test_a_half_done_set_up_is_a_fault_and_torn_down(world):
    with pytest.raises(
        EnvironmentFault, match=r"CannotBeSetUp could not be set up \(ValueError: the app's data base is locked"
    ):
        world.reset("CannotBeSetUp", 30)
    assert env().task.torn_down == 1
    with pytest.raises(ConfigError, match="No episode"):
        world.step(Action("wait"))


def test_a_verdict_that_raises_is_a_fault_and_no_0(world):
    world.reset("CannotBeJudged", 30)
    world.step(Action("finished"))
    with pytest.raises(EnvironmentFault, match=r"no verdict .*playing_queue"):
        world.score()
    assert env().task.torn_down == 1


def test_a_device_that_goes_away_is_a_fault_and_the_next_reset_connects_anew(world):
    world.reset("SaySomething", 30)
    env().broken = True
    with pytest.raises(EnvironmentFault, match=r"The device failed in SaySomething .*device offline"):
        world.step(Action("wait"))
    assert (env().task.torn_down, env().closed) == (1, True)
    world.reset("SaySomething", 30)
    assert len(fakes.Env.connected) == 2


def test_a_tear_down_that_fails_costs_the_connection_and_not_the_next_episode(world):
    world.reset("SaySomething", 30)
    env().broken = True
    world.reset("SaySomething", 30)
    assert [one.closed for one in fakes.Env.connected] == [True, False]


def test_an_emulator_that_is_not_there_is_a_fault(world):
    fakes.Env.refuse = True
    with pytest.raises(EnvironmentFault, match="no emulator at port 8554"):
        world.reset("SaySomething", 30)


# -- settings


def test_the_connections_arguments_go_by_name(checkout):
    world = AndroidWorld(checkout=str(checkout), connection={"console_port": 5556, "adb_path": None})
    world.reset("SaySomething", 30)
    assert env().ports == (5556, 8554)
    world.close()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"family": "androidworld"}, "Did you mean 'android_world'"),
        ({"family": "miniwob"}, "environment=miniwob"),
        ({"budget": 10}, "only with `server`"),
        ({"server": "http://localhost:1", "checkout": "/tmp"}, "neither `checkout` nor `connection`"),
        ({"server": "http://localhost:1"}, "budget: with `server` it must be a number"),
        ({"checkout": "/nowhere/at/all"}, "is not a folder"),
    ],
)
def test_settings_that_cannot_work_are_refused_at_once(settings, message):
    with pytest.raises(ConfigError, match=message):
        AndroidWorld(**settings)


def test_a_misspelt_argument_of_the_connection_is_named(checkout):
    with pytest.raises(ConfigError, match="Did you mean 'console_port'"):
        AndroidWorld(checkout=str(checkout), connection={"consoleport": 1}).reset("SaySomething", 1)


def test_a_device_is_driven_by_one_environment_at_a_time(checkout, world):
    world.reset("SaySomething", 30)
    with pytest.raises(ConfigError, match=r"console port 5554: agent.parallel=1"):
        AndroidWorld(checkout=str(checkout))
    beside = AndroidWorld(checkout=str(checkout), connection={"console_port": 5556})
    world.close()
    after = AndroidWorld(checkout=str(checkout))
    with pytest.raises(ConfigError, match="Another environment drives"):
        world.reset("SaySomething", 30)
    beside.close()
    after.close()
    assert world.reset("SaySomething", 30)[0]


def test_a_misspelt_task_is_named(world):
    with pytest.raises(ConfigError, match="Did you mean 'SaySomething'"):
        world.reset("SaySomethin", 30)


def test_a_part_of_the_suite_can_be_asked_for(checkout):
    assert AndroidWorld(checkout=str(checkout), family="information_retrieval").tasks() == ["FindSomething"]


def test_without_androidworld_the_installation_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "android_world", None)
    with pytest.raises(MissingDependency, match=r"'android_world' is not installed.*git clone"):
        AndroidWorld().tasks()


def test_about_tells_the_revision_the_family_and_the_number(world):
    assert world.about() == {"android_world": "unknown (no Git repository)", "family": "android_world", "tasks": 4}


# -- pictures


@pytest.mark.parametrize(
    ("logical", "turns", "size", "corner"),
    [
        ((108, 240), 0, (108, 240), (0, 0)),
        (
            (240, 108),
            1,
            (240, 108),
            (0, 107),
        ),  # the portrait's upper left is the lower left of a device turned to the left
        ((240, 108), 3, (240, 108), (239, 0)),
    ],
)
def test_a_picture_stands_as_the_device_is_held(logical, turns, size, corner):
    pixels = np.zeros((240, 108, 3), np.uint8)
    pixels[0, 0] = 255
    picture = Image.open(io.BytesIO(to_png(pixels, logical, lambda: turns)))
    assert picture.size == size
    assert picture.getpixel(corner) == (255, 255, 255)


def test_the_orientation_is_asked_for_only_where_it_matters():
    def asked():
        raise AssertionError

    to_png(np.zeros((240, 108, 3), np.uint8), (1080, 2400), asked)


def test_a_look_waits_until_the_screen_is_still(world):
    world.reset("SaySomething", 30)
    assert env().waited == [True]


# -- the server


@pytest.fixture
def served():
    server = fakes.Server()
    yield server
    server.shutdown()
    server.server_close()
    fakes.Env.connected.clear()


def at(server, budget=12):
    return AndroidWorld(server=f"http://127.0.0.1:{server.server_port}/", budget=budget)


def test_an_episode_at_the_server(served):
    world = at(served)
    goal, seen = world.reset("SaySomething", 30)
    assert goal == "Say hello 30."
    assert served.drawn == (1, 30, "android_world")  # as run.py draws them, not as the server does
    assert Image.open(io.BytesIO(seen.screenshot)).size == (11, 24)
    task = served.suite["SaySomething"][0]
    world.step(Action("type", content="hello\n"))
    assert world.step(Action("finished"))[1] is True
    assert world.score() == 1.0
    assert served.env.did == ["home", "text hello", "enter"]  # one Enter, whatever was asked for
    world.reset("FindSomething", 31)
    assert (task.torn_down, served.drawn) == (1, (1, 31, "android_world"))
    world.close()


def test_the_servers_budget_ends_the_episode(served):
    world = at(served, budget=2)
    world.reset("SaySomething", 30)
    assert [world.step(Action(kind))[1] for kind in ("drag", "wait")] == [False, True]
    world.close()


def test_what_fails_at_the_server_is_a_fault(served):
    world = at(served)
    world.reset("CannotBeJudged", 30)
    world.step(Action("finished"))
    with pytest.raises(EnvironmentFault, match=r"no verdict .*500"):
        world.score()
    with pytest.raises(EnvironmentFault, match="could not be set up"):
        world.reset("CannotBeSetUp", 30)
    assert world.reset("SaySomething", 30)[0]
    world.close()


def test_a_server_that_is_not_there_is_named_with_its_command():
    with pytest.raises(ConfigError, match=r"does not answer.*docker run --privileged"):
        AndroidWorld(server="http://127.0.0.1:9", budget=1).tasks()


@pytest.mark.parametrize(
    ("action", "wanted"),
    [
        (Action("type", content="x"), [{"action_type": "input_text", "text": "x"}]),
        (Action("type", content="x\n", point=(0.0, 0.0)), [{"action_type": "input_text", "text": "x", "x": 0, "y": 0}]),
        (Action("type", content="\n"), [{"action_type": "keyboard_enter"}]),
        (
            Action("type", content="\n", point=(0.0, 0.0)),
            [{"action_type": "click", "x": 0, "y": 0}, {"action_type": "keyboard_enter"}],
        ),
        (Action("call_user"), [{"action_type": "status", "goal_status": "infeasible"}]),
    ],
)
def test_what_is_sent_to_the_server(action, wanted):
    assert to_json_actions(action, SIZE) == wanted
    for fields in wanted:
        fakes.JSONAction(**fields)


def test_a_server_cannot_drag():
    with pytest.raises(ImpossibleAction):
        to_json_actions(Action("drag", point=(1.0, 1.0), end_point=(2.0, 2.0)), SIZE)


# -- our agent in their runner


class Planner:
    """Says one prepared action after another, and notes the history it was told."""

    def __init__(self, *actions):
        self.actions, self.histories = list(actions), []

    def plan(self, instruction, observation, history):
        assert observation.screenshot.startswith(b"\x89PNG")
        self.histories.append([step.action.action_type for step in history])
        action = self.actions.pop(0)
        steps = () if action is None else (PlanStep(action),)
        return Rollout(None, Response("said", (), ()), Plan(steps, error="" if steps else "no step"))


def episode(checkout, planner, max_n_steps=10):
    phone = fakes.Env()
    agent = agent_class(planner, checkout)(phone)
    return phone, fakes.run_episode("goal", agent, max_n_steps, start_on_home_screen=True)


def test_our_agent_runs_in_their_loop(checkout):
    planner = Planner(
        Action("click", point=(500.0, 500.0)), Action("type", content="hi"), Action("finished", content="42")
    )
    phone, (done, columns) = episode(checkout, planner)
    assert done is True
    assert phone.did == ["home", ("click", 540, 1200), "text hi"]
    assert phone.interaction_cache == "42"
    assert planner.histories == [[], ["click"], ["click", "type"]]
    assert columns["action"][1] == {"action_type": "type", "content": "hi"}
    assert columns["response"] == ["said"] * 3


def test_data_has_the_same_keys_at_every_step(checkout):
    planner = Planner(None, Action("hover", point=(1.0, 1.0)), Action("wait"), Action("call_user"))
    _, (done, columns) = episode(checkout, planner)
    assert done is True
    assert {len(column) for column in columns.values()} == {4}
    assert columns["action"][0] is None
    assert [bool(error) for error in columns["error"]] == [True, True, False, False]
    assert "hover" in columns["error"][1]


def test_an_agent_that_never_ends_is_not_done(checkout):
    _, (done, columns) = episode(checkout, Planner(*[Action("wait")] * 3), max_n_steps=3)
    assert (done, len(columns["step_number"])) == (False, 3)


def test_a_reset_forgets_the_last_episode(checkout):
    planner = Planner(Action("finished"), Action("finished"))
    agent = agent_class(planner, checkout)(fakes.Env(), name="ours", transition_pause=0.0)
    for _ in range(2):
        fakes.run_episode("goal", agent)
    assert planner.histories == [[], []]
    assert (agent.name, agent.env.waited) == ("ours", [False, False])


def test_crashed_episodes_stand_beside_the_rate():
    def one(task, success, exception=None):
        return {"task_template": task, "is_successful": success, "exception_info": exception}

    counted = tally([one("A", 1.0), one("B", 0.5, math.nan), one("C", 0.0), one("D", math.nan, "Traceback ...")])
    assert (counted.ran, counted.succeeded, counted.crashed) == (3, 1.5, ("D",))
    assert (counted.rate, counted.rate_of_all) == (0.5, 0.375)
    assert tally([]).rate is None
    assert tally([one("D", math.nan, "Traceback")]).rate is None


@pytest.mark.skipif(not DATA.is_dir(), reason="AndroidWorld's metadata is not beside the repository")
def test_the_real_suite_has_116_tasks():
    tasks = json.loads((DATA / "task_metadata.json").read_text())
    assert len({task["task_name"] for task in tasks}) == 116
    assert sum(task["difficulty"] == "easy" for task in tasks) == 61
