"""Runs the first call of each plan with the tools of T3-Agent, in the state that the expert's earlier steps had led to.

A prediction is a tool's name with `arguments`, or Python in `code` that may call tools, or `final_answer` with `content`; where there is
code, it is what runs. The state is made anew for every call that differs: the earlier blocks run again, their tools answering what they
gave when they were recorded. What the policy is to blame for is `Outcome.error`; what it is not, a `fault`: a server or the sandbox
failed, a file of the data set is missing, the earlier state cannot be re-created. It knows nothing of rewards.
"""

import json
import logging
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tracer1.errors import ConfigError, ExecutorError
from tracer1.executors import EXECUTORS
from tracer1.executors._t3_episode import Episode, Terms
from tracer1.registry import bound
from tracer1.sandbox import Limits, Sandbox, checked_limits, open_sandbox
from tracer1.schema import Action, Outcome, Rollout, Step
from tracer1.toolbox.backends import make_backends
from tracer1.toolbox.cache import Cache
from tracer1.toolbox.replay import Recorded
from tracer1.toolbox.toolbox import Toolbox

log = logging.getLogger(__name__)

_ATTEMPTS = 2  # of a call under which the infrastructure failed


@EXECUTORS.register("t3")
class T3Executor:
    """The T3 toolbox.

    Args:
        tools: Names of the tools that may be called; None is all of them.
        sandbox: Where code runs: auto | bubblewrap | docker | http | unsafe, or `{"kind": ..., its settings}`.
        limits: Of one run of code, by the names of `sandbox.Limits`; what is not named has its default.
        backends: Models and networks by role, see `toolbox.backends.make_backends`; None is none of them.
        cache: A folder for results of tools; None keeps none.
        replay: How recorded results answer predicted calls: `miss` and `alike` of `toolbox.replay.Recorded`. None: they do not.
        files: Folders that hold the files which the data set's tasks name.
        concurrency: Calls that run at the same time.
        deadline_s: Seconds for all calls of a round; what has not finished by then is masked.

    Raises:
        ConfigError: A setting that cannot work.
    """

    def __init__(
        self,
        tools: Sequence[str] | None = None,
        sandbox: str | Mapping[str, Any] | Sandbox = "auto",
        limits: Mapping[str, Any] | None = None,
        backends: Mapping[str, Any] | None = None,
        cache: str | None = None,
        replay: Mapping[str, Any] | None = None,
        files: Sequence[str] = (),
        concurrency: int = 4,
        deadline_s: float = 900.0,
    ) -> None:
        if concurrency < 1 or deadline_s <= 0:
            raise ConfigError(
                f"executor.concurrency={concurrency}, deadline_s={deadline_s}: they must be at least 1, and above 0."
            )
        kept = checked_limits(limits, "executor.limits")
        self.sandbox = _sandbox(sandbox, kept)
        self.toolbox = Toolbox(
            tools, sandbox=self.sandbox, backends=make_backends(backends), cache=None if cache is None else Cache(cache)
        )
        if replay is not None:
            bound("executor.replay", _replay_settings, replay)
            Recorded((), **replay)
        self.terms = Terms(self.toolbox, kept, _folders(files), replay)
        self.concurrency, self.deadline_s = concurrency, deadline_s

    def execute(self, rollouts: Sequence[Rollout]) -> list[Outcome]:
        """One outcome per rollout, in order. Equal calls of one step are made once; the others get its outcome, as `cached`."""
        outcomes: list[Outcome | None] = [_unreadable(rollout) for rollout in rollouts]
        same: dict[tuple[str, str], list[int]] = defaultdict(list)  # call -> the rollouts that make it
        for index, rollout in enumerate(rollouts):
            if outcomes[index] is None:
                same[rollout.step.key, _text(rollout.plan.steps[0].action)].append(index)
        made = self._made(
            [(rollouts[group[0]].step, rollouts[group[0]].plan.steps[0].action) for group in same.values()]
        )
        for group, outcome in zip(same.values(), made, strict=True):
            for number, index in enumerate(group):
                outcomes[index] = replace(outcome, cached=True) if number else outcome
        return outcomes

    def close(self) -> None:
        """Ends the sandbox's processes."""
        self.sandbox.close()

    def _made(self, calls: Sequence[tuple[Step, Action]]) -> list[Outcome]:
        """The outcomes of calls that differ, some at the same time, all within the deadline."""
        if not calls:
            return []
        stop = threading.Event()
        pool = ThreadPoolExecutor(min(self.concurrency, len(calls)), thread_name_prefix="t3")
        try:
            futures = [pool.submit(self._call, step, action, stop) for step, action in calls]
            wait(futures, timeout=self.deadline_s, return_when=FIRST_EXCEPTION)
            return [self._result(future) for future in futures]
        finally:
            stop.set()  # what still runs ends with its own limits, and nobody waits for it
            pool.shutdown(wait=False, cancel_futures=True)

    def _result(self, future: Future[Outcome]) -> Outcome:
        if future.done():
            return future.result()
        future.cancel()
        return Outcome(fault=f"it had not finished within the round's {self.deadline_s:g} s (executor.deadline_s)")

    def _call(self, step: Step, action: Action, stop: threading.Event) -> Outcome:
        """One call's outcome; a second attempt, in a new folder and interpreter, where the infrastructure failed."""
        fault = "the round is over"
        for attempt in range(_ATTEMPTS):
            if stop.is_set():
                break
            if attempt:
                time.sleep(0.1)
            try:
                return Episode(self.terms, step).run(action)
            except ExecutorError as error:
                log.warning("step %s: %s", step.key, error)
                fault = str(error)
        return Outcome(fault=fault)


def _unreadable(rollout: Rollout) -> Outcome | None:
    """Why nothing can be run; None where something can. Never a later step: a broken first step is a failed step."""
    if rollout.step.dataset == "episode":
        raise ConfigError(
            "executor=t3 runs calls in recorded states. In an episode the environment itself runs them: executor=direct."
        )
    if rollout.step.platform != "tool":
        raise ConfigError(
            f"executor=t3 runs tool calls, and step {rollout.step.key!r} is of the platform {rollout.step.platform!r}. Train on "
            "tool data, e.g. data=mm_traj, or choose an executor for screens, e.g. executor=direct."
        )
    plan = rollout.plan
    if not plan.steps:
        return Outcome(error=plan.error or "the plan has no steps", kind="unreadable")
    first = plan.steps[0]
    if first.action is None:
        return Outcome(error=f"the first step cannot be read: {first.error}", kind="unreadable")
    return None


def _text(action: Action) -> str:
    """A call as text; what the step is for does not count."""
    return json.dumps({**asdict(action), "step_instruction": ""}, sort_keys=True, default=repr)


def _sandbox(sandbox: str | Mapping[str, Any] | Sandbox, limits: Limits) -> Sandbox:
    if not isinstance(sandbox, (str, Mapping)):
        return sandbox
    return open_sandbox(limits=limits, **({"kind": sandbox} if isinstance(sandbox, str) else sandbox))


def _folders(files: Sequence[str]) -> tuple[Path, ...]:
    folders = tuple(Path(folder) for folder in ([files] if isinstance(files, str) else files))
    for folder in folders:
        if not folder.is_dir():
            raise ConfigError(
                f"executor.files names {folder}, which is no folder. Name the folders where the tasks' files lie."
            )
    return folders


def _replay_settings(*, miss: str = "error", alike: float = 0.6) -> None:
    """What `replay` may hold."""
