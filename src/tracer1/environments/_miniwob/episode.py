"""One MiniWoB++ episode on one page: load, look, act with real input, read the page's own reward. It knows no rule and no expert.

Places are converted between pixels of the 160x210 screenshot and tracer1's 0..1000 here and nowhere else.
"""

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

from tracer1.actions import missing_arguments
from tracer1.environments._miniwob.browser import VIEWPORT, playwright_api
from tracer1.errors import Tracer1Error
from tracer1.schema import Action, Box, Point

WIDTH, HEIGHT = 160, 210  # pixels of the screenshot
WHEEL = 60  # pixels that one `scroll` moves the content by
AWAY = (450, 300)  # where the pointer waits: outside of the screenshot, hovering over nothing
MIDDLE = (500.0, 600.0)  # 0..1000: where the wheel turns when a scroll names no place
ACT_LIMIT, KEY_LIMIT = 20.0, 0.1  # seconds for an action, and for each character that it types
CLIP = {"x": 0, "y": 0, "width": WIDTH, "height": HEIGHT, "scale": 1}
LOADS = 3  # pages that one action may lead through
DRAG_MOVES = 8  # pointer moves between press and release; widgets ignore a single jump
WHEELS = {"down": (0, WHEEL), "up": (0, -WHEEL), "right": (WHEEL, 0), "left": (-WHEEL, 0)}
KEYS = {
    "ctrl": "Control", "shift": "Shift", "alt": "Alt", "meta": "Meta", "enter": "Enter", "tab": "Tab", "esc": "Escape",
    "escape": "Escape", "backspace": "Backspace", "delete": "Delete", "space": "Space", "home": "Home", "end": "End",
    "pageup": "PageUp", "pagedown": "PageDown",
    **{side: "Arrow" + side.capitalize() for side in ("up", "down", "left", "right")},
}  # fmt: skip


def to_point(x: float, y: float) -> Point:
    """Pixels -> 0..1000, rounded to one decimal: `to_pixel` gives whole pixels back unchanged."""
    return round(min(max(x, 0), WIDTH) * 1000 / WIDTH, 1), round(min(max(y, 0), HEIGHT) * 1000 / HEIGHT, 1)


def to_box(box: list[float]) -> Box:
    """x1, y1, x2, y2 in pixels -> 0..1000."""
    return *to_point(*box[:2]), *to_point(*box[2:])


def to_pixel(point: Point) -> tuple[int, int]:
    """0..1000 -> the whole pixel that is clicked, always on the screenshot."""
    return min(int(point[0] * WIDTH / 1000 + 0.5), WIDTH - 1), min(int(point[1] * HEIGHT / 1000 + 0.5), HEIGHT - 1)


def act_limit(action: Action) -> float:
    """Seconds after which a page that performs an action hangs; a long text takes its time."""
    return ACT_LIMIT + KEY_LIMIT * len(action.content or "")


class ImpossibleAction(Tracer1Error):
    """An action that this environment cannot do; nothing has been done."""


class Episode:
    """`await episode.begin(task, seed)`, then `look` and `perform` in turn until `done`.

    Attributes:
        goal: The instruction.
        done: Whether the page has ended the episode.
        reward: The page's raw reward, in -1..1, without its discount for slowness.
    """

    def __init__(self, page: Any, cdp: Any, pages_at: Path) -> None:
        self.page, self._cdp, self._pages_at = page, cdp, pages_at
        self.goal, self.done, self.reward = "", False, 0.0

    async def begin(self, task: str, seed: int) -> str:
        """Puts the task's page into a new frame (a used one keeps traces of what was done) and starts episode `seed`."""
        await self.page.mouse.move(*AWAY)
        begin = f"window.__stage && __stage.begin({json.dumps((self._pages_at / f'{task}.html').as_uri())}, {seed})"
        goal = await self._ask(begin)
        if goal is None:
            await self._set_stage()
            goal = await self._ask(begin)
        self.goal = " ".join(goal.split())
        return self.goal

    async def _set_stage(self) -> None:
        """Loads a file without any content of its own from beside the tasks' folder, so that their addresses lead to the same places."""
        await self.page.goto((self._pages_at.parent / "core" / "core.css").as_uri())
        stage, probe = (Path(__file__).with_name(name).read_text() for name in ("stage.js", "probe.js"))
        await self._ask(f"{stage.rstrip()}({json.dumps(probe)}); 0")
        # Unless the page is drawn as the screenshot shows it anyway, every screenshot would have it drawn anew, and once more afterwards.
        shown = {**VIEWPORT, "deviceScaleFactor": 1, "mobile": False, "viewport": CLIP}
        await self._cdp.send("Emulation.setDeviceMetricsOverride", shown)

    @property
    def document(self) -> Any:
        """The Playwright frame of the task's page, in which the expert looks for elements."""
        return self.page.main_frame.child_frames[-1]

    async def settle(self) -> None:
        """Waits for animations to end and the next frames to be drawn, then reads the reward.

        Who follows a link or sends a form off, away from the task's page, has ended the episode with the reward that it had.
        """
        state = await self._settled()
        if state["left"]:
            self.done = True
        else:
            self.done, self.reward = self.done or bool(state["done"]), float(state["reward"])

    async def _settled(self, frames: bool = True) -> dict[str, Any]:
        question = f"window.__stage ? __stage.settled({json.dumps(frames)}) : {{left: true}}"
        for _ in range(LOADS):
            try:
                return await self._ask(question)
            except playwright_api().Error:  # the page is on its way to another, unless it is gone
                if self.page.is_closed():
                    raise
                await self.page.wait_for_load_state()
        return await self._ask(question)

    async def _ask(self, expression: str) -> Any:
        """What `page.evaluate` does, without the helpers that it would load into every new document."""
        how = {"expression": expression, "awaitPromise": True, "returnByValue": True}
        answer = await self._cdp.send("Runtime.evaluate", how)
        if "exceptionDetails" in answer:
            raise playwright_api().Error(
                str(answer["exceptionDetails"].get("exception", {}).get("description", answer))
            )
        return answer["result"].get("value")

    async def look(self) -> bytes:
        """The screenshot as a PNG, 160x210, compressed in a hurry: `picture.shrink_png` makes it smaller."""
        how = {"format": "png", "clip": CLIP, "optimizeForSpeed": True}
        return base64.b64decode((await self._cdp.send("Page.captureScreenshot", how))["data"])

    async def abstraction(self) -> str:
        """A few words on what is visible, from the DOM: "2 text boxes, 1 button"."""
        return await self.document.evaluate("__probe.abstraction()")

    async def perform(self, action: Action) -> None:
        """Acts with pointer, keys and wheel only, then lets the page settle. Does nothing once the episode is over.

        Raises:
            ImpossibleAction: this environment cannot do such an action, or the action lacks an argument.
        """
        if self.done:
            return
        if action.action_type not in DOABLE:
            raise ImpossibleAction(f"MiniWoB++ cannot do {action.action_type!r}. It can do: {', '.join(DOABLE)}.")
        if missing := missing_arguments(action):
            raise ImpossibleAction(f"The action {action.action_type!r} lacks {' and '.join(missing)}.")
        await getattr(self, f"_{action.action_type}")(action)
        await self.settle()

    async def _point(self, action: Action) -> tuple[int, int]:
        """Moves the pointer first and waits: what an element loads or moves when pointed at would swallow the press."""
        await self.page.mouse.move(*to_pixel(action.point))
        await self._settled(frames=False)  # a move is answered when the page has dealt with it
        return to_pixel(action.point)

    async def _click(self, action: Action) -> None:
        await self._point(action)
        await self.page.mouse.down()
        await self.page.mouse.up()

    async def _left_double(self, action: Action) -> None:
        await self.page.mouse.dblclick(*await self._point(action))

    async def _right_single(self, action: Action) -> None:
        await self.page.mouse.click(*await self._point(action), button="right")

    async def _hover(self, action: Action) -> None:
        await self._point(action)

    async def _drag(self, action: Action) -> None:
        await self._point(action)
        await self.page.mouse.down()
        await self.page.mouse.move(*to_pixel(action.end_point), steps=DRAG_MOVES)
        await self.page.mouse.up()

    async def _scroll(self, action: Action) -> None:
        await self.page.mouse.move(*to_pixel(action.point or MIDDLE))
        await self.page.mouse.wheel(*WHEELS[action.direction])

    async def _type(self, action: Action) -> None:
        if action.point is not None:
            await self._click(action)
        await self._keys(action.content)

    async def _keys(self, text: str) -> None:
        """Half a surrogate pair is no character: the browser would refuse the whole text for it."""
        await self.page.keyboard.type(text.encode(errors="replace").decode())

    async def _select(self, action: Action) -> None:
        """A list opens in a window of the system that no screenshot shows, so it is chosen by its first letters."""
        await self._click(action)
        if action.content:
            await self._keys(action.content)
            await self.page.keyboard.press("Enter")

    async def _hotkey(self, action: Action) -> None:
        keys = [KEYS.get(key, key) for key in action.key.split()]
        if not keys or any(key not in KEYS.values() and not (len(key) == 1 and "!" <= key <= "~") for key in keys):
            raise ImpossibleAction(f"No such key: {action.key!r}. Known: ASCII characters, {', '.join(KEYS)}.")
        await self.page.keyboard.press("+".join(keys))

    async def _wait(self, action: Action) -> None:
        await asyncio.sleep(0.5)

    async def _finished(self, action: Action) -> None:
        self.done = True


DOABLE = (
    "click",
    "left_double",
    "right_single",
    "hover",
    "drag",
    "scroll",
    "type",
    "select",
    "hotkey",
    "wait",
    "finished",
)
