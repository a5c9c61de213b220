"""OSWorld as our environment, and our agent in its runner, on a small checkout with its signatures; its real task files where they are."""

import importlib
import inspect
import logging
import subprocess
import sys
from pathlib import Path

import fakes_osworld as fakes
import pytest

from tracer1.environments import ENVIRONMENTS
from tracer1.environments._foreign import revision
from tracer1.environments._osworld.agent import OSWorldAgent
from tracer1.environments._osworld.metrics import installed, libraries
from tracer1.environments._osworld.tasks import read_tasks
from tracer1.environments.osworld import OSWorld
from tracer1.errors import ConfigError, DataError, EnvironmentFault, MissingDependency
from tracer1.schema import Action, Outcome, Plan, PlanStep, Response, Rollout

DATA = Path(__file__).parents[2] / ".." / "shared" / "data" / "osworld"
QUICK = {"settle_s": 0, "pause_s": 0.25, "evaluate_s": 20}
TYPE = Action("type", content="hello")
real_tasks = pytest.mark.skipif(not DATA.is_dir(), reason="OSWorld's task files are not beside the repository")


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A clone with seven tasks; its modules are forgotten afterwards."""
    tasks = [
        fakes.task(1),
        fakes.task(2, "infeasible"),
        fakes.task(3, "compare_table"),
        fakes.task(4, "never_returns"),
        fakes.task(5, "raises"),
        fakes.task(6, silent=True),
        fakes.task(7, fails=True),
        fakes.task(8, "of_another_fork"),
        fakes.task(9, config=[]),
    ]
    yield fakes.build(tmp_path / "OSWorld", tasks).resolve()
    fakes.Machine.started.clear()
    sys.path[:] = [path for path in sys.path if not path.startswith(str(tmp_path.resolve()))]
    sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__module__ != "desktop_env"]
    for name in [name for name in sys.modules if name.split(".")[0] in fakes.OURS]:
        del sys.modules[name]
    importlib.import_module("tracer1.environments._osworld.metrics")._source.cache_clear()


@pytest.fixture
def world(checkout):
    environment = OSWorld(checkout=str(checkout), waits=QUICK)
    yield environment
    environment.close()


def machine():
    return fakes.Machine.started[-1]


def test_it_is_registered_and_has_the_settings_of_the_seam():
    assert ENVIRONMENTS.get("osworld") is OSWorld
    assert OSWorld.platform == "desktop"
    kinds = {parameter.kind for name, parameter in inspect.signature(OSWorld).parameters.items()}
    assert kinds == {inspect.Parameter.KEYWORD_ONLY}


def test_the_fake_has_the_signatures_of_desktop_env(world):
    world.reset("os/task-1", 0)
    for name, signature in fakes.SIGNATURES.items():
        function = getattr(type(machine()), name)
        plain = str(inspect.signature(function)).replace("'", "").replace(" ", "")
        assert plain == signature.replace("'", "").replace(" ", ""), name


def test_an_episode_is_scored_by_the_evaluator_alone(world):
    goal, seen = world.reset("os/task-1", 7)
    assert goal == "Write hello into note 1."
    assert seen.screenshot.startswith(b"\x89PNG")
    assert world.step(TYPE)[1] is False
    assert world.step(Action("finished"))[1] is True
    assert machine().action_history == ["pyautogui.write('hello', interval=0.02)", "DONE"]
    assert world.score() == 1.0


def test_done_is_not_needed_for_a_score(world):
    world.reset("os/task-1", 0)
    assert world.score() == 0.0
    world.reset("os/task-1", 0)
    world.step(TYPE)
    assert world.score() == 1.0


def test_evaluate_is_asked_once_and_ends_the_episode(world):
    world.reset("os/task-1", 0)
    world.step(TYPE)
    assert [world.score(), world.score()] == [1.0, 1.0]
    assert machine().evaluated == 1
    with pytest.raises(ConfigError, match="is over"):
        world.step(TYPE)


def test_no_step_after_the_last_one(world):
    world.reset("os/task-2", 0)
    world.step(Action("call_user"))
    with pytest.raises(ConfigError, match="is over"):
        world.step(Action("wait"))


@pytest.mark.parametrize(
    ("task", "actions", "score"),
    [
        ("os/task-2", ["call_user"], 1.0),  # infeasible, and said so
        ("os/task-2", ["finished"], 0.0),
        ("os/task-2", [], 0.0),
        ("os/task-1", ["type", "call_user"], 0.0),  # solved, but given up
        ("os/task-1", ["type", "finished"], 1.0),
    ],
)
def test_infeasible_tasks_are_solved_by_giving_up_and_others_are_not(world, task, actions, score):
    world.reset(task, 0)
    for kind in actions:
        world.step(Action(kind, content="hello" if kind == "type" else None))
    assert world.score() == score


def test_what_a_desktop_cannot_do_is_a_fresh_look(world):
    world.reset("os/task-1", 0)
    _, ended = world.step(Action("press_home"))
    assert (machine().action_history, ended) == (["WAIT"], False)


def test_the_pixels_are_those_of_the_screenshot(world, monkeypatch):
    monkeypatch.setattr(fakes, "png", lambda size=(800, 600), make=fakes.png: make(size))
    world.reset("os/task-1", 0)
    world.step(Action("click", point=(500.0, 500.0)))
    assert machine().commands == ["pyautogui.click(400, 300)"]


def test_arguments_go_by_name_and_the_action_space_is_ours(checkout):
    world = OSWorld(checkout=str(checkout), waits=QUICK, vm={"provider_name": "aws", "screen_size": [1280, 720]})
    world.reset("os/task-1", 0)
    arguments = machine().arguments
    assert arguments["provider_name"] == "aws"
    assert arguments["screen_size"] == (1280, 720)
    assert arguments["action_space"] == "pyautogui"
    assert arguments["headless"] is True
    assert arguments["require_a11y_tree"] is False
    assert machine().action_history == []
    world.step(TYPE)
    assert machine().pause == 0.25
    world.close()
    assert machine().closed


def test_environments_side_by_side_do_not_share_a_folder_for_results(checkout):
    worlds = [OSWorld(checkout=str(checkout), waits=QUICK) for _ in range(3)]
    for world in worlds:
        world.reset("os/task-1", 0)
    assert len({one.arguments["cache_dir"] for one in fakes.Machine.started}) == 3
    for world in worlds:
        world.close()


def test_one_machine_serves_many_episodes(world):
    for _ in range(3):
        world.reset("os/task-1", 0)
        world.step(TYPE)
        world.score()
    assert len(fakes.Machine.started) == 1


# -- what is no verdict


def test_a_task_whose_metric_needs_a_stand_in_is_refused_before_it_costs_an_episode(world):
    assert "absent_spreadsheet_library" in world.refuses("os/task-3")
    with pytest.raises(
        ConfigError, match=r"'os/task-3' is refused, not scored 0: .*'compare_table' needs absent_spreadsheet_library"
    ):
        world.reset("os/task-3", 0)
    assert not fakes.Machine.started


def test_a_metric_of_another_revision_is_refused(world):
    assert "no 'of_another_fork'" in world.refuses("os/task-8")


@pytest.mark.parametrize("task", ["os/task-1", "os/task-2"])
def test_what_a_metric_does_not_use_is_not_asked_for(world, task):
    assert world.refuses(task) == ""


def test_libraries_are_found_through_helpers_and_annotations_do_not_count(world):
    world.refuses("os/task-1")
    metrics = importlib.import_module("desktop_env.evaluators.metrics")
    assert libraries(metrics.compare_table) == {"absent_spreadsheet_library"}
    assert libraries(metrics.exact_match) == frozenset()


def test_installed_tells_a_library_from_a_stand_in_and_from_nothing(world):
    world.refuses("os/task-1")
    importlib.import_module("absent_table_library")
    assert [installed(name) for name in ("PIL", "sys", "absent_table_library", "nowhere_to_be_found")] == [
        True,
        True,
        False,
        False,
    ]


def test_an_evaluation_that_does_not_return_is_no_verdict(checkout):
    world = OSWorld(checkout=str(checkout), waits={**QUICK, "evaluate_s": 0.2})
    world.reset("os/task-4", 0)
    with pytest.raises(EnvironmentFault, match=r"task-4: no verdict within 0.2 s"):
        world.score()
    assert machine().closed
    world.reset("os/task-1", 0)
    assert len(fakes.Machine.started) == 2


def test_an_evaluation_that_raises_is_no_verdict(world):
    world.reset("os/task-5", 0)
    with pytest.raises(EnvironmentFault, match="RuntimeError: the file is no document"):
        world.score()


def test_a_machine_that_dies_before_the_evaluation_is_no_verdict(world):
    world.reset("os/task-1", 0)
    world.step(TYPE)
    machine().dead = True  # the getter finds no file, and the metric calls that a 0
    with pytest.raises(EnvironmentFault, match="no screenshot"):
        world.score()


def test_a_machine_that_dies_in_a_step_is_a_fault_and_the_next_reset_has_a_new_one(world):
    world.reset("os/task-1", 0)
    machine().dead = True
    with pytest.raises(EnvironmentFault, match="no screenshot"):
        world.step(TYPE)
    with pytest.raises(ConfigError, match="No episode"):
        world.score()
    assert machine().closed
    world.reset("os/task-1", 0)
    assert len(fakes.Machine.started) == 2


@pytest.mark.parametrize("task", ["os/task-6", "os/task-7"])
def test_a_set_up_that_fails_in_silence_or_aloud_is_a_fault(world, task):
    with pytest.raises(EnvironmentFault, match="could not be set up"):
        world.reset(task, 0)
    assert machine().closed


def test_a_task_without_set_up_is_none_that_failed(world):
    assert world.reset("os/task-9", 0)[0]


# -- the user's mistakes


def test_without_osworld_the_installation_is_named(tmp_path, monkeypatch):
    fakes.build(tmp_path, [fakes.task(1)])
    monkeypatch.setitem(sys.modules, "desktop_env", None)
    world = OSWorld(examples=str(tmp_path / "evaluation_examples"), waits=QUICK)
    assert world.tasks() == ["os/task-1"]
    with pytest.raises(MissingDependency, match=r"'desktop_env' is not installed.*git clone .*xlang-ai/OSWorld"):
        world.reset("os/task-1", 0)


def test_a_library_that_osworld_needs_is_named(checkout, world):
    (checkout / "desktop_env" / "desktop_env.py").write_text("import easyocr_of_nowhere\n")
    with pytest.raises(MissingDependency, match="needs 'easyocr_of_nowhere', which is absent"):
        world.reset("os/task-1", 0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"checkout": "/nowhere/at/all"}, "checkout: /nowhere/at/all is not a folder"),
        ({"waits": {"settle": 1}}, "Did you mean 'settle_s'"),
        ({"waits": {"settle_s": "soon"}}, "must be a number of seconds"),
        ({"waits": {"settle_s": -1}}, "must be a number of seconds"),
    ],
)
def test_settings_that_cannot_work_are_refused_at_once(settings, message):
    with pytest.raises(ConfigError, match=message):
        OSWorld(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"task_list": "test_al.json"}, "Did you mean 'test_all.json'"),
        ({"vm": {"provider": "docker"}}, "Did you mean 'provider_name'"),
        ({"vm": {"provider_name": "dockr"}}, "Invalid provider name: dockr"),
        ({"vm": {"action_space": "computer_13"}}, "no setting 'action_space'"),
    ],
)
def test_settings_that_the_checkout_refuses(checkout, settings, message):
    with pytest.raises(ConfigError, match=message):
        OSWorld(checkout=str(checkout), **{"waits": QUICK, **settings}).reset("os/task-1", 0)


def test_a_host_that_is_away_is_a_fault(checkout):
    world = OSWorld(checkout=str(checkout), waits=QUICK, vm={"region": "nowhere"})
    with pytest.raises(EnvironmentFault, match=r"did not start.*no host answers"):
        world.reset("os/task-1", 0)


def test_a_task_that_does_not_exist_is_named_with_its_neighbour(world):
    with pytest.raises(ConfigError, match="'os/task-"):
        world.reset("os/tsk-1", 0)


def test_a_folder_that_is_no_checkout_is_named(tmp_path):
    (tmp_path / "evaluation_examples").mkdir()
    (tmp_path / "evaluation_examples" / "test_all.json").write_text('{"os": ["x"]}')
    with pytest.raises(ConfigError, match="has no folder 'desktop_env'"):
        OSWorld(checkout=str(tmp_path)).refuses("os/x")


def test_without_any_tasks_the_settings_are_named():
    with pytest.raises(ConfigError, match="set `checkout` to a clone"):
        OSWorld().tasks()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "holds a list"),
        ('{"id": "x", "instruction": "y", "config": []}', "no 'evaluator'"),
        ('{"id": "x", "instruction": "y", "config": [], "evaluator": {}}', "names no `func`"),
    ],
)
def test_a_damaged_task_is_named(checkout, text, message):
    path = checkout / "evaluation_examples" / "examples" / "os" / "task-1.json"
    path.write_text(text)
    with pytest.raises(DataError, match=message) as error:
        read_tasks(None, checkout, "test_all.json").load("os/task-1")
    assert str(path) in str(error.value)


def test_settings_files_of_a_task_are_found_from_anywhere(tmp_path):
    login = {"type": "login", "parameters": {"settings_file": "evaluation_examples/settings/google/settings.json"}}
    root = fakes.build(tmp_path, [fakes.task(1, config=[login])])
    config = read_tasks(None, root, "test_all.json").load("os/task-1")["config"]
    wanted = root / "evaluation_examples" / "settings" / "google" / "settings.json"
    assert config[0]["parameters"]["settings_file"] == str(wanted)


# -- what a score is reported with


def test_about_tells_the_commit_and_the_number_of_tasks(checkout):
    def git(*words):
        subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], cwd=checkout, check=True, capture_output=True
        )

    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "x")
    about = OSWorld(checkout=str(checkout)).about()
    assert len(about["osworld"]) == 40
    assert (about["tasks"], about["by_domain"]) == (9, {"os": 9})
    (checkout / "evaluation_examples" / "test_all.json").write_text('{"os": ["task-1"]}')
    assert OSWorld(checkout=str(checkout)).about()["osworld"].endswith("+changes")


def test_revision_of_an_installed_package_is_its_version():
    assert revision(None, "pytest") == f"pytest {pytest.__version__}"
    assert revision(None, "no-such-distribution") == "unknown"


@real_tasks
def test_the_real_lists_have_361_and_369_tasks():
    assert len(read_tasks(str(DATA), None, "test_nogdrive.json").names) == 361
    everything = read_tasks(str(DATA), None, "task_ids_369.json")
    assert len(everything.names) == 369
    assert everything.by_domain()["multi_apps"] == 101


@real_tasks
def test_all_30_real_tasks_load():
    tasks = read_tasks(str(DATA), None, "task_ids_369.json")
    loaded = [tasks.load(f"{path.parent.name}/{path.stem}") for path in sorted(DATA.glob("examples/*/*.json"))]
    assert len(loaded) == 30
    assert all(task["instruction"] and task["evaluator"]["func"] for task in loaded)
    assert sum(task["evaluator"]["func"] == "infeasible" for task in loaded) == 4


@real_tasks
def test_a_task_that_is_in_the_list_but_not_on_disk_is_named():
    tasks = read_tasks(str(DATA), None, "task_ids_369.json")
    absent = next(name for name in tasks.names if not (DATA / "examples" / f"{name}.json").exists())
    with pytest.raises(DataError, match="the checkout is not complete"):
        tasks.load(absent)


# -- our agent in their runner


class Planner:
    """Says one prepared rollout after another, and notes what it was told."""

    def __init__(self, *rollouts):
        self.rollouts, self.asked = list(rollouts), []

    def plan(self, instruction, observation, history):
        self.asked.append((instruction, observation, history))
        return self.rollouts.pop(0)


def planned(action, said="plan", **more):
    steps = () if action is None else (PlanStep(action, screenshot_abstraction="a note"),)
    return Rollout(None, Response(said, (), ()), Plan(steps), **more)


def run_single_example(agent, env, example, max_steps, sleep_after_execution):
    """The loop of lib_run_single.run_single_example."""
    agent.reset(logging.getLogger("desktopenv.example"))
    env.reset(task_config=example)
    obs, done, step = env._get_obs(), False, 0
    while not done and step < max_steps:
        _, actions = agent.predict(example["instruction"], obs)
        for action in actions:
            obs, reward, done, _ = env.step(action, sleep_after_execution)
            assert reward == 0
            if done:
                break
        step += 1
    return env.evaluate()


def desktop(world):
    return world._import("desktop_env.desktop_env").DesktopEnv(
        provider_name="docker", action_space=OSWorldAgent.action_space
    )


def test_our_agent_solves_a_task_in_their_loop(world):
    planner = Planner(planned(Action("click", point=(500.0, 500.0))), planned(TYPE), planned(Action("finished")))
    env = desktop(world)
    assert run_single_example(OSWorldAgent(planner), env, fakes.task(1), 15, 0) == 1.0
    assert env.commands == ["pyautogui.click(960, 540)", "pyautogui.write('hello', interval=0.02)"]
    histories = [[step.action.action_type for step in history] for _, _, history in planner.asked]
    assert histories == [[], ["click"], ["click", "type"]]
    assert planner.asked[2][2][1].number == 2
    assert planner.asked[2][2][1].screenshot_abstraction == "a note"


def test_our_agent_gives_an_infeasible_task_up(world):
    assert (
        run_single_example(
            OSWorldAgent(Planner(planned(Action("call_user")))), desktop(world), fakes.task(2, "infeasible"), 15, 0
        )
        == 1
    )


def test_a_plan_that_cannot_be_acted_upon_is_a_fresh_look(world):
    planner = Planner(planned(None), planned(Action("press_home")), planned(Action("finished")))
    env = desktop(world)
    run_single_example(OSWorldAgent(planner), env, fakes.task(1), 15, 0)
    assert env.action_history == ["WAIT", "WAIT", "DONE"]


def test_the_executors_action_is_done_and_not_the_planners():
    rollout = planned(Action("click", point=(1.0, 1.0)), outcome=Outcome(action=Action("click", point=(500.0, 500.0))))
    agent = OSWorldAgent(Planner(rollout, planned(TYPE, outcome=Outcome(fault="no server"))))
    agent.reset()
    seen = {"screenshot": fakes.png((100, 100))}
    assert agent.predict("goal", seen) == ("plan", ["pyautogui.click(50, 50)"])
    with pytest.raises(EnvironmentFault, match="no server"):
        agent.predict("goal", seen)


def test_a_reset_forgets_and_takes_what_newer_runners_add():
    planner = Planner(planned(TYPE), planned(TYPE))
    agent = OSWorldAgent(planner)
    for _ in range(2):
        agent.reset(logging.getLogger("x"), vm_ip="10.0.0.1")
        agent.predict("goal", {"screenshot": fakes.png((100, 100))})
    assert planner.asked[1][2] == ()


def test_without_a_screenshot_the_runner_is_told():
    with pytest.raises(EnvironmentFault, match="no screenshot"):
        OSWorldAgent(Planner()).predict("goal", {"screenshot": None})
