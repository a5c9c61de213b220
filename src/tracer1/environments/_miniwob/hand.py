"""The oracle's primitives: see an element, act on it where it is visible, note what was seen and done. It knows no task.

A rule reads the page's DOM, which a policy never sees, but acts only by pixels, keys and wheel, so that every recorded action
can be repeated from its screenshot.
"""

import re
from dataclasses import dataclass, field
from typing import Any

from tracer1.environments._miniwob.episode import Episode, to_box, to_pixel, to_point
from tracer1.environments._miniwob.picture import shrink_png
from tracer1.schema import Action, Box, Point

Target = Any  # a CSS selector (Playwright's extensions included) or a Playwright locator; its first match counts
NAMED = ("button ", "tab ", "point ", "link ", "day ", "number ", "letter ")  # a noun with a name takes no article


class Unsolved(Exception):
    """The rule cannot go on: its target is not visible, or the episode is over. Such an episode is left out."""


@dataclass(slots=True)
class Move:
    """One action of the expert, with what was on the screen just before it."""

    action: Action
    screenshot: bytes
    abstraction: str
    boxes: tuple[Box, ...] = ()


@dataclass(slots=True)
class Hand:
    """Acts for a rule; `moves` is the record."""

    episode: Episode
    limit: int = 40  # more actions than any expert needs
    moves: list[Move] = field(default_factory=list)

    # -- looking: none of this is recorded

    def at(self, target: Target) -> Any:
        """The Playwright locator of a target."""
        return self.episode.document.locator(target) if isinstance(target, str) else target

    def named(self, selector: str, text: str) -> Any:
        """The locator of those matches of a CSS selector whose whole text is `text`."""
        return self.episode.document.locator(selector).filter(has_text=re.compile(rf"^\s*{re.escape(text)}\s*$"))

    async def js(self, expression: str, argument: Any = None) -> Any:
        """Reads from the page; a rule must not change it."""
        return await self.episode.document.evaluate(expression, argument)

    async def texts(self, target: Target) -> list[str]:
        """The visible text of every match."""
        return [" ".join(text.split()) for text in await self.at(target).all_inner_texts()]

    async def text(self, target: Target) -> str:
        """The visible text of the first match."""
        return " ".join((await self.at(target).first.inner_text()).split())

    async def value(self, target: Target) -> str:
        """What stands in a form field."""
        return await self.at(target).first.input_value()

    async def count(self, target: Target) -> int:
        """How many matches there are, visible or not."""
        return await self.at(target).count()

    async def boxes(self, target: Target) -> list[list[float]]:
        """The pixel boxes in which the first match is visible, best first; [] when it is not."""
        locator = self.at(target)
        return await locator.first.evaluate("e => __probe.boxes(e)") if await locator.count() else []

    async def until(self, target: Target) -> None:
        """Waits for something that the page shows after a delay; raises Unsolved when it does not come within 5 s."""
        await self.at(target).first.wait_for(state="visible")
        await self.episode.settle()

    # -- acting: each adds one move

    async def act(self, action: Action, boxes: list[list[float]] | None = None) -> None:
        """Looks, notes and performs."""
        if self.episode.done:
            raise Unsolved(f"the episode ended with reward {self.episode.reward:g} before {action.step_instruction!r}")
        if len(self.moves) >= self.limit:
            raise Unsolved(f"no end after {self.limit} actions")
        screenshot, abstraction = shrink_png(await self.episode.look()), await self.episode.abstraction()
        self.moves.append(Move(action, screenshot, abstraction, tuple(to_box(box) for box in boxes or ())))
        await self.episode.perform(action)

    async def aim(self, target: Target, across: float = 0.5) -> tuple[Point, list[list[float]]]:
        """The point (0..1000) to press for a target, and its pixel boxes; raises Unsolved when no pixel of it is visible.

        Args:
            target: What to press.
            across: How far from left to right within its box, 0..1.
        """
        boxes = await self.boxes(target)
        if not boxes:
            raise Unsolved(f"{target} is not visible")
        x1, y1, x2, y2 = boxes[0]
        point = to_point(int(x1 + (x2 - x1) * across), int((y1 + y2) / 2))
        at = to_pixel(point)
        inside = await self.at(target).first.evaluate("(e, [x, y]) => e.contains(document.elementFromPoint(x, y))", at)
        if not inside:
            raise Unsolved(f"pixel {at} does not hit {target}")
        return point, boxes

    async def click(self, target: Target, words: str, kind: str = "click", across: float = 0.5) -> None:
        """`click the {words}`, or `click tab 2`; `kind` may be another action that takes one point; `across` as in `aim`."""
        verb = {"left_double": "double click", "right_single": "right click", "hover": "point at"}.get(kind, kind)
        named = words.startswith(NAMED)
        point, boxes = await self.aim(target, across)
        await self.act(Action(kind, f"{verb} {words}" if named else f"{verb} the {words}", point=point), boxes)

    async def type(self, content: str, words: str) -> None:
        """Types into whatever has the focus."""
        await self.act(Action("type", f"type the {words}", content=content))

    async def fill(self, target: Target, content: str, words: str) -> None:
        """Clicks a text box and types."""
        await self.click(target, f"{words} box")
        await self.type(content, words)

    async def press(self, key: str, words: str) -> None:
        """A key or keys pressed together, e.g. "ctrl c"; `words` is the whole instruction."""
        await self.act(Action("hotkey", words, key=key))

    async def pick(self, target: Target, option: str, words: str) -> None:
        """Chooses an option of a native list."""
        point, boxes = await self.aim(target)
        await self.act(Action("select", f"select the {words}", point=point, content=option), boxes)

    async def scroll(self, target: Target, direction: str) -> None:
        """One turn of the wheel over a target."""
        point, boxes = await self.aim(target)
        await self.act(Action("scroll", f"scroll {direction}", point=point, direction=direction), boxes)

    async def scroll_to(self, area: Target, target: Target, direction: str = "down", limit: int = 20) -> None:
        """Scrolls until some of the target shows that can be pressed; raises Unsolved when it does not come."""
        for _ in range(limit):
            if await self.shows(target):
                return
            await self.scroll(area, direction)
        raise Unsolved(f"{target} did not come into view")

    async def shows(self, target: Target, pixels: float = 6) -> bool:
        """Whether enough of the target is visible to be pressed: a box at least `pixels` high and wide."""
        return any(min(x2 - x1, y2 - y1) >= pixels for x1, y1, x2, y2 in (await self.boxes(target))[:1])

    async def drag(self, target: Target, end: Point, words: str) -> None:
        """Drags a target to pixel `end`; `words` is the whole instruction."""
        point, boxes = await self.aim(target)
        await self.act(Action("drag", words, point=point, end_point=to_point(*end)), boxes)

    async def drag_pixels(self, start: tuple[float, float], end: Point, words: str, box: list[float]) -> None:
        """Drags from one pixel to another, where the place to grab is not an element's middle; `box` is what is grabbed."""
        await self.act(Action("drag", words, point=to_point(*start), end_point=to_point(*end)), [box])
