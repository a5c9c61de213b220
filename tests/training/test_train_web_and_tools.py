"""A tiny stage 1 on shards of Multimodal-Mind2Web and MM-Traj, from hand-made raw files to a trained policy."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import toy_run

RAW = toy_run.ROOT / "tests" / "data" / "converters"


def write_multimodal_mind2web(folder: Path) -> None:
    """Tasks with a tall page, a step without a screenshot and one without a box; and one that is for testing."""
    import raw_mind2web as raw

    rows = [*raw.whole_task("a", image=raw.page(height=3000)), *raw.whole_task("b")]
    rows[4]["screenshot"], rows[5]["pos_candidates"] = None, []
    raw.write_parquet(folder / "train-00000-of-00001.parquet", rows)
    raw.write_parquet(folder / "test_task-00000-of-00001.parquet", raw.whole_task("never"))


def write_mm_traj(folder: Path) -> None:
    """Trajectories with an image, without any, and without an end."""
    import raw_mind2web
    import raw_mm_traj as raw

    (folder / raw.IMAGE).parent.mkdir(parents=True)
    (folder / raw.IMAGE).write_bytes(raw_mind2web.page(height=700))
    plain = [raw.say("print(2 + 1)"), raw.observation(0, "3"), raw.say("final_answer(3)")]
    endless = [raw.say("print(ask_search_agent('q'))"), raw.observation(0, "nothing")]
    records = [raw.counting(f"seen{number}") for number in range(4)]
    records += [raw.record("plain", plain), raw.record("endless", endless)]
    (folder / "set.json").write_text(json.dumps(records), encoding="utf-8")


@pytest.mark.parametrize("write", [write_multimodal_mind2web, write_mm_traj])
def test_stage_1_trains_on_what_was_converted(
    write: Callable[[Path], None], program: Callable, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from rich.console import Console

    from tracer1.data.conversion import Conversion, convert
    from tracer1.tracking.journal import read_metrics

    monkeypatch.syspath_prepend(RAW)
    monkeypatch.setenv("TRACER1_DATA", str(tmp_path))
    name = write.__name__.removeprefix("write_")
    write(tmp_path / "raw")
    convert(Conversion(name, tmp_path / "raw", tmp_path / name, workers=1, val_fraction=0.4), Console(quiet=True))
    assert not list((tmp_path / name).glob("*test*"))
    toys = [line for line in toy_run.toy_overrides(toy, tmp_path) if "data." not in line]
    small = ["rounds=1", "evaluation.every=1", "data.horizon=2", "data.num_workers=0", "data.val_limit=2"]
    # one of the two tasks, which the owner has no validation split for
    held_out = ["data.val_fraction=0.6"] if name == "multimodal_mind2web" else []
    choices = ["+experiment=demo_stage1", f"data={name}", "algorithm.groups_per_micro_batch=1"]
    done = program("train", [*choices, *toys, *small, *held_out, f"rollout.dump={tmp_path}/dump"])
    assert done.code == 0, done.stderr
    lines = read_metrics(tmp_path / "run" / "metrics.jsonl")
    [round_] = [line for line in lines if "reward/total" in line]
    assert round_["data/dropped_prompts"] == 0
    assert any("val/heldout/reward" in line for line in lines)
    assert any(line.get("optim/grad_norm", 0) > 0 for line in lines)
    [dump] = (tmp_path / "dump").iterdir()
    sampled = gzip.decompress(dump.read_bytes()).decode()
    assert sampled.count(f"{name}-") >= toy_run.ROUND_STEPS * 3
    assert "never" not in sampled
