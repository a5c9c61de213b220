"""Expert rules for tasks that are solved by dragging, and for marking text."""

from tracer1.environments._miniwob.hand import Hand, Unsolved
from tracer1.environments._miniwob.rules import find, rule

EDGES = "e => { const r = e.getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom]; }"


@rule("drag-box")
async def drag_box(hand: Hand, goal: str) -> None:
    x1, y1, x2, y2 = await hand.at("#draggableLarge").evaluate(EDGES)
    await hand.drag("#draggableSmall", ((x1 + x2) // 2, (y1 + y2) // 2), "drag the small box into the large box")
    await hand.click("#subbtn", "submit button")


@rule("drag-circle")
async def drag_circle(hand: Hand, goal: str) -> None:
    side = find(r"circle (\w+)", goal)
    x1, y1, x2, y2 = await hand.at("circle").evaluate(EDGES)
    dx, dy = {"left": (-20, 0), "right": (20, 0), "up": (0, -20), "down": (0, 20)}[side]
    await hand.drag("circle", ((x1 + x2) // 2 + dx, (y1 + y2) // 2 + dy), f"drag the circle {side}")
    await hand.click("#subbtn", "submit button")


@rule("resize-textarea")
async def resize_textarea(hand: Hand, goal: str) -> None:
    wide, grow = "width" in goal, 20 if "larger" in goal else -20
    handle = ".ui-resizable-e" if wide else ".ui-resizable-s"
    boxes = await hand.boxes(handle)
    if not boxes:
        raise Unsolved("the edge of the text area is not visible")
    x, y = (boxes[0][0] + boxes[0][2]) // 2, (boxes[0][1] + boxes[0][3]) // 2
    edge, way = "right" if wide else "lower", "out" if grow > 0 else "in"
    await hand.drag(handle, (x + grow * wide, y + grow * (not wide)), f"drag the {edge} edge {way}")
    await hand.click("#submit", "submit button")


@rule("highlight-text", "highlight-text-2")
async def highlight_text(hand: Hand, goal: str) -> None:
    number = int(find(r"the (\d)", goal)) if "paragraph and" in goal else 0
    text = hand.at("#randomText p").nth(number - 1) if number else hand.at("#randomText")
    ends = """e => { const range = document.createRange(); range.selectNodeContents(e);
        const all = [...range.getClientRects()].filter(r => r.width > 1), a = all[0], z = all[all.length - 1];
        return [a.left, (a.top + a.bottom) / 2, z.right, (z.top + z.bottom) / 2]; }"""
    x1, y1, x2, y2 = await text.evaluate(ends)
    boxes = await hand.boxes(text)
    if not boxes:
        raise Unsolved("the text is not visible")
    words = f"mark the {('first', 'second', 'third')[number - 1]} paragraph" if number else "mark the text"
    await hand.drag_pixels((int(x1) + 1, int(y1)), (int(x2), int(y2)), words, boxes[0])
    await hand.click("#subbtn", "submit button")


@rule("drag-items")
async def drag_items(hand: Hand, goal: str) -> None:
    name = find(r"Drag (.*?) (?:to|up|down)", goal)
    names = await hand.texts("#sortable li")
    now = names.index(name)
    places = {"to the top": 0, "to the bottom": len(names) - 1, "down by one": now + 1, "up by one": now - 1}
    place = next((place for words, place in places.items() if words in goal), None)
    if place is None:
        place = int(find(r"to the (\d)", goal)) - 1
    await move_item(hand, now, place, f"drag {name} to place {place + 1}")


@rule("drag-sort-numbers")
async def drag_sort_numbers(hand: Hand, goal: str) -> None:
    for place in range(3):
        numbers = [int(text) for text in await hand.texts("#sortable li")]
        now = numbers.index(sorted(numbers)[place])
        if now != place:
            await move_item(hand, now, place, f"drag {numbers[now]} to place {place + 1}")
    await hand.click("#subbtn", "submit button")


async def move_item(hand: Hand, now: int, place: int, words: str) -> None:
    """Drags item `now` of the list just past the middle of item `place`."""
    items = hand.at("#sortable li")
    _, y1, _, y2 = await items.nth(now).evaluate(EDGES)
    x1, top, x2, bottom = await items.nth(place).evaluate(EDGES)
    past = (y2 - y1) * 0.3 * (1 if place > now else -1)
    await hand.drag(items.nth(now), ((x1 + x2) // 2, (top + bottom) // 2 + past), words)
