"""A tiny stage 1 on shards of AgentNet (screenshots) and AgentTrek (text alone), from hand-made raw files to a trained policy."""

from collections.abc import Callable
from pathlib import Path

import pytest
import toy_run

RAW = toy_run.ROOT / "tests" / "data" / "converters"
GOALS = [f"Write line {number}" for number in range(6)]  # of which a hash holds some out


def write_agentnet(folder: Path) -> None:
    import raw_agentnet

    codes = ["pyautogui.click(x=0.5, y=0.25)", "pyautogui.write(message='a')", "computer.terminate(status='success')"]
    records = [raw_agentnet.record(f"t{number}", codes, instruction=goal) for number, goal in enumerate(GOALS)]
    raw_agentnet.write_release(folder, records, count=len(codes))


def write_agenttrek(folder: Path) -> None:
    import raw_agenttrek

    actions = ["click('a46')", "fill('47', 'a')", "send_msg_to_user('b')"]
    folder.mkdir()
    raw_agenttrek.write_array(folder, [row for goal in GOALS for row in raw_agenttrek.rows(goal, actions)])


@pytest.mark.parametrize("write", [write_agentnet, write_agenttrek])
def test_stage_1_trains_on_what_was_converted(
    write: Callable[[Path], None], program: Callable, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from rich.console import Console

    from tracer1.data.conversion import Conversion, convert
    from tracer1.tracking.journal import read_metrics

    monkeypatch.syspath_prepend(RAW.parent)
    monkeypatch.syspath_prepend(RAW)
    monkeypatch.setenv("TRACER1_DATA", str(tmp_path))
    name = write.__name__.removeprefix("write_")
    write(tmp_path / "raw")
    job = Conversion(name, tmp_path / "raw", tmp_path / name, workers=1, val_fraction=0.4)
    convert(job, Console(quiet=True))
    toys = [line for line in toy_run.toy_overrides(toy, tmp_path) if "data." not in line]
    small = ["rounds=1", "evaluation.every=1", "data.horizon=2", "data.num_workers=0", "data.val_limit=2"]
    choices = ["+experiment=demo_stage1", f"data={name}", "algorithm.groups_per_micro_batch=1"]
    done = program("train", [*choices, *toys, *small])
    assert done.code == 0, done.stderr
    lines = read_metrics(tmp_path / "run" / "metrics.jsonl")
    [round_] = [line for line in lines if "reward/total" in line]
    assert round_["data/dropped_prompts"] == 0
    assert any("val/heldout/reward" in line for line in lines)
    assert any(line.get("optim/grad_norm", 0) > 0 for line in lines)
