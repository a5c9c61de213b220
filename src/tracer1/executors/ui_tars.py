"""UI-TARS executes the plan's first step: UI-TARS-7B, UI-TARS-1.5-7B and whatever speaks like them. It knows nothing of rewards."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from tracer1.actions import CoordinateSpace, smart_resized
from tracer1.errors import ConfigError
from tracer1.executors import EXECUTORS
from tracer1.executors import _ui_tars_prompt as prompt_of
from tracer1.executors._asker import make_asker
from tracer1.executors._frozen import Dialect, FrozenModel
from tracer1.executors._ui_tars_reply import parse
from tracer1.schema import Outcome, Rollout

FACTOR = 28  # pixels that UI-TARS's vision tower merges into one token, on each side


@EXECUTORS.register("ui_tars")
class UiTarsExecutor:
    """UI-TARS behind a server, or in this process.

    Args:
        model: Its name on the server; None takes the only one there.
        syntax: `start_box`, `start_box_1_5` or `point`: what the model was trained on.
        template: `computer`, `mobile`, `web`, `grounding`, or `auto`: by the step's platform.
        pixels: `{min, max}` that the server's image processor keeps to, for a model whose places are pixels of the image that it
            makes; None for one whose places are 0..1000.
        goal: UI-TARS reads the task's goal beside the step's instruction.
        sampling: temperature, max_tokens, seed.
        server: `endpoints`, `api_key_env` and the fields of `chat.Patience`.
        vllm: Options of a vLLM that serves the model, in this process where `in_process` says so.
        in_process: No server is asked: vLLM runs here.
        cache: Folder of the replies; None keeps none.

    Raises:
        ConfigError: settings that cannot work.
    """

    def __init__(
        self,
        model: str | None = None,
        syntax: str = "start_box",
        template: str = "auto",
        pixels: Mapping[str, int] | None = None,
        goal: bool = False,
        sampling: Mapping[str, Any] | None = None,
        server: Mapping[str, Any] | None = None,
        vllm: Mapping[str, Any] | None = None,
        in_process: bool = False,
        cache: str | None = None,
    ) -> None:
        prompt_of.check(syntax, template)
        space = None if pixels is None else _absolute(pixels)
        messages = partial(prompt_of.messages, syntax=syntax, template=template)
        self.frozen = FrozenModel(Dialect(messages, parse, space), dict(sampling or {}), goal)
        self.asker = make_asker(model, server, (vllm or {}) if in_process else None, cache)

    def execute(self, rollouts: Sequence[Rollout]) -> list[Outcome]:
        """One outcome per rollout, in order: UI-TARS's first action, an error that is a verdict, or a fault that is none."""
        return self.frozen.execute(rollouts, self.asker)


def _absolute(pixels: Mapping[str, int]) -> Any:
    """Size of a screenshot -> the space of a model whose places are pixels of what `smart_resize` makes of it."""
    if not isinstance(pixels, Mapping) or set(pixels) != {"min", "max"} or not 0 < pixels["min"] <= pixels["max"]:
        raise ConfigError(
            f"executor.pixels is {pixels!r:.60}; it must be {{min, max}} in pixels, or null for places in 0..1000."
        )

    def space(width: int, height: int) -> CoordinateSpace:
        return smart_resized(width, height, FACTOR, pixels["min"], pixels["max"])

    return space
