"""What many tests share: steps with drawn screenshots, and a tiny planner with random weights.

Heavy libraries are imported inside the fixtures: the tests of text and geometry never wait for torch.
"""

import io
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image, ImageDraw

from tracer1.schema import DONE, NOT_DONE, Action, PlanStep, Point, Step

if TYPE_CHECKING:
    from tracer1.models.backbone import Backbone

# What the tiny planner's tokenizer learns from: prompts and plans of the kind it reads and writes
TEXTS = (
    "Task: Click on the red button.\nPlan 5 from Step 1:",
    "Task: Type the name into the box, then press submit.\nClick the box.\nPlan 5 from Step 2:",
    '<think>The button is red.</think><answer>\nStep 1: {"screenshot_abstraction": "a form with a button", '
    '"action": {"action_type": "click", "step_instruction": "Click the red button.", "point": [512, 133]}, "status": "done"}\n</answer>',
)


def pytest_configure(config: pytest.Config) -> None:
    """Before torch is loaded: side by side (`-n`), each worker and what it starts has its share of the cores.

    A shell without job control lets what it starts with `&` ignore Ctrl-C, and so would all programs that tests interrupt.
    """
    if workers := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
        share = len(os.sched_getaffinity(0)) // int(workers)
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, share)))
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _draw_screen(size: tuple[int, int] = (96, 64), square: tuple[int, int] = (40, 20), colour: str = "red") -> bytes:
    """PNG bytes of a white screen with a 16-pixel square whose upper left corner is at `square`, in pixels."""
    image = Image.new("RGB", size, "white")
    ImageDraw.Draw(image).rectangle([*square, square[0] + 15, square[1] + 15], fill=colour)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _click(number: int, place: Point, done: bool) -> PlanStep:
    action = Action("click", f"Click square {number}.", point=place)
    return PlanStep(action, DONE if done else NOT_DONE, "a white page", number)


@pytest.fixture(scope="session")
def browser_installed() -> Path:
    """The folder of MiniWoB++'s pages; asking for it says that a test starts a browser: without one it is skipped, in CI it fails."""
    from tracer1.environments._miniwob.browser import binary, html_folder, playwright_api
    from tracer1.errors import MissingDependency

    try:
        binary()
        playwright_api()
        return html_folder()
    except MissingDependency as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must have a browser. {missing}")
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def draw_screen() -> Callable[..., bytes]:
    """`draw_screen(size=(96, 64), square=(40, 20), colour="red")` -> PNG bytes."""
    return _draw_screen


@pytest.fixture(scope="session")
def make_step() -> Callable[..., Step]:
    """`make_step(instruction, index=0, past=0, places=[(500, 500)], **fields)`: a step whose future clicks `places`, one after another.

    `past` is how many steps its history holds; `fields` replace fields of the Step, e.g. `screenshot=None`.
    """

    def make(
        instruction: str = "Click on the red button.",
        *,
        index: int = 0,
        past: int = 0,
        places=((500.0, 500.0),),
        **fields,
    ) -> Step:
        trajectory = fields.pop("trajectory", "a")
        history = tuple(_click(index - past + i + 1, (10.0, 10.0), False) for i in range(past))
        future = tuple(_click(index + i + 1, place, i + 1 == len(places)) for i, place in enumerate(places))
        defaults = {
            "key": f"toy-{trajectory}-{index:03d}",
            "dataset": "toy",
            "trajectory": trajectory,
            "index": index,
            "instruction": instruction,
            "history": history,
            "future": future,
        }
        if "screenshot" not in fields:
            fields["screenshot"] = _draw_screen()
        return Step(**{**defaults, **fields})

    return make


@pytest.fixture(scope="session")
def tiny() -> "Backbone":
    """A tiny planner with random weights that sees screens of 4,096 to 16,384 pixels. Shared: whoever changes it takes a copy."""
    from tracer1.models.tiny import make_tiny_planner

    backbone = make_tiny_planner(TEXTS, seed=1, pixels=(4096, 16384))
    backbone.model.eval()
    return backbone


@pytest.fixture(scope="session")
def tiny_folder(tiny: "Backbone", tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny planner as a folder that `load_backbone` reads. Shared: whoever changes it takes a copy."""
    folder = tmp_path_factory.mktemp("tiny") / "planner"
    tiny.save(folder)
    return folder
