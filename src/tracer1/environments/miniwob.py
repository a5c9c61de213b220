"""MiniWoB++ as an environment: one browser page on which an agent acts by pixels and keys. It knows no expert and no policy.

Needs the extra `browser` and a Chromium; both are looked for when the first episode begins.
"""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

from tracer1.environments import ENVIRONMENTS
from tracer1.environments._miniwob.browser import Browser, Seat, html_folder, playwright_api
from tracer1.environments._miniwob.episode import Episode, ImpossibleAction
from tracer1.errors import ConfigError, Tracer1Error
from tracer1.schema import Action

log = logging.getLogger(__name__)
ATTEMPTS = 3  # to begin an episode; a crashed browser is started again
Result = TypeVar("Result")


@ENVIRONMENTS.register("miniwob")
class MiniWob:
    """`reset`, `step` until it says the episode has ended, `score`; then the next `reset`. `close` at the end.

    A task and a seed give the same first screenshot on every machine with the same Chromium and fonts. There is no time
    limit: the page's own 10 to 30 seconds would measure the speed of the model, not its plans.
    """

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._browser = Browser()
        self._seat = Seat(self._browser)
        self._episode: Episode | None = None

    def tasks(self) -> list[str]:
        """The names that `reset` takes; raises MissingDependency."""
        return sorted(path.stem for path in html_folder().glob("*.html"))

    def reset(self, task: str, seed: int) -> tuple[str, bytes]:
        """Begins an episode on a freshly loaded page.

        Args:
            task: A MiniWoB++ task, e.g. `login-user`.
            seed: Any whole number; it decides the instruction and what the page looks like.

        Returns:
            The instruction and the first screenshot: a PNG of 160x210 pixels.

        Raises:
            ConfigError: no such task.
            MissingDependency: no Chromium, no Playwright or no MiniWoB++.
            Tracer1Error: the browser did not start, three times over.
        """
        return self._run(self._reset(task, seed))

    async def _reset(self, task: str, seed: int) -> tuple[str, bytes]:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                page = await self._seat.page()
                self._episode = Episode(page, self._browser.pages_at)
                return await self._episode.begin(task, seed), await self._episode.look()
            except playwright_api().Error as error:
                log.warning("%s seed %d, attempt %d: %s", task, seed, attempt, error)
                await self._seat.close()
        raise Tracer1Error(f"MiniWoB++ {task!r} did not load in {ATTEMPTS} attempts; the log says why each one failed.")

    def step(self, action: Action) -> tuple[bytes, bool]:
        """Acts and lets the page settle. An action that a web page has no use for is logged and does nothing.

        Returns:
            The next screenshot, and whether the episode has ended.

        Raises:
            ConfigError: no episode has begun.
            Tracer1Error: the browser crashed; `reset` starts a new one.
        """
        return self._run(self._step(action))

    async def _step(self, action: Action) -> tuple[bytes, bool]:
        episode = self._current()
        try:
            try:
                await episode.perform(action)
            except ImpossibleAction as error:
                log.warning("Nothing was done: %s", error)
            return await episode.look(), episode.done
        except playwright_api().Error as error:
            await self._seat.close()
            raise Tracer1Error(
                f"The browser failed during an episode ({error}); begin a new one with `reset`."
            ) from error

    def score(self) -> float:
        """The page's raw reward, in -1..1; 0 while the episode goes on. Success is exactly 1."""
        return self._current().reward

    def close(self) -> None:
        """Stops the browser. The environment cannot be used again."""
        self._run(self._browser.close())
        self._runner.close()

    def _current(self) -> Episode:
        if self._episode is None:
            raise ConfigError("No episode has begun: call `reset(task, seed)` first.")
        return self._episode

    def _run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return self._runner.run(work)
