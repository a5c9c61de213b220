"""One headless Chromium with K pages: starting it, replacing worn-out or crashed parts. It knows nothing of tasks or actions.

Whatever waits for Chromium here waits for a limited time: a process that is gone may never answer.
"""

import asyncio
import contextlib
import importlib.util
import logging
import os
import shutil
import uuid
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from tracer1.environments._miniwob.processes import Family, find_family
from tracer1.errors import EnvironmentFault, MissingDependency

log = logging.getLogger(__name__)
Result = TypeVar("Result")

VIEWPORT = {"width": 500, "height": 320}  # a viewport of the task's own 160x210 pushes dialogs off the screen
EPISODES_PER_CONTEXT = 200  # a page grows to 120 MB in its first 40 episodes and stays so; this ends whatever leaks
START_LIMIT, PAGE_LIMIT, CLOSE_LIMIT = 30.0, 20.0, 5.0  # seconds
OPENED_AT_ONCE = 4  # forty pages that all open at once take longer than any one of them may
BINARIES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
FLAGS = [  # Playwright drops every "--headless" with its own, which asks for a mode that the full browser no longer has
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run", "--disable-dev-shm-usage", "--hide-scrollbars", "--disable-smooth-scrolling",
    "--force-device-scale-factor=1", "--allow-file-access-from-files", "--font-render-hinting=none", "--disable-lcd-text",
    "--js-flags=--no-opt --no-maglev",  # every episode's scripts are new to the compiler and end before its best code pays
]  # fmt: skip
INSTALL = "pip install 'tracer1[browser]' && apt-get install -y chromium-headless-shell fonts-liberation"


def html_folder() -> Path:
    """The folder of the task pages inside the installed `miniwob` package; raises MissingDependency."""
    spec = importlib.util.find_spec("miniwob")
    for place in (spec.submodule_search_locations or []) if spec else []:
        if (folder := Path(place) / "html" / "miniwob").is_dir():
            return folder
    raise MissingDependency(
        f"MiniWoB++'s pages come with the package `miniwob`, which is not installed. Run: {INSTALL}"
    )


def binary() -> str:
    """The Chromium to start: `TRACER1_CHROMIUM`, or the first that is on the path; raises MissingDependency."""
    named = os.environ.get("TRACER1_CHROMIUM")
    for candidate in (named,) if named else BINARIES:
        if found := shutil.which(candidate):
            return found
    raise MissingDependency(
        f"No {named or ' or '.join(BINARIES)} on the path. Run: {INSTALL}, or set TRACER1_CHROMIUM."
    )


def playwright_api() -> Any:
    """The module `playwright.async_api`; raises MissingDependency."""
    try:
        import playwright.async_api
    except ImportError as error:
        raise MissingDependency(f"Playwright drives the browser and is not installed. Run: {INSTALL}") from error
    return playwright.async_api


class Browser:
    """A Chromium that is started when first asked for a page and started again after a crash.

    Attributes:
        pages_at: The folder of the task pages, once the browser runs.
        version: Its name and version, e.g. "Chromium 156.0.8078.79".
        starts: How many times it was started.
    """

    def __init__(self) -> None:
        self._starting, self._opening = asyncio.Lock(), asyncio.Semaphore(OPENED_AT_ONCE)
        self._driver: Any = None
        self._browser: Any = None
        self._family: Family | None = None
        self.pages_at = Path()
        self.version = ""
        self.starts = 0

    async def _running(self) -> Any:
        async with self._starting:
            if self._browser is None or not self._browser.is_connected():
                await self._stop()
                await self._start()
        return self._browser

    async def _start(self) -> None:
        executable, self.pages_at = binary(), html_folder()
        mark = f"--tracer1={uuid.uuid4().hex}"  # Chromium ignores it; its processes are found by it
        try:
            self._driver = await asyncio.wait_for(playwright_api().async_playwright().start(), START_LIMIT)
            launch = self._driver.chromium.launch(
                executable_path=executable,
                headless=True,
                ignore_default_args=["--headless"],
                args=[*FLAGS, mark],
                env={**os.environ, "FONTCONFIG_FILE": str(Path(__file__).with_name("fonts.conf"))},
            )
            self._browser = await asyncio.wait_for(launch, START_LIMIT)
        finally:
            self._family = find_family(mark)
        self.version = f"Chromium {self._browser.version}"
        self.starts += 1

    async def new_page(self) -> tuple[Any, Any]:
        """A Playwright page in a context of its own, and its CDP session.

        Raises:
            EnvironmentFault: there is none, from a new browser either.
        """
        try:
            async with self._opening:
                return await self._page_or_stop()
        except Exception as error:
            if not is_failure(error):
                raise
            log.warning("Chromium gave no page (%s); it is started again.", reason_of(error))
        try:
            async with self._opening:
                return await self._page_or_stop()
        except Exception as error:
            if not is_failure(error):
                raise
            raise EnvironmentFault(
                f"{binary()} gave no page, twice ({reason_of(error)}). Start it by hand with --headless=new to see what it "
                "lacks; on a machine under heavy load, use fewer environments."
            ) from error

    async def _page_or_stop(self) -> tuple[Any, Any]:
        browser = None
        try:
            browser = await self._running()
            return await asyncio.wait_for(_open_page(browser), PAGE_LIMIT)
        except BaseException:  # connected, yet dead: Playwright's driver process may have gone
            async with self._starting:
                if browser is None or self._browser is browser:
                    await self._stop()
            raise

    async def close(self) -> None:
        """Stops Chromium and its driver."""
        async with self._starting:
            await self._stop()

    async def _stop(self) -> None:
        browser, driver, family = self._browser, self._driver, self._family
        self._browser, self._driver, self._family = None, None, None
        for stop in (browser and browser.close, driver and driver.stop):
            if stop is not None:
                await _within_limit(stop())
        if family is not None:
            await asyncio.to_thread(family.end)


def reason_of(error: BaseException) -> str:
    """The first line of an error that may have no text."""
    return str(error).splitlines()[0] if str(error) else f"no answer in time ({type(error).__name__})"


async def _open_page(browser: Any) -> tuple[Any, Any]:
    context = await browser.new_context(viewport=VIEWPORT, locale="en-US", timezone_id="UTC")
    context.set_default_timeout(5000)
    page = await context.new_page()
    return page, await context.new_cdp_session(page)


async def _within_limit(closing: Any) -> None:
    """Waits for something to close that may be dead already and never answer."""
    try:
        await asyncio.wait_for(closing, CLOSE_LIMIT)
    except Exception as error:
        if not is_failure(error):
            raise


def is_failure(error: Exception) -> bool:
    """Whether the browser or Playwright's driver failed. A driver that dies in the middle of a word raises a bare Exception."""
    return isinstance(error, (playwright_api().Error, TimeoutError, ConnectionError)) or type(error) is Exception


class Seat:
    """One worker's page: a fresh context every 200 episodes, and at once after a crash.

    Attributes:
        cdp: The Chrome DevTools session of the page.
    """

    def __init__(self, browser: Browser) -> None:
        self.browser = browser
        self.cdp: Any = None
        self._page: Any = None
        self._gone: asyncio.Future[str] | None = None
        self._used = 0

    async def page(self) -> Any:
        """The page for the next episode; raises EnvironmentFault."""
        if self._page is None or self._page.is_closed() or self._gone.done() or self._used >= EPISODES_PER_CONTEXT:
            await self.close()
            page, self.cdp = await self.browser.new_page()
            gone = self._gone = asyncio.get_running_loop().create_future()
            for event in ("crash", "close"):
                page.on(event, lambda *_, event=event: gone.done() or gone.set_result(f"the page had a {event}"))
            self._page, self._used = page, 0
        self._used += 1
        return self._page

    async def watch(self, work: Coroutine[Any, Any, Result], limit: float) -> Result:
        """Awaits work on the page, no longer than the page lives.

        Args:
            work: What uses the page.
            limit: Seconds; longer means that the page hangs.

        Raises:
            EnvironmentFault: the page or the browser failed; the next episode gets a new one.
        """
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait({task, self._gone}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            reason = self._gone.result() if self._gone.done() else f"no answer in {limit:g} s"
        except Exception as error:
            if not is_failure(error):
                raise
            reason = reason_of(error)
        finally:
            task.cancel()
        await self.close()
        raise EnvironmentFault(f"The browser failed during an episode ({reason}); begin a new one with `reset`.")

    async def close(self) -> None:
        """Gives the page up; the next episode gets a new one."""
        page, self._page = self._page, None
        if page is not None:
            await _within_limit(page.context.close())


@contextlib.asynccontextmanager
async def open_browser() -> AsyncIterator[Browser]:
    """`async with open_browser() as browser`."""
    browser = Browser()
    try:
        yield browser
    finally:
        await browser.close()
