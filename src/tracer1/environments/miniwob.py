"""MiniWoB++ as an environment: a browser page on which an agent acts by pixels and keys. It knows no expert and no policy.

All environments of a process are pages of one Chromium, each in a context of its own: K of them, each used from its own thread,
run side by side. Needs the extra `browser` and a Chromium; both are looked for when the first episode begins.
"""

import logging

from tracer1.environments import ENVIRONMENTS
from tracer1.environments._miniwob.browser import Seat, html_folder
from tracer1.environments._miniwob.episode import Episode, ImpossibleAction, act_limit
from tracer1.environments._miniwob.host import SHARED
from tracer1.errors import ConfigError, EnvironmentFault
from tracer1.interfaces import Observation
from tracer1.registry import nearest
from tracer1.schema import Action

log = logging.getLogger(__name__)
ATTEMPTS = 3  # to begin an episode, each on a page of its own
BEGIN_LIMIT = 30.0  # seconds for a page to load and settle


@ENVIRONMENTS.register("miniwob")
class MiniWob:
    """`reset`, `step` until it says the episode has ended, `score`; then the next `reset`. `close` at the end.

    A task and a seed give the same first screenshot on every machine with the same Chromium and fonts, whatever was done before and
    whatever goes on beside it. There is no time limit on the agent: the page's own 10 to 30 seconds would measure the speed of the
    model, not its plans. An observation has no text: the instruction is all that the page says in words, and the page's inside is
    nothing that a person would see.
    """

    platform = "web"

    def __init__(self) -> None:
        self._seat: Seat | None = None
        self._episode: Episode | None = None

    def tasks(self) -> list[str]:
        """The names that `reset` takes; raises MissingDependency."""
        return sorted(path.stem for path in html_folder().glob("*.html"))

    def refuses(self, task: str) -> str:
        """Nothing: every page scores itself."""
        return ""

    def reset(self, task: str, seed: int) -> tuple[str, Observation]:
        """Begins an episode in a document and a window of its own.

        Args:
            task: A MiniWoB++ task, e.g. `login-user`.
            seed: Any whole number; it decides the instruction and what the page looks like.

        Returns:
            The instruction, and an observation whose screenshot is a PNG of 160x210 pixels.

        Raises:
            ConfigError: no such task.
            MissingDependency: no Chromium, no Playwright or no MiniWoB++.
            EnvironmentFault: no page could be loaded, three times over.
        """
        self._episode = None
        if task not in (known := self.tasks()):
            raise ConfigError(f"No MiniWoB++ task {task!r} in {html_folder()}.{nearest(task, known)}")
        if self._seat is None:
            SHARED.join()
            self._seat = Seat(SHARED.browser)
        return SHARED.run(self._reset(self._seat, task, seed))

    async def _reset(self, seat: Seat, task: str, seed: int) -> tuple[str, Observation]:
        for attempt in range(1, ATTEMPTS + 1):
            page = await seat.page()
            episode = Episode(page, seat.cdp, seat.browser.pages_at)
            try:
                seen = await seat.watch(self._first(episode, task, seed), BEGIN_LIMIT)
            except EnvironmentFault as fault:
                log.warning("%s seed %d, attempt %d: %s", task, seed, attempt, fault)
                continue
            self._episode = episode
            return episode.goal, seen
        raise EnvironmentFault(
            f"MiniWoB++ {task!r} seed {seed} did not load in {ATTEMPTS} attempts; the log says why each one failed."
        )

    async def _first(self, episode: Episode, task: str, seed: int) -> Observation:
        await episode.begin(task, seed)
        return Observation(await episode.look())

    def step(self, action: Action) -> tuple[Observation, bool]:
        """Acts and lets the page settle. An action that a web page has no use for is logged and does nothing.

        Returns:
            The next observation, and whether the episode has ended.

        Raises:
            ConfigError: no episode has begun, or the last one ended in a fault.
            EnvironmentFault: the page or the browser crashed or hung; `reset` begins on a new one.
        """
        episode = self._current()
        try:
            return SHARED.run(self._seat.watch(self._step(episode, action), act_limit(action)))
        except EnvironmentFault:
            self._episode = None
            raise

    async def _step(self, episode: Episode, action: Action) -> tuple[Observation, bool]:
        try:
            await episode.perform(action)
        except ImpossibleAction as error:
            log.info("Nothing was done: %s", error)
        return Observation(await episode.look()), episode.done

    def score(self) -> float:
        """The page's raw reward, in -1..1; 0 while the episode goes on. Success is exactly 1."""
        return self._current().reward

    def close(self) -> None:
        """Gives the page back; with the last environment of the process the browser stops. A later `reset` starts anew."""
        seat, self._seat, self._episode = self._seat, None, None
        if seat is not None:
            SHARED.run(seat.close())
            SHARED.leave()

    def _current(self) -> Episode:
        if self._episode is None:
            raise ConfigError("No episode is under way: call `reset(task, seed)` first.")
        return self._episode
