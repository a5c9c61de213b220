"""The plan-act loop: look, plan T steps, execute the first one, look again (method, section 5). It knows no model and no browser.

A plan that cannot be acted upon is sampled once more with other noise; then the turn is lost, nothing is done, and the episode goes
on. Where the environment or the executor's infrastructure fails, the episode ends as a fault: no verdict, never a score of 0.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from tracer1.actions import ENDINGS
from tracer1.errors import EnvironmentFault, ExecutorError
from tracer1.interfaces import Environment, Observation
from tracer1.plan_act.episode import (
    CALL_USER,
    DONE_BY_AGENT,
    ENDED,
    FAULT,
    STEP_LIMIT,
    TOO_MANY_LOST,
    Episode,
    Rules,
    Span,
    Try,
    Turn,
)
from tracer1.plan_act.planner import Planner
from tracer1.schema import DONE, Outcome, Plan, PlanStep, Rollout, Step

log = logging.getLogger(__name__)


class Executes(Protocol):
    """Executes one rollout."""

    def execute(self, rollout: Rollout) -> Outcome: ...


class Watcher(Protocol):
    """Is told what happens: a record, a view, a test. Whoever plays calls it from one thread at a time."""

    def looked(self, episode: Episode, number: int, seen: Observation) -> None:
        """Turn `number` (from 1) begins with this observation."""

    def turned(self, episode: Episode, turn: Turn) -> None:
        """A turn is over."""

    def ended(self, episode: Episode) -> None:
        """An attempt is over, a fault included."""


@dataclass(frozen=True)
class Player:
    """Plays episodes, each in the thread that calls `play`."""

    planner: Planner
    executor: Executes
    rules: Rules
    watcher: Watcher

    def play(self, environment: Environment, episode: Episode) -> None:
        """Plays one attempt to its end and fills in `episode`."""
        began = time.time_ns()
        try:
            self._play(environment, episode)
            episode.score = environment.score()
        except (EnvironmentFault, ExecutorError) as error:
            episode.end, episode.fault = FAULT, " ".join(str(error).split())
            log.debug("%s, attempt %d: %s", episode.job, episode.attempt + 1, error)
        episode.time = began, time.time_ns()

    def _play(self, environment: Environment, episode: Episode) -> None:
        since = time.time_ns()  # when what is observed next was waited for
        episode.instruction, seen = environment.reset(episode.job.task, episode.job.seed)
        past: list[PlanStep] = []  # executed steps, oldest first
        while not episode.end:
            number = len(episode.turns) + 1
            episode.last = seen
            self.watcher.looked(episode, number, seen)
            step = self._step(episode, seen, past, environment.platform)
            turn, seen = self._turn(environment, episode, step, seen, since)
            if turn.action is not None:
                past.append(_as_history(turn, len(past) + 1))
            episode.turns.append(turn)
            episode.last, since = seen, time.time_ns()
            self.watcher.turned(episode, turn)
            episode.end = self._end(episode, turn)

    def _step(self, episode: Episode, seen: Observation, past: Sequence[PlanStep], platform: str) -> Step:
        """What the planner is shown: as in training, but that nobody knows the future."""
        job, turn = episode.job, len(episode.turns) + 1
        return Step(
            key=f"{job.task}-{job.seed}-{job.sample}-{turn:03d}".replace(".", "_"),
            dataset="episode",
            trajectory=f"{job.task}-{job.seed}-{job.sample}",
            index=len(past),
            instruction=episode.instruction,
            screenshot=seen.screenshot if seen.shown else None,
            history=tuple(past[-self.rules.history :] if self.rules.history else ()),
            future=(),
            platform=platform,
            meta={**seen.meta, "task": job.task, "seed": job.seed, "sample": job.sample, "turn": turn},
        )

    def _turn(
        self, environment: Environment, episode: Episode, step: Step, seen: Observation, since: int
    ) -> tuple[Turn, Observation]:
        """Plans and acts; returns what is seen then. With a fault, what is known of the turn stays in `episode.broken`."""
        turn = Turn(len(episode.turns) + 1, step, seen.text, (), None, False, (since, time.time_ns()))
        for one in self._tries(step):
            episode.broken = turn = replace(turn, tries=(*turn.tries, one))
        if not turn.tries[-1].error:
            turn, seen = _acted(environment, episode, turn)
        episode.broken = None
        return turn, seen

    def _tries(self, step: Step) -> Iterator[Try]:
        """Plans until one can be acted upon, at most `rules.tries`; one whose executor failed is given, too, before the error."""
        for attempt in range(self.rules.tries):
            began = time.time_ns()
            rollout = self.planner.plan(step, attempt)
            planned = time.time_ns()
            try:
                outcome = self._outcome(rollout)
            except ExecutorError as error:
                yield Try(rollout, (began, planned), (planned, time.time_ns()), str(error))
                raise
            error = outcome.error or ("" if outcome.action is not None else "the executor named no action")
            yield Try(replace(rollout, outcome=outcome), (began, planned), (planned, time.time_ns()), error)
            if not error:
                break

    def _outcome(self, rollout: Rollout) -> Outcome:
        error = _unreadable(rollout.plan)
        if error:  # no executor needs to be asked
            return Outcome(error=error, kind="unreadable_plan")
        outcome = self.executor.execute(rollout)
        if outcome.fault:
            raise ExecutorError(outcome.fault)
        return outcome

    def _end(self, episode: Episode, turn: Turn) -> str:
        """How the episode has ended with this turn; empty while it goes on."""
        if turn.action is None:
            if episode.lost >= self.rules.max_lost:
                return TOO_MANY_LOST
        elif turn.action.action_type in ENDINGS:
            return CALL_USER if turn.action.action_type == "call_user" else DONE_BY_AGENT
        elif turn.planned is not None and turn.planned.status == DONE:
            return DONE_BY_AGENT
        elif turn.ended:
            return ENDED
        return STEP_LIMIT if turn.number >= self.rules.max_steps else ""


def _unreadable(plan: Plan) -> str:
    """Why nothing can be executed; never a later step: a broken first step is no licence to skip it."""
    if not plan.steps:
        return plan.error or "the plan has no steps"
    first = plan.steps[0]
    return "" if first.action is not None else f"the first step cannot be read: {first.error}"


def _acted(environment: Environment, episode: Episode, turn: Turn) -> tuple[Turn, Observation]:
    action = turn.tries[-1].rollout.outcome.action
    began = time.time_ns()
    try:
        seen, ended = environment.step(action)
    except EnvironmentFault:
        episode.broken = replace(turn, action=action, acted=(began, time.time_ns()))
        raise
    span: Span = (began, time.time_ns())
    return replace(turn, action=action, ended=ended, acted=span), seen


def _as_history(turn: Turn, number: int) -> PlanStep:
    """An executed step as the next prompts tell it: the executor's action, the planner's own words."""
    planned = turn.planned
    instruction = turn.action.step_instruction or planned.action.step_instruction
    action = replace(turn.action, step_instruction=instruction)
    return PlanStep(action, planned.status, planned.screenshot_abstraction or "", number)
