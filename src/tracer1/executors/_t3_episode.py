"""One predicted call of one step: the folder and the interpreter as they were before the step, then the call, then what came of it.

It knows one step at a time, and nothing of groups, rounds or rewards.
"""

import copy
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from tracer1.answers import same_output
from tracer1.executors._t3_names import files_in, names_read, names_set
from tracer1.executors._t3_replay import Block, Replay, blocks_before, own_block, recorded_as, recordings
from tracer1.sandbox import Limits, Ran
from tracer1.schema import Action, Outcome, Step
from tracer1.toolbox.acting import FINAL, Hands, answered, code_of, printed
from tracer1.toolbox.replay import Recorded, Recording
from tracer1.toolbox.spec import ToolError
from tracer1.toolbox.toolbox import Toolbox

CACHE = ".cache"  # where T3's agent saves plots and pictures; it is there from the start (tools, section 1)
_LONG = 15_000  # characters from which recorded output may have been cut
_IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp")


@dataclass(frozen=True, slots=True)
class Terms:
    """What all episodes share.

    Args:
        toolbox: The tools.
        limits: Of one run of code.
        sources: Folders that hold the tasks' files.
        replay: Settings of `toolbox.replay.Recorded`; None: recordings answer no predicted call.
    """

    toolbox: Toolbox
    limits: Limits
    sources: tuple[Path, ...] = ()
    replay: Mapping[str, Any] | None = None


class Episode:
    """Runs an action in the state before a step. For one use.

    Args:
        terms: What all episodes share.
        step: Of platform `tool`.
    """

    def __init__(self, terms: Terms, step: Step) -> None:
        self.terms, self.step = terms, step
        self.toolbox = copy.copy(terms.toolbox)
        self.toolbox.replay = self.replay = Replay()
        self.given: set[str] = set()  # the last parts of the task's own files
        self.made: set[str] = set()  # names and files that earlier blocks may have set
        self.lost: set[str] = set()  # those of them of which nobody knows whether they are what they were
        self.hands = Hands(self.toolbox, terms.limits)

    def run(self, action: Action) -> Outcome:
        """What the action gives.

        Raises:
            ExecutorError: A server or the sandbox failed.
        """
        if action.action_type == FINAL and code_of(action) is None:
            return answered(action)  # whatever the state
        with ExitStack() as stack:
            self.open(stack)
            for block in blocks_before(self.step):
                self.again(block)
            self.replay.end(self._recorded())
            self.hands.live.clear()
            return self._judged(action, self.hands.act(action))

    def again(self, block: Block) -> Ran:
        """Runs a recorded block once more; what it should have set is lost where it does not do what it did."""
        self.replay.begin(block, self.toolbox.parameters())
        if block.code is None:
            result = self.toolbox.call(self.hands.desk, block.tool, block.arguments)
            ran = Ran(printed(result.value), result.error, result.kind)
        else:
            ran = self.hands.run(block.code)
        made = names_set(block.code) | (files_in(block.code, block.output) - self.given)
        self.made |= made
        if ran.ok and same_printed(ran.output, block.output):
            self.lost -= made
        elif not block.failed:
            self.lost |= made
        if ran.kind in ("timeout", "killed", "memory"):  # a new interpreter, which knows nothing
            self.lost |= self.made
        return ran

    # --- the parts of a run ------------------------------------------------------------------------------------------

    def _recorded(self) -> Recorded | None:
        """What answers predicted calls: of tools with a backend, and of tools one of whose recorded files is not there."""
        if self.terms.replay is None:
            return None
        known = list(recordings(self.step, self.toolbox.parameters()))
        blind = {recording.tool for recording in known if not self._has_files(recording)}
        answered = {name for name, tool in self.toolbox.tools.items() if tool.backend} | blind
        return Recorded(known, tools=sorted(answered), **self.terms.replay)

    def _has_files(self, recording: Recording) -> bool:
        """Whether every file that a recorded call names is in the folder."""
        tool = self.toolbox.tools.get(recording.tool)
        paths = [word for word, schema in (tool.parameters if tool else {}).items() if schema.get("format") == "path"]
        try:
            for word in paths:
                if isinstance(recording.arguments.get(word), str):
                    self.hands.desk.workspace.find(recording.arguments[word])
        except ToolError:
            return False
        return True

    def open(self, stack: ExitStack) -> None:
        """Opens the desk with the step's files; its screenshot stands in for the first image where that is not found."""
        meta = self.step.meta
        images, files = list(meta.get("images") or ()), list(meta.get("files") or ())
        self.given = {PurePosixPath(name).name for name in (*images, *files)}
        sources = list(self.terms.sources)
        if self.step.screenshot is not None and images:
            shown = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tracer1-step-")))
            (shown / PurePosixPath(images[0]).name).write_bytes(self.step.screenshot)
            sources.append(shown)
        opened = self.toolbox.desk(files=dict.fromkeys((*files, *images)), sources=sources, seen=self.hands.seen)
        self.hands.desk = stack.enter_context(opened)
        (self.hands.desk.workspace.folder / CACHE).mkdir(exist_ok=True)

    def _judged(self, action: Action, outcome: Outcome) -> Outcome:
        """The outcome, or a fault where it is no verdict on the policy: what it needs was not to be had here."""
        used = names_read(action.code) & self.lost
        if outcome.error and not used:
            used = files_in(action.code, *(action.arguments or {}).values()) & self.lost
        if used:
            return Outcome(fault=f"the state before the step could not be re-created ({', '.join(sorted(used))})")
        missing = (*self.hands.desk.workspace.missing, *sorted(self.replay.ghosts))
        if outcome.error and (path := next((p for p in missing if PurePosixPath(p).name in outcome.error), None)):
            return Outcome(fault=f"the file {path} is not there")
        if outcome.kind == "unavailable":
            return self._unavailable(outcome)
        return outcome if outcome.error else self._with_open_images(outcome)

    def _unavailable(self, outcome: Outcome) -> Outcome:
        """A tool that nothing answers: no verdict where the expert's call would not be answered either, his being such a tool."""
        tool = next(
            (call.tool for call in self.hands.live if call.result.kind == "unavailable"), outcome.action.action_type
        )
        own = own_block(self.step)
        calls = own.calls(self.toolbox.parameters())
        if not self.replay.misses[tool]:
            expert = [own.tool, *(call.tool for call in calls)]
            return Outcome(fault=outcome.error) if tool in expert else outcome
        if any(call.tool == tool and recorded_as(own, calls, number) is None for number, call in enumerate(calls)):
            return Outcome(
                fault=f"{tool}: what the expert's own call gave is not known, so that no other can be compared with it"
            )
        return replace(outcome, kind="replay_miss")

    def _with_open_images(self, outcome: Outcome) -> Outcome:
        """The outcome, or an error where a picture that a tool made does not open."""
        made = [name for call in self.hands.live for name in call.result.files if name.lower().endswith(_IMAGES)]
        for name in made:
            ran = self.hands.desk.session.of_tools().call("tracer1.toolbox.inside.images", "info", {"path": name})
            if not ran.ok or "value" not in (ran.value or {}):
                return Outcome(outcome.action, error=f"the picture {name} does not open", kind="bad_file")
        return outcome


def same_printed(output: str, recorded: str) -> bool:
    """Whether a block printed what it printed when it was recorded; a recording that may have been cut is taken to be the same."""
    return len(recorded) >= _LONG or same_output(output, recorded) or not (output.strip() or recorded.strip())
