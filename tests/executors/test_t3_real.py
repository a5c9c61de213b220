"""The T3 executor in a real sandbox on the real trajectories of MM-Traj: what can be reproduced, and what cannot is nobody's fault."""

import ast
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from t3_steps import answer, python, rewarded, rollout, trajectory

from tracer1.data.converters import CONVERTERS
from tracer1.data.records import reread
from tracer1.errors import MissingDependency
from tracer1.executors._t3_survey import run_again, survey_text
from tracer1.executors.t3 import T3Executor
from tracer1.needs import lacking
from tracer1.sandbox import open_sandbox
from tracer1.schema import Action

ROOT = Path(__file__).parents[2]
DATA = ROOT / ".." / "shared" / "data" / "mm_traj"


@pytest.fixture(scope="module")
def executor() -> Iterator[T3Executor]:
    """With the machine's sandbox; skips where there is none, which is a failure in CI."""
    try:
        sandbox = open_sandbox()
    except MissingDependency as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must have a sandbox. {missing}")
        pytest.skip(str(missing))
    made = T3Executor(sandbox=sandbox, replay={"miss": "nearest"}, concurrency=2)
    yield made
    made.close()


@pytest.fixture(scope="module")
def trajectories() -> list:
    """The 74 trajectories as they come from shards."""
    if not DATA.is_dir():
        pytest.skip("the real trajectories of MM-Traj are not here")
    converter = CONVERTERS.get("mm_traj")
    return [reread(done.steps) for unit in converter.units(DATA) for done in converter.read(unit)]


def test_every_block_of_code_parses(trajectories):
    codes = [step.future[0].action.code for steps in trajectories for step in steps]
    codes += [code for steps in trajectories for step in steps for code in step.meta.get("code_before") or ()]
    assert (len(trajectories), len(codes)) == (74, 185)
    assert all(ast.parse(code).body for code in codes)


def test_steps_without_tools_give_again_what_they_gave(executor, trajectories):
    rows = [row for steps in trajectories for row in run_again(executor.terms, steps)]
    free = [row for row in rows if row.tool_free]
    counts = Counter((row.kind, row.same) for row in free)
    # 18 of 19 and 15 of 16 of the 94 trajectories of which these are 74 (tools, section 0): those of trajectories without any tool
    assert counts == {("observation", True): 30, ("observation", False): 3, ("answer", True): 74}
    assert Counter((row.kind, row.exact) for row in rows if row.alone) == {
        ("observation", True): 14,
        ("answer", True): 12,
    }
    lines = survey_text(rows).splitlines()
    assert "| observations of tool-free steps | 33 | 30 | 30 |" in lines
    assert len(lines) == 8 + 3
    assert (
        sum("No such file" in line for line in lines) == 2
    )  # the third uses what a block with an absent image did not give


def test_the_experts_own_call_is_right_or_cannot_be_judged(executor, trajectories):
    steps = [step for steps in trajectories for step in steps if lacking(step, ["outcome"]) is None]
    outcomes = executor.execute([rollout(step, step.future[0].action) for step in steps])
    assert len(outcomes) == 181
    faults = [outcome.fault for outcome in outcomes if outcome.fault]
    judged = [rewarded(step, outcome) for step, outcome in zip(steps, outcomes, strict=True) if not outcome.fault]
    assert len(faults) == 9, faults  # images that are not there, and two calls whose arguments nobody knows
    assert judged == [1.0] * 172


def test_another_call_than_the_experts_is_wrong(executor, trajectories):
    steps = [steps[0] for steps in trajectories]
    guess = [rollout(step, action_type="final_answer", content="I do not know.") for step in steps]
    printed = [rollout(step, action_type="python_interpreter", code="print('I do not know.')") for step in steps]
    outcomes = executor.execute([*guess, *printed])
    assert {rewarded(step, outcome) for step, outcome in zip(steps * 2, outcomes, strict=True)} == {0.0}
    assert not [outcome for outcome in outcomes if outcome.fault or outcome.error]


def test_state_limits_and_files_in_a_real_sandbox(executor, draw_screen):
    steps = trajectory(
        python("from PIL import Image\nsize = Image.open('d/s.png').size\nprint(size)", "(96, 64)"),
        python("import matplotlib.pyplot as plt\nplt.plot([1])\nplt.savefig('.cache/p.png')\nprint(size[0])", "96"),
        answer("96"),
        images=["d/s.png"],
        screenshot=draw_screen(),
    )
    call = {"action_type": "image_info", "arguments": {"image_path": ".cache/p.png"}}
    [seen, endless, crop] = executor.execute(
        [
            rollout(steps[2], **call),
            rollout(steps[2], action_type="python_interpreter", code="while True: pass"),
            rollout(steps[1], Action("crop_image", code="print(crop_image('d/s.png', [0, 0, *size]))")),
        ]
    )
    assert seen.value["width"] > 96
    assert endless.kind == "timeout"
    assert (crop.answer.strip(), crop.action.action_type, crop.error) == ("crop_1.png", "crop_image", "")


def test_the_tool_prints_the_table_and_answers_mistakes(executor, tmp_path: Path):
    script = str(ROOT / "tools" / "replay_mm_traj.py")

    def run(*arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, script, *arguments], capture_output=True, text=True, timeout=300, check=False
        )

    nothing = run(str(tmp_path))
    assert (nothing.returncode, nothing.stdout) == (2, "")
    assert nothing.stderr.startswith(f"replay_mm_traj: {tmp_path} holds no JSON file")
    assert "Did you mean 'bubblewrap'?" in run(str(tmp_path), "--sandbox", "bubblewarp").stderr
    if DATA.is_dir():
        assert "| answers of tool-free steps | 74 | 74 | 74 |" in run(str(DATA)).stdout
