"""Expert rules for tasks in which something on the screen must be read or reckoned."""

import re

from tracer1.environments._miniwob.hand import Hand
from tracer1.environments._miniwob.rules import find, quoted, rule


@rule("simple-arithmetic")
async def simple_arithmetic(hand: Hand, goal: str) -> None:
    a, sign, b, _ = (await hand.text("#math-problem")).split()
    answer = {"+": int(a) + int(b), "-": int(a) - int(b), "x": int(a) * int(b)}[sign]
    await hand.fill("#math-answer", str(answer), "answer")
    await hand.click("#subbtn", "submit button")


@rule("simple-algebra")
async def simple_algebra(hand: Hand, goal: str) -> None:
    a, sign, b, _, total = (await hand.text("#math-problem")).split()
    known, right = int(b if a == "x" else a), int(total)
    answers = {
        ("x", "+"): right - known,
        ("x", "-"): right + known,
        ("1", "+"): right - known,
        ("1", "-"): known - right,
    }
    answer = answers["x" if a == "x" else "1", sign]
    await hand.fill("#math-answer", str(answer), "answer")
    await hand.click("#subbtn", "submit button")


@rule("visual-addition")
async def visual_addition(hand: Hand, goal: str) -> None:
    await hand.fill("#math-answer", str(await hand.count(".addition-block")), "number of blocks")
    await hand.click("#subbtn", "submit button")


@rule("find-word")
async def find_word(hand: Hand, goal: str) -> None:
    number = int(find(r"the (\d+)", goal))
    word = re.sub(r"[^a-zA-Z]", "", (await hand.text("#area p")).split()[number - 1])
    await hand.fill("#answer-input", word, "word")
    await hand.click("#subbtn", "submit button")


@rule("text-transform")
async def text_transform(hand: Hand, goal: str) -> None:
    await hand.fill("#tt", "".join(await hand.texts("#captcha span")), "letters")
    await hand.click("#subbtn", "submit button")


@rule("read-table")
async def read_table(hand: Hand, goal: str) -> None:
    await hand.fill("#tt", (await table(hand))[find(r"value of (.*) into", goal)], "value")
    await hand.click("#subbtn", "submit button")


@rule("read-table-2")
async def read_table_2(hand: Hand, goal: str) -> None:
    values = await table(hand)
    for i, words in ((1, "first value"), (2, "second value")):
        await hand.fill(f"#tt{i}", values[(await hand.text(f"#ll{i}")).rstrip(":")], words)
    await hand.click("#subbtn", "submit button")


async def table(hand: Hand) -> dict[str, str]:
    """The two columns of the table."""
    cells = await hand.texts("#tab td")
    return dict(zip(cells[::2], cells[1::2], strict=True))


@rule("guess-number")
async def guess_number(hand: Hand, goal: str) -> None:
    """Halves what is left, told by the feedback that the screen shows."""
    low, high = 0, 9
    while not hand.episode.done:
        guess = (low + high) // 2
        await hand.click("#tt", "number box")
        if await hand.value("#tt"):
            await hand.press("ctrl a", "select all text")
        await hand.type(str(guess), "guess")
        await hand.click("#subbtn", "submit button")
        if await hand.at("#higher").is_visible():
            low = guess + 1
        else:
            high = guess - 1


@rule("search-engine")
async def search_engine(hand: Hand, goal: str) -> None:
    await hand.fill("#search-text", quoted(goal)[0], "search text")
    await hand.click("#search", "search button")
    place = int(find(r"the (\d)", goal)) - 1
    for _ in range(place // 3):
        await hand.click("#pagination .next a", "next page")
    await hand.click(hand.at("#page-content a.search-title").nth(place % 3), f"result {place + 1}")


@rule("phone-book")
async def phone_book(hand: Hand, goal: str) -> None:
    name, kind = find(r"Find (.*) in the contact book", goal), find(r"click on their (\w+)", goal)
    while await hand.text("#contact .name") != name:
        await hand.click("#pagination .next a", "next page")
    await hand.click(f"#contact a.{kind}", f"{kind} link")
