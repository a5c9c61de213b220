"""How many episodes a second the browser plays, and whether any is lost when parts of it are killed. It knows no policy but a script.

The script is the expert's: its actions are recorded first, then repeated through the `Environment` seam from one thread per
environment, with a screenshot after every action, so that what is timed is the environment alone.
"""

import contextlib
import itertools
import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import psutil

from tracer1.environments._miniwob.processes import cpu_seconds, memory_mb, running
from tracer1.environments._miniwob.record import record
from tracer1.environments._miniwob.rules import rules_for
from tracer1.errors import EnvironmentFault, Tracer1Error
from tracer1.interfaces import Environment
from tracer1.schema import Action

log = logging.getLogger(__name__)
EASY = ("click-test", "click-test-2", "click-dialog", "enter-text", "login-user")  # 1 to 5 actions, 2.2 in the mean
SEEDS = 8  # of each task, repeated in turn
VICTIMS = {"renderer": 6, "browser": 3, "driver": 1}  # kind of process -> how often it is the one that is killed
BEGIN_AGAIN = 10  # times an episode is begun before it counts as lost


@dataclass(frozen=True, slots=True)
class Script:
    """One episode and the actions that solve it."""

    task: str
    seed: int
    actions: tuple[Action, ...]


@dataclass(slots=True)
class Played:
    """What became of the episodes."""

    episodes: int = 0  # that came to their end
    solved: int = 0  # of them, with a raw reward of exactly 1
    steps: int = 0  # actions of those episodes, each with its screenshot
    begun_again: int = 0  # times that an episode was begun again after a fault
    lost: list[Script] = field(default_factory=list)
    seconds: float = 0.0


def scripts(tasks: Sequence[str] = EASY, seeds: int = SEEDS) -> list[Script]:
    """The expert's solutions; raises Tracer1Error where it has none."""
    jobs = [(rule, seed) for seed in range(seeds) for rule in rules_for(list(tasks))]
    solved = [result for result in record(jobs) if result.solved]
    if not solved:
        raise Tracer1Error(f"The expert solved no episode of {', '.join(tasks)}: nothing can be repeated.")
    return [Script(r.task, r.seed, tuple(step.future[0].action for step in r.steps)) for r in solved]


def play(environment: Environment, script: Script) -> float:
    """One episode; returns its raw reward. Raises EnvironmentFault."""
    environment.reset(script.task, script.seed)
    for action in script.actions:
        if environment.step(action)[1]:
            break
    return environment.score()


class _Run:
    """Threads that take episodes from one source, and what broke off from one list, until there are none."""

    def __init__(self, episodes: Iterable[Script], ended: Callable[[int], None]) -> None:
        self._source = ((script, 1) for script in episodes)
        self._ended = ended
        self._again: list[tuple[Script, int]] = []
        self._playing = 0
        self._changed = threading.Condition()
        self.played = Played()
        self.error: BaseException | None = None

    def work(self, environment: Environment) -> None:
        """Plays until nothing is left."""
        while (job := self._take()) is not None:
            try:
                self._over(job, play(environment, job[0]))
            except EnvironmentFault as fault:
                log.info("%s seed %d: %s", job[0].task, job[0].seed, fault)
                self._over(job, None)
            except BaseException as error:
                with self._changed:
                    self.error = self.error or error
                    self._changed.notify_all()

    def _take(self) -> tuple[Script, int] | None:
        """The next episode; None at the end: what others play may still break off and have to be begun again."""
        with self._changed:
            while self.error is None:
                job = self._again.pop() if self._again else next(self._source, None)
                if job is not None:
                    self._playing += 1
                    return job
                if not self._playing:
                    break
                self._changed.wait()
        return None

    def _over(self, job: tuple[Script, int], score: float | None) -> None:
        script, times = job
        with self._changed:
            self._playing -= 1
            if score is not None:
                self.played.episodes += 1
                self.played.solved += score == 1
                self.played.steps += len(script.actions)
                self._ended(self.played.episodes)
            elif times < BEGIN_AGAIN:
                self.played.begun_again += 1
                self._again.append((script, times + 1))
            else:
                self.played.lost.append(script)
            self._changed.notify_all()


def play_all(
    environments: Sequence[Environment], episodes: Iterable[Script], ended: Callable[[int], None] = lambda n: None
) -> Played:
    """Plays every episode to its end, each environment taking the next one as soon as it is free.

    Args:
        environments: Each is used from a thread of its own.
        episodes: One that a fault breaks off is begun again, by whoever is free.
        ended: Called with the number of episodes that have ended, after each.
    """
    run = _Run(episodes, ended)
    started = time.perf_counter()
    threads = [threading.Thread(target=run.work, args=(e,), daemon=True) for e in environments]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    run.played.seconds = time.perf_counter() - started
    if run.error is not None:
        raise run.error
    return run.played


def throughput(environments: Sequence[Environment], some: Sequence[Script], seconds: float) -> str:
    """One line: how fast these environments play, what it costs, with every page open already."""
    play_all(environments, some[: 2 * len(environments)])
    before, stop = cpu_seconds(), time.perf_counter() + seconds
    played = play_all(environments, _until(stop, some))
    after, n = cpu_seconds(), max(played.episodes, 1)
    cost = {kind: 1000 * (after[kind] - before.get(kind, 0.0)) / n for kind in after}
    by_kind = ", ".join(f"{kind} {ms:.0f}" for kind, ms in sorted(cost.items(), key=lambda c: -c[1]) if ms >= 1)
    return (
        f"{len(environments)} environments: {played.episodes / played.seconds:5.1f} episodes/s, "
        f"{played.steps / played.seconds:5.1f} steps/s, {played.solved} of {n} solved; "
        f"{sum(cost.values()):.0f} CPU-ms/episode ({by_kind}); {memory_mb():.0f} MB; load {psutil.getloadavg()[0]:.1f}"
    )


def _until(stop: float, some: Sequence[Script]) -> Iterator[Script]:
    """The scripts in turn, over and over, until that time of `time.perf_counter`."""
    for script in itertools.cycle(some):
        if time.perf_counter() >= stop:
            return
        yield script


class Killer:
    """Kills a process of the browser, with SIGKILL, at random moments of a run.

    Args:
        episodes: How many the run has.
        kills: How many processes to kill.
        seed: Decides when, and of which kind.

    Attributes:
        killed: Kind of process -> how many were killed.
    """

    def __init__(self, episodes: int, kills: int, seed: int = 0) -> None:
        self._random = random.Random(seed)
        self._moments = sorted(self._random.sample(range(episodes), min(kills, episodes)), reverse=True)
        self.killed: Counter[str] = Counter()
        self._timers: list[threading.Timer] = []

    def ended(self, episodes: int) -> None:
        """To be called after each episode with their number; may kill a moment later, in the midst of something."""
        while self._moments and self._moments[-1] < episodes:
            self._moments.pop()
            timer = threading.Timer(self._random.uniform(0, 0.3), self._kill)
            timer.daemon = True
            timer.start()
            self._timers.append(timer)

    def _kill(self) -> None:
        wanted = self._random.choices(list(VICTIMS), list(VICTIMS.values()))[0]
        for kind in (wanted, "renderer", "browser", "driver"):  # whatever there is: a browser may be starting just now
            if found := running(kind):
                with contextlib.suppress(psutil.NoSuchProcess):
                    self._random.choice(found).kill()
                    self.killed[kind] += 1
                return

    def finish(self) -> None:
        """Waits for the last kill."""
        for timer in self._timers:
            timer.join()


def endurance(environments: Sequence[Environment], some: Sequence[Script], episodes: int, kills: int) -> Iterator[str]:
    """Plays many episodes while parts of the browser are killed; one line at the start, the middle and the end, and a verdict."""
    killer, memory = Killer(episodes, kills), []

    def ended(n: int) -> None:
        killer.ended(n)
        if n in (len(environments) * 2, episodes // 2):
            memory.append((n, memory_mb()))

    played = play_all(environments, itertools.islice(itertools.cycle(some), episodes), ended)
    killer.finish()
    play_all(environments, some[: len(environments)])  # what was killed last is there again
    memory.append((episodes, memory_mb()))
    for n, megabytes in memory:
        yield f"after {n} episodes: {megabytes:.0f} MB in all processes of the browser"
    what = ", ".join(f"{n} {kind}" for kind, n in sorted(killer.killed.items()))
    yield (
        f"{played.episodes} episodes in {played.seconds:.0f} s, {played.solved} solved, {len(played.lost)} lost; killed: {what}; "
        f"{played.begun_again} begun again"
    )
