"""One task under way: its files on a desk, the agent's hands, what it was shown last and what it did. It knows no source of tasks.

What the planner is shown of it goes into `Observation.meta` under the names that training steps have: `tools`, `files`, `observation`.
`did` and `answer` are for whoever scores; no prompt has them.
"""

import functools
import io
import logging
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from tracer1.environments._tools.offers import Offer
from tracer1.environments._tools.task import ToolTask
from tracer1.interfaces import Observation
from tracer1.needs import SAID_NOTHING
from tracer1.sandbox import Limits
from tracer1.schema import Action, Outcome
from tracer1.toolbox.acting import FINAL, Hands, answered, code_of
from tracer1.toolbox.spec import ToolError
from tracer1.toolbox.toolbox import INTERPRETER, Toolbox
from tracer1.toolbox.tools._pictures import shown
from tracer1.toolbox.workspace import read_inside

log = logging.getLogger(__name__)

SEEN = 2000  # characters of an output that the next prompt shows, as in MM-Traj's training steps
LARGEST = 64 << 20  # bytes of a task's image
_IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp")


class Table:
    """An episode of a task; its interpreters end with `stack`.

    Args:
        stack: Closed when the episode is over.
        task: What is to be solved.
        offered: The tools.
        toolbox: Made of them.
        limits: Of one run of code.

    Raises:
        ExecutorError: there is no room for the files.
    """

    def __init__(self, stack: ExitStack, task: ToolTask, offered: Offer, toolbox: Toolbox, limits: Limits) -> None:
        self.task, self.offered, self.toolbox = task, offered, toolbox
        self.hands = Hands(toolbox, limits)
        names = dict.fromkeys((*task.files, *task.images))
        opened = toolbox.desk(files=names, sources=task.sources, seen=self.hands.seen)
        self.hands.desk = self.desk = stack.enter_context(opened)
        self.did: list[dict[str, Any]] = []
        self.answer: str | None = None
        self._text = ""
        self._picture = self._first_picture()

    def look(self) -> Observation:
        """What there is to be seen: the newest image, else a plain picture that the planner is not shown; what was said last."""
        meta = {
            "tools": list(self.offered.signatures),
            "files": list(self.task.files),
            "images": list(self.task.images),
            "observation": _middle_out(self._text),
            "did": list(self.did),
            "answer": self.answer,
        }
        picture = self._picture
        return Observation(
            picture or blank(), meta["observation"], shown=picture is not None and self.task.sighted, meta=meta
        )

    def act(self, action: Action) -> tuple[Observation, bool]:
        """Makes the call; a final answer ends the episode. Raises ExecutorError where a server or the sandbox failed."""
        before = self.desk.workspace.files()
        self.hands.live.clear()
        outcome = self._outcome(action)
        calls = [(call.tool, dict(call.arguments), call.result.kind) for call in self.hands.live]
        answers = not outcome.error and outcome.action is not None and outcome.action.action_type == FINAL
        if not answers and not outcome.error and any(tool == FINAL and not kind for tool, _, kind in calls):
            answers = True  # code that called other tools first
        self.did.append(_did(action, outcome, calls))
        if answers:
            self.answer = outcome.answer
        self._text = (
            f"error: {outcome.error}" if outcome.error else outcome.answer or f"{SAID_NOTHING}: it printed nothing."
        )
        if not answers:
            self._picture = self._newest(before) or self._picture
        return self.look(), answers

    def _outcome(self, action: Action) -> Outcome:
        """Of an agent that is not offered Python no code is run."""
        if code_of(action) is None or INTERPRETER in self.toolbox.tools:
            return self.hands.act(action)
        if action.action_type == FINAL:
            return answered(action)
        result = self.toolbox.call(self.desk, action.action_type, action.arguments)
        said = result.value if isinstance(result.value, str) else str(result.value)
        return Outcome(
            Action(action.action_type), error=result.error, kind=result.kind, answer=said, value=result.value
        )

    # --- pictures ----------------------------------------------------------------------------------------------------

    def _first_picture(self) -> bytes | None:
        """The task's first image as it is; written anew in the sandbox where it is neither PNG nor JPEG; None where there is none."""
        if not self.task.images:
            return None
        name = self.task.images[0]
        data = read_inside(self.desk.workspace.folder, self.desk.workspace.find(name), LARGEST)
        return data if data.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")) else self._shown(name)

    def _newest(self, before: dict[str, tuple[int, int]]) -> bytes | None:
        """The image that the last action made, if any; decoded in the sandbox only, for code of the agent may have written it."""
        now = self.desk.workspace.files()
        made = [name for name, about in now.items() if before.get(name) != about and name.lower().endswith(_IMAGES)]
        return self._shown(max(made, key=lambda name: now[name][0])) if made else None

    def _shown(self, name: str) -> bytes | None:
        """An image of the folder as a model is shown it; None where it is none."""
        of_tools = replace(self.desk, session=self.desk.session.of_tools)
        try:
            return shown(of_tools, self.desk.workspace.find(name)).data
        except ToolError as error:
            log.debug("%s: %s", name, error)
            return None


def _did(action: Action, outcome: Outcome, calls: list[tuple[str, dict[str, Any], str]]) -> dict[str, Any]:
    """An action as whoever scores reads it: the tools that it called, Python alone being `python_interpreter`."""
    made = outcome.action or action
    if not calls:
        calls = [(made.action_type, dict(made.arguments or {}), outcome.kind)]
    plain = [{"name": tool, "arguments": arguments, "kind": kind} for tool, arguments, kind in calls]
    return {"tools": [call["name"] for call in plain], "calls": plain, "error": outcome.error, "kind": outcome.kind}


def _middle_out(text: str) -> str:
    """The text without its middle where it is long."""
    half = SEEN // 2
    return text if len(text) <= SEEN else f"{text[:half]} ... {text[-half:]}"


@functools.cache
def blank() -> bytes:
    """A plain white PNG: stands in a record where a task has no image."""
    from PIL import Image

    out = io.BytesIO()
    Image.new("RGB", (320, 20), "white").save(out, "PNG")
    return out.getvalue()
