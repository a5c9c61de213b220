"""Plays many episodes side by side: one thread for each environment, one planner and one executor for all. It knows no model.

An episode is plain sequential code. A thread whose episode is over takes the next job at once. An episode that met a fault is begun
again, so many times; then its job is reported as a fault. Results come in the order of the jobs.
"""

import logging
import threading
from collections.abc import Sequence

from tracer1.interfaces import Environment, Executor, Observation
from tracer1.plan_act.episode import FAULT, Episode, Job, Result, Rules, Turn
from tracer1.plan_act.loop import Player, Watcher
from tracer1.plan_act.planner import Planner, SharedExecutor
from tracer1.plan_act.together import Stopped

log = logging.getLogger(__name__)

FAREWELL_S = 15.0  # how long a run that was stopped waits for the threads; they are daemons


def play_all(
    jobs: Sequence[Job],
    environments: Sequence[Environment],
    planner: Planner,
    executor: Executor,
    rules: Rules,
    watchers: Sequence[Watcher] = (),
    *,
    lockstep: bool = False,
) -> list[Result]:
    """Plays all jobs, as many at a time as there are environments. The planner works in the calling thread.

    Args:
        jobs: What is to be played.
        environments: Where; each is used by one thread at a time. Whoever made them closes them.
        planner: Plans for all of them.
        executor: Executes the first steps.
        rules: Limits.
        watchers: Told what happens, in this order, by one thread at a time.
        lockstep: Plan for all episodes that are under way at once, and wait for the slowest: then a run is the same in every
            repetition, whatever the speed of browser and machine.

    Returns:
        One result for each job, in order.

    Raises:
        Tracer1Error: whatever is wrong for all of them, e.g. no such task, a missing browser, a dead engine.
        KeyboardInterrupt: after the threads have ended; watchers know what was done until then.
    """
    hall = _Hall(jobs, planner, executor, rules, watchers)
    return hall.play(environments[: max(1, len(jobs))], lockstep)


class _Crowd:
    """All watchers as one, told by one thread at a time, and by nobody once the run has been stopped."""

    def __init__(self, watchers: Sequence[Watcher], stop: threading.Event) -> None:
        self._watchers, self._stop, self._lock = watchers, stop, threading.Lock()

    def looked(self, episode: Episode, number: int, seen: Observation) -> None:
        self._tell("looked", episode, number, seen)

    def turned(self, episode: Episode, turn: Turn) -> None:
        self._tell("turned", episode, turn)

    def ended(self, episode: Episode) -> None:
        self._tell("ended", episode)

    def _tell(self, what: str, *about: object) -> None:
        with self._lock:
            if self._stop.is_set():
                raise Stopped
            for watcher in self._watchers:
                getattr(watcher, what)(*about)


class _Hall:
    """The state of one run."""

    def __init__(
        self, jobs: Sequence[Job], planner: Planner, executor: Executor, rules: Rules, watchers: Sequence[Watcher]
    ) -> None:
        self.planner, self.shared, self.rules = planner, SharedExecutor(executor), rules
        self.waiting, self.results = iter(enumerate(jobs)), [None] * len(jobs)
        self.stop, self.over, self.lock = threading.Event(), threading.Event(), threading.Lock()
        self.crowd = _Crowd(watchers, self.stop)
        self.player = Player(planner, self.shared, rules, self.crowd)
        self.at_work = 0
        self.errors: list[BaseException] = []

    def play(self, environments: Sequence[Environment], lockstep: bool) -> list[Result]:
        assert environments, "episodes need somewhere to be played"
        self.at_work = len(environments)
        threads = [
            threading.Thread(target=self._work, args=(environment,), name=f"episodes-{i}", daemon=True)
            for i, environment in enumerate(environments)
        ]
        executing = threading.Thread(target=self.shared.serve, args=(self.over,), name="executor", daemon=True)
        try:
            for thread in (executing, *threads):
                thread.start()
            if lockstep:
                self.planner.serve(self.over, lambda: self.at_work)
            else:
                self.planner.serve(self.over)
        finally:
            if not self.over.is_set():  # an interrupt, or the engine gave up
                self.stop.set()
                self.over.set()
            for thread in (*threads, executing):
                if thread.ident is not None:  # it has begun
                    thread.join(FAREWELL_S)
        if self.errors:
            raise self.errors[0]
        return self.results

    def _work(self, environment: Environment) -> None:
        """One thread: job after job."""
        try:
            while (job := self._next()) is not None:
                self.results[job[0]] = self._played(environment, *job)
        except Stopped:
            pass
        except BaseException as error:  # raised again by whoever waits for all
            with self.lock:
                self.errors.append(error)
            self.stop.set()
        finally:
            with self.lock:
                self.at_work -= 1
            if self.stop.is_set() or not self.at_work:
                self.over.set()

    def _next(self) -> tuple[int, Job] | None:
        with self.lock:
            return None if self.stop.is_set() else next(self.waiting, None)

    def _played(self, environment: Environment, number: int, job: Job) -> Result:
        faults: list[str] = []
        for attempt in range(self.rules.restarts + 1):
            episode = Episode(number, job, attempt)
            self.player.play(environment, episode)
            self.crowd.ended(episode)
            if episode.end != FAULT:
                break
            faults.append(episode.fault)
            log.warning("%s, attempt %d of %d: %s", job, attempt + 1, self.rules.restarts + 1, episode.fault)
        return Result.of(episode, faults)
