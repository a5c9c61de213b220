"""Expert rules for tasks that are solved by one kind of click: buttons, tabs, boxes, colours, grids."""

from tracer1.environments._miniwob.hand import Hand
from tracer1.environments._miniwob.rules import find, quoted, rule


@rule("click-test", "click-test-2")
async def click_test(hand: Hand, goal: str) -> None:
    await hand.click("#subbtn", "button one" if "ONE" in goal else "button")


@rule("click-button-sequence")
async def click_button_sequence(hand: Hand, goal: str) -> None:
    await hand.click("#subbtn", "button one")
    await hand.click("#subbtn2", "button two")


@rule("click-widget")
async def click_widget(hand: Hand, goal: str) -> None:
    kind = quoted(goal)[0]
    words = {"radio": "radio button", "text": "text box", "textarea": "text area"}.get(kind, kind)
    await hand.click(f"[data-type={kind}]", words)


@rule("click-dialog")
async def click_dialog(hand: Hand, goal: str) -> None:
    await hand.click(".ui-dialog-titlebar-close", "x of the dialog")


@rule("focus-text", "focus-text-2")
async def focus_text(hand: Hand, goal: str) -> None:
    number = int(find(r"the (\d)", goal)) if "input textbox" in goal else 1
    words = ("first", "second", "third")[number - 1] + " text box" if "input textbox" in goal else "text box"
    await hand.click(hand.at("#area input").nth(number - 1), words)


@rule("click-tab")
async def click_tab(hand: Hand, goal: str) -> None:
    number = find(r"Tab #(\d)", goal)
    await hand.click(f'#area ul a[href="#tabs-{number}"]', f"tab {number}")


@rule("grid-coordinate")
async def grid_coordinate(hand: Hand, goal: str) -> None:
    place = find(r"(\(-?\d,-?\d\))", goal)
    await hand.click(f'circle[id="{place}"]', f"point {place}")


@rule("click-color")
async def click_color(hand: Hand, goal: str) -> None:
    colour = find(r"the (\w+) colored", goal)
    await hand.click(f"#area [data-color={colour}]", f"{colour} box")


@rule("click-shades")
async def click_shades(hand: Hand, goal: str) -> None:
    colour = find(r"shades of (\w+)", goal)
    squares = hand.at(f"#area span[data-color={colour}]")
    for i in range(await squares.count()):
        await hand.click(squares.nth(i), f"{colour} square")
    await hand.click("#submit", "submit button")


@rule("click-collapsible", "click-collapsible-nodelay")
async def click_collapsible(hand: Hand, goal: str) -> None:
    await hand.click("#area h3", "section")
    await hand.click("#subbtn", "submit button")


@rule("click-link")
async def click_link(hand: Hand, goal: str) -> None:
    await hand.click(hand.named(".alink", quoted(goal)[0]), f"link {quoted(goal)[0]}")


@rule("click-button")
async def click_button(hand: Hand, goal: str) -> None:
    await hand.click(hand.named("#area button", quoted(goal)[0]), f"{quoted(goal)[0].lower()} button")


@rule("click-dialog-2")
async def click_dialog_2(hand: Hand, goal: str) -> None:
    name = quoted(goal)[0]
    if name == "x":
        await hand.click(".ui-dialog-titlebar-close", "x of the dialog")
    else:
        await hand.click(hand.named(".ui-dialog-buttonpane button", name), f"{name.lower()} button")


@rule("click-shape")
async def click_shape(hand: Hand, goal: str) -> None:
    """Shapes are told by the attributes they are drawn with: what they look like, not what the page has noted of them."""
    wanted = find(r"Click on an? (.*)", goal)
    looks = await hand.js(SHAPES)
    fitting = [i for i, look in enumerate(looks) if set(wanted.split()) <= {*look, "item"}]
    await hand.click(hand.at("#area_svg > *").nth(fitting[0]), wanted)


SHAPES = """() => [...document.querySelectorAll('#area_svg > *')].map((e) => {
    const text = e.tagName === 'text', digit = text && /[0-9]/.test(e.textContent);
    const size = text ? parseFloat(e.getAttribute('font-size')) : e.getBBox().width;
    const name = {circle: 'circle', rect: 'rectangle', polygon: 'triangle'}[e.tagName] || e.textContent;
    return [size > 15 ? 'large' : 'small', e.getAttribute('fill'), text ? (digit ? 'digit' : 'letter') : 'shape', name];
})"""


@rule("count-shape")
async def count_shape(hand: Hand, goal: str) -> None:
    wanted = find(r"How many (.*)s are there", goal)
    number = sum(set(wanted.split()) <= {*look, "item"} for look in await hand.js(SHAPES))
    await hand.click(hand.named("#count-buttons button", str(number)), f"number {number}")


@rule("identify-shape")
async def identify_shape(hand: Hand, goal: str) -> None:
    _, _, kind, name = (await hand.js(SHAPES))[0]
    name = name if kind == "shape" else kind
    await hand.click(f"#area-buttons [data-type={name}]", f"{'number' if name == 'digit' else name} button")


@rule("click-option")
async def click_option(hand: Hand, goal: str) -> None:
    name = find(r"Select (.*) and click Submit", goal)
    await hand.click(hand.named("#boxes label", name).locator("input"), f"{name} option")
    await hand.click("#subbtn", "submit button")


@rule("click-checkboxes", "click-checkboxes-transfer", "click-checkboxes-large")
async def click_checkboxes(hand: Hand, goal: str) -> None:
    names = find(r"Select (.*) and click Submit", goal)
    for name in names.split(", ") if names != "nothing" else ():
        await hand.click(hand.named("#area label", name).locator("input"), f"{name} checkbox")
    await hand.click("#subbtn", "submit button")


@rule("number-checkboxes")
async def number_checkboxes(hand: Hand, goal: str) -> None:
    """The pattern is in a picture on the page, so what is read from the page's table is on the screen too."""
    for i, wanted in enumerate(await hand.js("n => PATTERNS[n].flat()", int(quoted(goal)[0]))):
        if wanted:
            row, column = divmod(i, 4)
            await hand.click(hand.at("#checkboxes input").nth(i), f"checkbox in row {row + 1} column {column + 1}")
    await hand.click("#subbtn", "submit button")


@rule("odd-or-even")
async def odd_or_even(hand: Hand, goal: str) -> None:
    for i, number in enumerate(await hand.texts(".display-number")):
        name = "odd" if int(number) % 2 else "even"
        await hand.click(hand.at(f".row .{name}").nth(i), f"{name} button of {number}")
    await hand.click("#submit", "submit button")


@rule("ascending-numbers", privileged=True)
async def ascending_numbers(hand: Hand, goal: str) -> None:
    """After the first click the numbers are covered: later clicks need a memory of the first screenshot."""
    for number in range(1, 6):
        target = hand.named("svg text", "1") if number == 1 else f'svg rect[data-index="{number}"]'
        await hand.click(target, f"number {number}")
