"""Expert rules for forms: text boxes, passwords, lists, spinners, sliders, copy and paste, scrolling."""

import calendar
import json

from tracer1.environments._miniwob.hand import Hand, Unsolved
from tracer1.environments._miniwob.rules import find, quoted, rule

ORDINALS = ("first", "second", "third")


@rule("enter-text", "enter-text-dynamic")
async def enter_text(hand: Hand, goal: str) -> None:
    await hand.fill("#tt", quoted(goal)[0], "text")
    await hand.click("#subbtn", "submit button")


@rule("enter-password")
async def enter_password(hand: Hand, goal: str) -> None:
    await hand.fill("#password", quoted(goal)[0], "password")
    await hand.click("#verify", "second password box")
    await hand.type(quoted(goal)[0], "password again")
    await hand.click("#subbtn", "submit button")


@rule("login-user")
async def login_user(hand: Hand, goal: str) -> None:
    user, password = quoted(goal)
    await hand.fill("#username", user, "username")
    await hand.fill("#password", password, "password")
    await hand.click("#subbtn", "login button")


@rule("form-sequence-2")
async def form_sequence_2(hand: Hand, goal: str) -> None:
    radio, box = int(find(r"the (\d)\w+ radio", goal)), int(find(r"the (\d)\w+ textbox", goal))
    await hand.click(f"input[type=radio][value='{radio}']", f"{ORDINALS[radio - 1]} radio button")
    await hand.click(f"#input-{box}", f"{ORDINALS[box - 1]} text box")
    await hand.type(quoted(goal)[0], "number")
    await hand.click("#subbtn", "submit button")


@rule("use-spinner")
async def use_spinner(hand: Hand, goal: str) -> None:
    wanted = int(find(r"Select (-?\d+)", goal))
    while (now := int(await hand.value("#spinner"))) != wanted:
        side = "up" if wanted > now else "down"
        await hand.click(f".ui-spinner-{side}", f"{side} arrow")
    await hand.click("#subbtn", "submit button")


@rule("copy-paste", "copy-paste-2")
async def copy_paste(hand: Hand, goal: str) -> None:
    if "the textarea below" in goal:
        await hand.click("#to-copy", "text area")
    else:
        number = int(find(r"the (\d)", goal))
        await hand.click(f"#text-{number}", f"{ORDINALS[number - 1]} text area")
    await hand.press("ctrl a", "select all text")
    await hand.press("ctrl c", "copy the text")
    await hand.click("#answer-input", "answer box")
    await hand.press("ctrl v", "paste the text")
    await hand.click("#subbtn", "submit button")


@rule("scroll-text-2")
async def scroll_text_2(hand: Hand, goal: str) -> None:
    side = "down" if "bottom" in goal else "up"
    left = "e => [e.scrollTop, e.scrollHeight - e.clientHeight - e.scrollTop]"
    while (await hand.at("#text-area").evaluate(left))[side == "down"] > 1:
        await hand.scroll("#text-area", side)
    await hand.click("#subbtn", "submit button")


@rule("login-user-popup")
async def login_user_popup(hand: Hand, goal: str) -> None:
    for selector, content, words in zip(
        ("#username", "#password"), quoted(goal), ("username", "password"), strict=True
    ):
        await hand.click(selector, f"{words} box")
        if await hand.count("#popup"):
            await hand.click("#popup-cancel", "cancel button")
            await hand.click(selector, f"{words} box")
        await hand.type(content, words)
    await hand.click("#subbtn", "ok button")


@rule("form-sequence")
async def form_sequence(hand: Hand, goal: str) -> None:
    await set_slider(hand, "#slider", int(find(r"Select (-?\d+)", goal)))
    number = int(find(r"the (\d)\w+ checkbox", goal))
    await hand.click(f"#checkbox-{number}", f"{ORDINALS[number - 1]} checkbox")
    await hand.click("#subbtn", "submit button")


async def set_slider(hand: Hand, slider: str, wanted: int, words: str = "slider") -> None:
    """Drags the handle to where `wanted` should be, then corrects with the arrow keys."""
    read = """s => { const g = k => $(s).slider('option', k), r = $(s)[0].getBoundingClientRect();
        return [g('value'), g('min'), g('max'), g('orientation') === 'vertical', r.left, r.top, r.width, r.height]; }"""
    now, low, high, vertical, left, top, width, height = await hand.js(read, slider)
    if now == wanted:
        return
    part = (wanted - low) / (high - low)
    end = (left + width / 2, top + height * (1 - part)) if vertical else (left + width * part, top + height / 2)
    await hand.drag(f"{slider} .ui-slider-handle", end, f"drag the {words} to {wanted}")
    while (now := (await hand.js(read, slider))[0]) != wanted:
        key = "right" if wanted > now else "left"
        await hand.press(key, f"press {key}")


@rule("use-slider", privileged=True)
async def use_slider(hand: Hand, goal: str) -> None:
    """The ends of the scale differ from episode to episode and are not on the screen."""
    await set_slider(hand, "#slider", int(find(r"Select (-?\d+)", goal)))
    await hand.click("#subbtn", "submit button")


@rule("use-slider-2")
async def use_slider_2(hand: Hand, goal: str) -> None:
    for i, wanted in enumerate(json.loads(find(r"(\[.*\])", goal)), start=1):
        await set_slider(hand, f"#slider-{i}", wanted, f"{ORDINALS[i - 1]} slider")
    await hand.click("#subbtn", "submit button")


@rule("form-sequence-3")
async def form_sequence_3(hand: Hand, goal: str) -> None:
    option, button = find(r"Choose (.*) from", goal), quoted(goal)[0]
    await hand.click(".selectric", "list")
    item = hand.named(".selectric-items li", option)
    await hand.until(item)
    await hand.scroll_to(".selectric-scroll", item)
    await hand.click(item, f"{option} option")
    await hand.until(f"#{button.lower()}")
    await hand.click(f"#{button.lower()}", f"{button.lower()} button")


@rule("enter-text-2")
async def enter_text_2(hand: Hand, goal: str) -> None:
    text = quoted(goal)[0]
    await hand.fill("#tt", text.upper() if "upper case" in goal else text.lower(), "text")
    await hand.click("#subbtn", "submit button")


@rule("enter-date")
async def enter_date(hand: Hand, goal: str) -> None:
    """A date field has three parts; the click goes to the first, and typing moves on by itself."""
    await hand.click("#tt", "date box", across=0.08)
    await hand.type(find(r"(\d+/\d+/\d+)", goal), "date")
    await hand.click("#subbtn", "submit button")


@rule("enter-time")
async def enter_time(hand: Hand, goal: str) -> None:
    hour, minute, half = find(r"Enter (\d+:\d+ [AP]M)", goal.replace("\u202f", " ")).replace(":", " ").split()
    await hand.click("#tt", "time box", across=0.08)
    await hand.type(f"{int(hour):02d}:{minute}{half}", "time")
    await hand.click("#subbtn", "submit button")


@rule("choose-list")
async def choose_list(hand: Hand, goal: str) -> None:
    name = find(r"Select (.*) from the list", goal)
    if await hand.at("#options").evaluate("e => e.options[e.selectedIndex].text") != name:
        await hand.pick("#options", name, name)
    await hand.click("#area button", "submit button")


@rule("choose-date", "choose-date-easy", "choose-date-medium", "choose-date-nodelay")
async def choose_date(hand: Hand, goal: str) -> None:
    month, day, _ = (int(part) for part in find(r"(\d+/\d+/\d+)", goal).split("/"))
    await hand.click("#datepicker", "date box")
    await hand.until(".ui-datepicker-calendar")
    while (shown := MONTHS.index(await hand.text(".ui-datepicker-month")) + 1) != month:
        side, words = (
            (".ui-datepicker-prev", "previous month") if shown > month else (".ui-datepicker-next", "next month")
        )
        await hand.click(side, words)
    await hand.click(hand.named(".ui-datepicker-calendar a", str(day)), f"day {day}")
    await hand.click("#subbtn", "submit button")


MONTHS = list(calendar.month_name)[1:]


@rule("use-autocomplete", "use-autocomplete-nodelay")
async def use_autocomplete(hand: Hand, goal: str) -> None:
    start, *end = quoted(goal)
    await hand.fill("#tags", start, "start")
    await hand.until(".ui-menu-item")
    names = [
        name for name in await hand.texts(".ui-menu-item") if name.startswith(start) and name.endswith("".join(end))
    ]
    if not names:
        raise Unsolved("no suggestion fits")
    item = hand.named(".ui-menu-item", names[0])
    await hand.click(item, f"{names[0]} item")
    await hand.click("#subbtn", "submit button")


@rule("sign-agreement")
async def sign_agreement(hand: Hand, goal: str) -> None:
    if "Scroll" in goal:
        while await hand.at("#name").is_disabled():
            await hand.scroll("#text-area", "down")
        await hand.fill("#name", quoted(goal)[0], "name")
    button = "agree" if '"Agree"' in goal else "cancel"
    await hand.click(f"#{button}", f"{button} button")


@rule("multi-layouts", "multi-orderings")
async def multi_layouts(hand: Hand, goal: str) -> None:
    patterns = {"genre": r"for (.*) movies", "director": r"directed by (.*) from", "year": r"year (\d+)"}
    values = {name: find(pattern, goal) for name, pattern in patterns.items()}
    rows = hand.at("#area p:has(input), #area .row, #area tr, #area .field, #area .ui-entry")
    for i, label in enumerate(await hand.texts(rows)):
        name = next(
            word for word in ("genre", "director", "year") if word in label.lower().replace("released date", "year")
        )
        await hand.fill(rows.nth(i).locator("input"), values[name], name)
    await hand.click("#area button, #area .final, #area .ui-submit", "search button")
