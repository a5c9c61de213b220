"""Episodes as MLflow traces: one trace each, a span for every observe, plan and execute. It knows spans, and nothing of MLflow."""

from dataclasses import replace
from typing import Any

from tracer1.actions import action_to_wire
from tracer1.interfaces import Observation
from tracer1.plan_act.episode import Episode, Try, Turn
from tracer1.schema import Plan
from tracer1.tracking.traces import TraceSender, TraceSpan


class EpisodeTraces:
    """A watcher that hands every attempt over as a trace, when it is over.

    Args:
        sender: Brings it to MLflow.
        tags: Of every trace.
    """

    def __init__(self, sender: TraceSender, tags: dict[str, str] | None = None) -> None:
        self.sender, self.tags = sender, tags or {}

    def looked(self, episode: Episode, number: int, seen: Observation) -> None:
        """Nothing yet."""

    def turned(self, episode: Episode, turn: Turn) -> None:
        """Nothing yet."""

    def ended(self, episode: Episode) -> None:
        """Hands it over."""
        job = episode.job
        about = {"task": job.task, "seed": str(job.seed), "sample": str(job.sample), "attempt": str(episode.attempt)}
        score = {} if episode.score is None else {"score": f"{episode.score:g}"}
        self.sender.send(episode_span(episode), {**self.tags, **about, "end": episode.end, **score})


def episode_span(episode: Episode) -> TraceSpan:
    """The root span of an episode."""
    job, broken = episode.job, episode.broken
    spans = [span for turn in episode.turns for span in _turn_spans(turn)]
    if broken is not None:  # its last span has the fault
        *whole, last = _turn_spans(broken)
        spans += [*whole, replace(last, error=episode.fault)]
    outputs: dict[str, Any] = {"end": episode.end, "score": episode.score, "steps": episode.steps, "lost": episode.lost}
    if episode.last is not None and episode.turns:
        outputs["screenshot"] = episode.last.screenshot
    return TraceSpan(
        f"{job.task} seed {job.seed}",
        "AGENT",
        episode.time,
        {"task": job.task, "seed": job.seed, "instruction": episode.instruction},
        outputs,
        error=episode.fault,
        below=tuple(spans),
    )


def _turn_spans(turn: Turn) -> list[TraceSpan]:
    seen = _said({"screenshot": turn.step.screenshot, "text": turn.text})
    where = {"turn": turn.number}
    spans = [TraceSpan("observe", "RETRIEVER", turn.observed, where, seen)]
    for attempt, one in enumerate(turn.tries):
        last = attempt + 1 == len(turn.tries)
        spans += [_plan_span(turn, attempt, one), _execute_span(turn, attempt, one, last)]
    return spans


def _plan_span(turn: Turn, attempt: int, one: Try) -> TraceSpan:
    told = {
        "turn": turn.number,
        "attempt": attempt,
        "instruction": turn.step.instruction,
        "history": [past.action.step_instruction for past in turn.step.history],
    }  # the screenshot is in `observe`
    plan = one.rollout.plan
    said = {"response": one.rollout.response.text, "thought": plan.thought, "steps": _steps(plan)}
    return TraceSpan("plan", "LLM", one.planned, _said(told), _said(said), error=plan.error if not plan.steps else "")


def _steps(plan: Plan) -> list[dict[str, Any]]:
    return [
        _said({"action": step.action and action_to_wire(step.action), "status": step.status, "error": step.error})
        for step in plan.steps
    ]


def _said(values: dict[str, Any]) -> dict[str, Any]:
    """Without what is empty: MLflow's page gives every value a row."""
    return {name: value for name, value in values.items() if value not in ("", None, [])}


def _execute_span(turn: Turn, attempt: int, one: Try, last: bool) -> TraceSpan:
    """The executor's part, and the environment's where the action was done."""
    first = one.rollout.plan.steps[0].action if one.rollout.plan.steps else None
    asked = {"turn": turn.number, "attempt": attempt, "planned": None if first is None else action_to_wire(first)}
    done = turn.action if last else None
    until = turn.acted[1] if last and turn.acted is not None else one.executed[1]
    said = {"action": None if done is None else action_to_wire(done), "ended": turn.ended if last else False}
    return TraceSpan("execute", "TOOL", (one.executed[0], until), asked, said, error=one.error)
