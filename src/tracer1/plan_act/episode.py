"""What an episode is made of: the job, its turns, the tries of each, and what came of it. It knows no model and no file.

A *turn* is one pass of the loop: look, plan, execute the first step. It is *lost* where no plan could be acted upon: nothing is
done then. A plan's own steps count what has been executed; turns count the lost ones too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from tracer1.interfaces import Observation
from tracer1.schema import Action, PlanStep, Rollout, Step

Span = tuple[int, int]  # from, to: nanoseconds since 1970

DONE_BY_AGENT, CALL_USER, ENDED, STEP_LIMIT, TOO_MANY_LOST, FAULT = (
    "done",  # a step with the status "done", or `finished`, has been executed
    "call_user",  # the agent said that it cannot be done
    "ended",  # the environment ended it
    "step_limit",
    "lost",  # too many turns in which nothing could be done
    "fault",  # environment or executor failed under it: no verdict
)


@dataclass(frozen=True, slots=True)
class Job:
    """One episode to be played."""

    task: str
    seed: int  # of the environment
    sample: int = 0  # which of several episodes of one task and seed: each has its own sampling noise

    def __str__(self) -> str:
        """As messages name it."""
        return f"{self.task} seed {self.seed}" + f" sample {self.sample}" * (self.sample > 0)


@dataclass(frozen=True, slots=True)
class Rules:
    """When an episode is over, and what is tried before something is given up."""

    max_steps: int = 15  # turns, lost ones included
    max_lost: int = 3  # lost turns that end the episode
    tries: int = 2  # plans that are sampled in one turn before it is lost
    history: int = 4  # K: executed steps that the planner is told of
    restarts: int = 2  # times that an episode which met a fault is begun again


@dataclass(frozen=True, slots=True)
class Try:
    """One plan with its outcome."""

    rollout: Rollout  # with plan and outcome
    planned: Span
    executed: Span  # by the executor; the environment's part is the turn's `acted`
    error: str = ""  # why it could not be acted upon


@dataclass(frozen=True, slots=True)
class Turn:
    """One pass of the loop."""

    number: int  # 1-based
    step: Step  # what the planner was shown
    text: str  # what the environment said beside the screenshot
    tries: tuple[Try, ...]  # never empty; the last one is what counts
    action: Action | None  # what was done, or under which the environment failed; None: the turn is lost
    ended: bool  # the environment said that the episode is over
    observed: Span
    acted: Span | None = None  # in the environment

    @property
    def planned(self) -> PlanStep | None:
        """The first step of the plan that counts; None where it has none."""
        steps = self.tries[-1].rollout.plan.steps
        return steps[0] if steps else None


@dataclass
class Episode:
    """One attempt at a job while it is played. `end` is empty until it is over."""

    number: int  # of the job, 0-based
    job: Job
    attempt: int = 0  # 0-based; a later one follows a fault
    instruction: str = ""
    turns: list[Turn] = field(default_factory=list)
    broken: Turn | None = None  # planned and not over; after a fault the turn in which it came. Not one of `turns`
    last: Observation | None = None  # what was seen when it ended
    score: float | None = None  # None: a fault
    end: str = ""
    fault: str = ""
    time: Span = (0, 0)

    @property
    def steps(self) -> int:
        """Executed steps."""
        return sum(turn.action is not None for turn in self.turns)

    @property
    def lost(self) -> int:
        """Turns in which nothing could be done."""
        return len(self.turns) - self.steps


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a job, without the screenshots."""

    job: Job
    instruction: str
    end: str  # one of done, call_user, ended, step_limit, lost, fault
    score: float | None  # the environment's own; None: a fault, no verdict
    steps: int  # executed
    lost: int
    retried: int  # plans that were sampled again
    fault: str = ""
    faults: tuple[str, ...] = ()  # of all attempts that met one
    seconds: float = 0.0  # of the last attempt

    @classmethod
    def of(cls, episode: Episode, faults: Sequence[str] = ()) -> "Result":
        """Of a job's last attempt; `faults` are those of all attempts."""
        retried = sum(len(turn.tries) - 1 for turn in episode.turns)
        seconds = (episode.time[1] - episode.time[0]) / 1e9
        return cls(
            episode.job, episode.instruction, episode.end, episode.score, episode.steps, episode.lost, retried,
            episode.fault, tuple(faults), seconds,
        )  # fmt: skip
