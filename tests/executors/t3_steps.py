"""Steps of tool trajectories by hand, and a sandbox that runs code in this process."""

import contextlib
import io
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tracer1.data.records import reread
from tracer1.errors import SandboxFault
from tracer1.sandbox import Limits, Ran, ToolRefused
from tracer1.schema import DONE, NOT_DONE, Action, Outcome, Plan, PlanStep, Response, Rollout, Step


def trajectory(
    *actions: tuple[Action, str] | tuple[Action, str, dict], screenshot: bytes | None = None, **meta: Any
) -> list[Step]:
    """Steps of actions with what each printed, as they come from a shard; a third element is further meta of the step."""
    plan = tuple(
        PlanStep(given[0], DONE if given is actions[-1] else NOT_DONE, "", n + 1) for n, given in enumerate(actions)
    )
    steps = []
    for t, (action, text, *more) in enumerate(actions):
        own = {
            "outcome": {"text": text, "failed": False},
            "calls": [action.action_type],
            **meta,
            **(more[0] if more else {}),
        }
        steps.append(Step(f"t-a-{t:03d}", "t", "a", t, "u", screenshot, plan[:t], plan[t:], platform="tool", meta=own))
    return reread(steps, history=1)


def python(code: str, text: str = "", **more: Any) -> tuple:
    """A step of plain Python that printed a text."""
    return Action("python_interpreter", "compute", code=code), text, more


def answer(content: str) -> tuple:
    """The last step."""
    return Action("final_answer", "answer", content=content), ""


def rollout(step: Step, action: Action | None = None, **fields: Any) -> Rollout:
    """A response whose plan starts with an action; without one, with what `fields` make of it."""
    plan = Plan((PlanStep(action or Action(**fields)),), framed=True)
    return Rollout(step, Response("", (), ()), plan)


def rewarded(step: Step, outcome: Outcome) -> float:
    """What the answer reward gives."""
    from tracer1.rewards.answer_match import answer_match

    return answer_match(Rollout(step, Response("", (), ()), Plan(), outcome))


class HereSandbox:
    """Runs code in this process: for code that the tests wrote themselves.

    Args:
        faults: How many runs fail as the sandbox's own fault before the first that works.
    """

    kind = "here"

    def __init__(self, faults: int = 0) -> None:
        self.faults, self.opened, self.closed, self.ran = faults, 0, 0, []

    def session(self, folder: Path, tools=None, call=None) -> "HereSession":
        self.opened += 1
        return HereSession(self, folder, tools or {}, call)

    def close(self) -> None: ...


class HereSession:
    """One namespace; paths are relative to the folder."""

    def __init__(self, owner: HereSandbox, folder: Path, tools: Mapping, call) -> None:
        self.owner, self.folder = owner, folder
        self.names: dict[str, Any] = {"open": lambda path: (folder / path).open()}
        self.names |= {name: self._function(name, parameters, call) for name, parameters in tools.items()}

    @staticmethod
    def _function(name, parameters, call):
        def function(*args, **words):
            try:
                return call(name, {**dict(zip(parameters, args, strict=False)), **words})
            except ToolRefused as refused:
                raise RuntimeError(str(refused)) from None

        return function

    def run(self, code: str, limits: Limits | None = None) -> Ran:
        if self.owner.faults:
            self.owner.faults -= 1
            raise SandboxFault("the sandbox fell over")
        self.owner.ran.append(code)
        if code == "forever()":
            self.names = {}
            return Ran("", "it ran for longer than 10 s", "timeout")
        out = io.StringIO()
        self.names["print"] = lambda *values, **words: print(*values, **words, file=out)
        try:
            exec(code, self.names)
        except Exception as error:
            return Ran(out.getvalue(), traceback.format_exception_only(error)[-1].strip(), "exception")
        return Ran(out.getvalue())

    def call(self, module, function, arguments, limits=None) -> Ran:
        import importlib

        with contextlib.chdir(self.folder):
            return Ran(value=getattr(importlib.import_module(module), function)(**arguments))

    def close(self) -> None:
        self.owner.closed += 1
