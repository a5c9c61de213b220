"""One headless Chromium with K pages: starting it, replacing worn-out or crashed parts. It knows nothing of tasks or actions."""

import asyncio
import contextlib
import importlib.util
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tracer1.errors import MissingDependency

VIEWPORT = {"width": 500, "height": 320}  # a viewport of the task's own 160x210 pushes dialogs off the screen
EPISODES_PER_CONTEXT = 50  # a page that is loaded again and again grows by 0.9 MB an episode
START_LIMIT, CLOSE_LIMIT = 30.0, 5.0  # seconds
BINARIES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
FLAGS = [  # Playwright drops every "--headless" with its own, which asks for a mode that the full browser no longer has
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run", "--disable-dev-shm-usage", "--hide-scrollbars", "--disable-smooth-scrolling",
    "--force-device-scale-factor=1", "--allow-file-access-from-files", "--font-render-hinting=none", "--disable-lcd-text",
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
        alone: Held by whoever uses something all pages share, such as the clipboard.
        pages_at: The folder of the task pages, once the browser runs.
        version: Its name and version, e.g. "Chromium 156.0.8078.79".
    """

    def __init__(self) -> None:
        self.alone = asyncio.Lock()
        self._starting = asyncio.Lock()
        self._driver: Any = None
        self._browser: Any = None
        self.pages_at = Path()
        self.version = ""

    async def _running(self) -> Any:
        async with self._starting:
            if self._browser is None or not self._browser.is_connected():
                await self._stop()
                executable, self.pages_at = binary(), html_folder()
                self._driver = await playwright_api().async_playwright().start()
                self._browser = await self._driver.chromium.launch(
                    executable_path=executable,
                    headless=True,
                    ignore_default_args=["--headless"],
                    args=FLAGS,
                    env={**os.environ, "FONTCONFIG_FILE": str(Path(__file__).with_name("fonts.conf"))},
                )
                self.version = f"Chromium {self._browser.version}"
        return self._browser

    async def new_page(self) -> Any:
        """A Playwright page in a context of its own, with `probe.js` in every document it loads."""
        browser = await self._running()
        try:
            return await asyncio.wait_for(_open_page(browser), START_LIMIT)
        except (playwright_api().Error, TimeoutError):  # connected, yet dead: Playwright's driver process may have gone
            async with self._starting:
                if self._browser is browser:
                    await self._stop()
            return await asyncio.wait_for(_open_page(await self._running()), START_LIMIT)

    async def close(self) -> None:
        """Stops Chromium and its driver."""
        async with self._starting:
            await self._stop()

    async def _stop(self) -> None:
        browser, driver, self._browser, self._driver = self._browser, self._driver, None, None
        for stop in (browser and browser.close, driver and driver.stop):
            if stop is not None:
                await _within_limit(stop())


async def _open_page(browser: Any) -> Any:
    context = await browser.new_context(viewport=VIEWPORT, locale="en-US", timezone_id="UTC")
    context.set_default_timeout(5000)
    await context.add_init_script(path=Path(__file__).with_name("probe.js"))
    return await context.new_page()


async def _within_limit(closing: Any) -> None:
    """Waits for something to close that may be dead already and never answer."""
    with contextlib.suppress(playwright_api().Error, TimeoutError):
        await asyncio.wait_for(closing, CLOSE_LIMIT)


class Seat:
    """One worker's page: a fresh context every 50 episodes, and at once after a crash."""

    def __init__(self, browser: Browser) -> None:
        self.browser = browser
        self._page: Any = None
        self._used = 0

    async def page(self) -> Any:
        """The page for the next episode."""
        if self._page is None or self._page.is_closed() or self._used >= EPISODES_PER_CONTEXT:
            await self.close()
            self._page, self._used = await self.browser.new_page(), 0
        self._used += 1
        return self._page

    async def close(self) -> None:
        """Gives the page up; the next episode gets a new one."""
        if self._page is not None:
            await _within_limit(self._page.context.close())
        self._page = None


@contextlib.asynccontextmanager
async def open_browser() -> AsyncIterator[Browser]:
    """`async with open_browser() as browser`."""
    browser = Browser()
    try:
        yield browser
    finally:
        await browser.close()
