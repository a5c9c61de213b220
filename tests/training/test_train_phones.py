"""A small stage 1 on shards of the phone data sets, from raw files to a trained policy: `tools/make_shards.py`, then `train.py`."""

from collections.abc import Callable
from pathlib import Path

import pytest
import toy_run

RAW = toy_run.ROOT / "tests" / "data" / "converters"
SMALL = (
    "+experiment=demo_stage1",
    "model.prompt.max_prompt_tokens=1024",
    "data.num_workers=0",
    "data.horizon=3",
    "data.val_limit=2",
    "rounds=1",
    "algorithm.prompts_per_round=4",
    "algorithm.prompts_per_update=2",
    "algorithm.groups_per_micro_batch=1",
    "algorithm.group_size=3",
    "algorithm.sampling.max_tokens=10",
    "evaluation.every=1",
    "evaluation.sampling.max_tokens=10",
    "trainer.accelerator=cpu",
    "plugins=[toy_run]",
    "+reward.terms.letters.weight=1.0",
)


def write_android_control(folder: Path) -> None:
    import raw_android

    actions = [
        {"action_type": "open_app", "app_name": "Notes"},
        {"action_type": "click", "x": 27, "y": 30},
        {"action_type": "input_text", "text": "milk"},
        {"action_type": "scroll", "direction": "down"},
    ]
    episodes = [raw_android.episode(actions, number=number) for number in range(3)]
    raw_android.write_release(folder, episodes, {"train": [0], "validation": [1], "test": [2]})


def write_gui_odyssey(folder: Path) -> None:
    import raw_odyssey

    steps = [raw_odyssey.version_2(step) for step in (raw_odyssey.TAP, raw_odyssey.SWIPE, raw_odyssey.COMPLETE)]
    names = [str(number) for number in range(4)]
    whole = [raw_odyssey.annotation(steps, name) for name in names]
    raw_odyssey.write_release(folder, whole, {"train": names[:3], "test": names[3:]})


WRITERS = {"android_control": write_android_control, "gui_odyssey": write_gui_odyssey}


@pytest.mark.parametrize("dataset", WRITERS)
def test_stage_1_on_shards_of(
    dataset: str, program: Callable, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from rich.console import Console

    from tracer1.data.conversion import Conversion, convert

    monkeypatch.syspath_prepend(RAW)
    monkeypatch.setenv("TRACER1_DATA", str(tmp_path))
    WRITERS[dataset](tmp_path / "raw")
    convert(Conversion(dataset, tmp_path / "raw", tmp_path / dataset, workers=1), Console(quiet=True))
    assert not list((tmp_path / dataset).glob("*-test-*"))
    done = program(
        "train",
        [
            *SMALL,
            f"data={dataset}",
            f"data.sets.{dataset}.val=[{tmp_path}/{dataset}/*.tar]",
            f"model.path={toy}/planner",
            f"paths.outputs={tmp_path}",
            "run_name=run",
            f"logger.tracking_uri=sqlite:///{toy}/mlflow.db",
        ],
    )
    assert done.code == 0, done.stderr
    assert (tmp_path / "run" / "policy" / "model.safetensors").exists()
