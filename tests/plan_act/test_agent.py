"""`agent.py` as a user runs it: what it plays and prints, its mistakes in one line, Ctrl-C, and a real page."""

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from toy_square import SquareWorld

import tracer1.agent
from tracer1.environments import ENVIRONMENTS
from tracer1.errors import ConfigError, MissingDependency, UnknownName
from tracer1.plan_act.reading import read_record
from tracer1.plan_act.session import jobs_of
from tracer1.training.overrides import check_overrides

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
SQUARE = ["plugins=[square_plugin]", "+environment.name=square", "+environment.task=endless"]


@pytest.fixture
def agent(tmp_path, monkeypatch, capsys):
    """Runs the entry point in this process with overrides; gives what it printed."""
    monkeypatch.setenv("TRACER1_ROOT", str(ROOT))
    monkeypatch.setenv("COLUMNS", "200")
    common = [
        f"paths.outputs={tmp_path}",
        f"agent.tracking_uri=sqlite:///{tmp_path}/mlflow.db",
        "agent.sampling.max_tokens=200",
    ]

    def run(*overrides):
        config = check_overrides("agent", [*common, *overrides])
        Path(config["paths"]["output_dir"]).mkdir(parents=True, exist_ok=True)
        tracer1.agent.main(OmegaConf.create(config))
        return capsys.readouterr().out

    return run


def rows(printed):
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in printed.splitlines() if line.startswith("│")]


def test_it_plays_records_and_replays_with_the_shipped_planner(agent, tmp_path):
    printed = agent(*SQUARE, "+environment.seeds=[4,9]", "agent.max_steps=3", "agent.tracking_uri=null")
    found = rows(printed)
    assert [row[:2] for row in found] == [["endless", "4"], ["endless", "9"]]
    recording = read_record(tmp_path / "agent")
    assert [[f"{e.score:g}", str(e.steps)] for e in recording.episodes] == [row[2:4] for row in found]
    assert recording.settings["policy"].endswith("demo/tiny_planner")
    assert all(turn.tries[0].response for e in recording.episodes for turn in e.turns)
    assert "tools/show_episode.py" in printed
    again = agent(
        *SQUARE, f"replay={recording.path}", "run_name=again", "model.path=/nowhere", "agent.tracking_uri=null"
    )
    assert "2 of 2 episodes went as recorded" in again
    assert rows(again) == found


def test_a_record_of_another_environment_is_not_replayed(agent, tmp_path):
    (tmp_path / "old").mkdir()
    lines = [
        {"kind": "run", "version": 1, "settings": {"environment": {"name": "miniwob"}, "rules": {"new_rule": 3}}},
        {"kind": "end", "episode": 0, "attempt": 0, "task": "endless", "seed": 1, "sample": 0, "instruction": "", "end": "done",
         "score": 1.0, "fault": "", "screenshot": None, "seconds": 0},
    ]  # fmt: skip
    (tmp_path / "old" / "episodes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(ConfigError, match=r"was recorded in miniwob, not in square: use \+environment=miniwob"):
        agent(*SQUARE, f"replay={tmp_path}/old")


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        ([], "Say where to act: \\+environment=miniwob"),
        (["+environment=minwob"], "There is no environment 'minwob'. Did you mean 'miniwob'"),
        (["environment=miniwob"], "added with a plus"),
        (["+environment=miniwob", "environment.name=minwob"], "No environment 'minwob'. Did you mean 'miniwob'"),
        (["+environment=miniwob", "environment.task=login-usr"], "no task 'login-usr'. Did you mean 'login-user'"),
        (["+environment=miniwob", "environment.seeds=none"], "environment.seeds='none'"),
        (["+environment=miniwob", "environment.seeds=0"], "environment.seeds=0"),
        (["+environment=miniwob", "+environment.speed=3"], "environment 'miniwob' has no setting 'speed'"),
        (["+environment.name=miniwob"], "environment.task is missing"),
        (["+environment=miniwob", "agent.max_stepz=3"], "agent.max_stepz'. Did you mean 'agent.max_steps'"),
        (["+environment=miniwob", "agent.parallel=0"], "agent.parallel=0 cannot work"),
        (["+environment=miniwob", "replay=/nowhere"], "/nowhere"),
    ],
)
def test_mistakes_are_named_before_a_model_is_loaded(agent, overrides, says):
    pytest.importorskip("miniwob")
    with pytest.raises(Exception, match=says) as raised:
        agent(*overrides, "model.path=/nowhere")
    assert isinstance(raised.value, (ConfigError, UnknownName)) or "/nowhere" in says


def test_without_an_executor_nothing_is_played(agent):
    with pytest.raises(ConfigError, match="executor=direct"):
        agent(*SQUARE, "executor=none")


def test_a_missing_browser_is_one_error(agent, monkeypatch):
    pytest.importorskip("miniwob")
    importlib.import_module("tracer1.environments.miniwob")

    class NoBrowser(ENVIRONMENTS.get("miniwob")):
        def reset(self, task, seed):
            raise MissingDependency("There is no Chromium: playwright install chromium.")

    monkeypatch.setitem(ENVIRONMENTS._table, "miniwob", NoBrowser)
    with pytest.raises(MissingDependency, match="no Chromium"):
        agent("+environment=miniwob", "environment.seeds=3", "agent.tracking_uri=null")


def test_a_refused_task_is_named_left_out_and_no_score_of_0(agent, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(SquareWorld, "refused", {"reach": "it needs a ruler"})
    printed = agent(
        *SQUARE[:2], "+environment.task=[reach,endless,reach]", "+environment.seeds=2", "agent.max_steps=1",
        "agent.tracking_uri=null",
    )  # fmt: skip
    assert [row[:2] for row in rows(printed)] == [["endless", "0"], ["endless", "1"]]
    said = [record.message for record in caplog.records if "is refused" in record.message]
    assert said == ["reach is refused and left out, not scored 0: it needs a ruler"]


def test_when_all_tasks_are_refused_the_reasons_are_the_error(agent, monkeypatch):
    monkeypatch.setattr(SquareWorld, "refused", {"endless": "it needs a ruler"})
    with pytest.raises(ConfigError, match="every task is refused, not scored 0: endless: it needs a ruler"):
        agent(*SQUARE, "model.path=/nowhere")


def test_jobs_are_made_of_tasks_and_seeds():
    known = ["a", "b"]
    assert [(job.task, job.seed) for job in jobs_of(["b", "a"], 2, 10, known)] == [
        ("b", 10),
        ("b", 11),
        ("a", 10),
        ("a", 11),
    ]
    assert [(job.task, job.seed) for job in jobs_of("all", [7], 0, known)] == [("a", 7), ("b", 7)]
    for tasks, seeds in (([], 1), ("a", []), ("a", [1.5]), ("a", True), ("a", "12"), ("a", None), ("a", -1)):
        with pytest.raises(ConfigError, match=r"environment\.(seeds|task is empty)"):
            jobs_of(tasks, seeds, 0, known)


def test_ctrl_c_keeps_what_was_recorded_and_says_so(tmp_path):
    sign = tmp_path / "sign"
    command = [
        sys.executable, str(ROOT / "src/tracer1/agent.py"), *SQUARE, "+environment.seeds=50", "+environment.pause_s=0.05",
        f"+environment.sign={sign}", f"paths.outputs={tmp_path}", "agent.tracking_uri=null", "agent.parallel=2",
        "agent.max_steps=500",
    ]  # fmt: skip
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(HERE)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 200
    while not sign.exists():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < until, "it did not begin"
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    recording = read_record(tmp_path / "agent")
    turns = sum(len(episode.turns) for episode in recording.episodes)
    assert process.returncode == 130, said
    whole = sum(bool(episode.end) for episode in recording.episodes)
    assert said.splitlines()[-1] == f"Stopped: {recording.path} has {turns} steps and {whole} whole episodes of 50."
    assert turns >= 2
    assert whole < len(recording.episodes)  # cut off in the middle
    assert "Traceback" not in said
    assert len(list(tmp_path.glob("sign-closed-*"))) == 2


def test_a_real_page_is_played_recorded_and_replayed(agent, browser_installed, tmp_path):
    """The shipped planner on two pages whose target it clicks; the replay sees the same screens."""
    found = rows(
        agent(
            "+environment=miniwob",
            "environment.task=[click-test,click-button]",
            "environment.seeds=2",
            "agent.parallel=2",
        )
    )
    assert len(found) == 4
    assert all(-1 <= float(row[2]) <= 1 and row[4] for row in found)
    again = agent("+environment=miniwob", f"replay={tmp_path}/agent", "run_name=again", "agent.parallel=1")
    assert "4 of 4 episodes went as recorded" in again
    assert [row[2:] for row in rows(again)] == [row[2:] for row in found]
