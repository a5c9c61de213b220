"""Tasks about pictures: receipts and signs to be read, codes, sizes, crops, turned and marked pictures."""

from tracer1.toolbox.tasks import pictures
from tracer1.toolbox.tasks.numbers import PEOPLE
from tracer1.toolbox.tasks.papers import GOODS
from tracer1.toolbox.tasks.task import MADE, Call, Dice, Task

SHOPS = ("Corner", "Market", "Harbour", "Station", "Garden", "Castle")
LETTERS = (22, 24, 26, 28, 30, 32)  # pixels


def receipt(dice: Dice) -> Task:
    """A receipt is read, and something is added to its total."""
    goods, prices = dice.rng.sample(GOODS, 2), [dice.below(11, 44) for _ in range(2)]
    total, tip = sum(prices), dice.below(2, 9)
    lines = [dice.own(SHOPS), *(f"{what} {price}" for what, price in zip(goods, prices, strict=True)), f"total {total}"]
    path = dice.name("receipt", "png")
    return Task(
        f"What does {dice.own(PEOPLE)} pay for {path} with a tip of {tip}?",
        (
            Call("ocr", "read the receipt", "the name of a picture", {"image_path": path}, shows=(str(total),)),
            Call(
                "calculator",
                "add the tip to the total",
                "the receipt",
                {"expression": f"{total} + {tip}"},
                shows=(str(total + tip),),
            ),
        ),
        str(total + tip),
        files={path: pictures.printed(lines, _layout(dice))},
    )


def code(dice: Dice) -> Task:
    """A QR code is read, and its number is multiplied."""
    number, times = dice.below(12, 99), dice.below(3, 9)
    path = dice.name("code", "png")
    return Task(
        f"{dice.own(PEOPLE)} buys {times} things. The price of one stands in {path}. What do they cost?",
        (
            Call("qr_code", "read the code", "the name of a picture", {"image_path": path}, shows=(str(number),)),
            Call(
                "calculator",
                "multiply the price",
                "the price",
                {"expression": f"{number} * {times}"},
                shows=(str(number * times),),
            ),
        ),
        str(number * times),
        files={path: pictures.qr_picture(str(number), dice.own((3, 4, 5, 6)), dice.own((6, 8, 10, 12)))},
    )


def area(dice: Dice) -> Task:
    """The size of a picture is asked for, and its pixels are counted."""
    width, height = dice.below(31, 99), dice.below(31, 99)
    path = dice.name("photo", "png")
    drawn = [(dice.of("disc", "block"), _inside(dice, width, height)) for _ in range(2)]
    return Task(
        f"How many pixels are in {dice.own(PEOPLE)}'s {path}?",
        (
            Call(
                "image_info",
                "ask for its size",
                "the name of a picture",
                {"image_path": path},
                shows=(str(width), str(height)),
            ),
            Call(
                "calculator",
                "multiply width and height",
                "its size",
                {"expression": f"{width} * {height}"},
                shows=(str(width * height),),
            ),
        ),
        str(width * height),
        files={path: pictures.shapes((width, height), drawn)},
    )


def sign(dice: Dice) -> Task:
    """A part of a picture is cut out, and the number in it is read and doubled."""
    numbers = dice.rng.sample(range(12, 50), 2)
    width, height = dice.below(50, 70) * 2, dice.below(25, 40) * 2
    chosen = dice.of(0, 1)
    boxes = [(0, 0, width, height), (0, height, width, 2 * height)]
    asked = boxes[chosen]
    path = dice.name("sign", "png")
    board = pictures.board(
        (width + 1, 2 * height + 1), list(zip(boxes, map(str, numbers), strict=True)), dice.own(LETTERS)
    )
    box = [asked[0] + 4, asked[1] + 4, asked[2] - 4, asked[3] - 4]
    return Task(
        f"{dice.own(PEOPLE)} doubles the number in the part {box} of {path}. What comes out?",
        (
            Call("crop_image", "cut the part out", "the name of a picture", {"image_path": path, "box": box}),
            Call("ocr", "read the part", "the part", {"image_path": MADE}, shows=(str(numbers[chosen]),)),
            Call(
                "calculator",
                "double the number",
                "the number",
                {"expression": f"{numbers[chosen]} * 2"},
                shows=(str(numbers[chosen] * 2),),
            ),
        ),
        str(numbers[chosen] * 2),
        files={path: board},
    )


def turn(dice: Dice) -> Task:
    """A picture is turned, and its new size is asked for."""
    size = dice.below(31, 99), dice.below(31, 99)
    degrees = dice.of(90, 180, 270)
    word, side = dice.of(("wide", 0), ("high", 1))
    now = size if degrees == 180 else size[::-1]
    path = dice.name("photo", "png")
    return Task(
        f"{dice.own(PEOPLE)} turns {path} by {degrees} degrees. How {word} is it then?",
        (
            Call("rotate_image", "turn the picture", "the name of a picture", {"image_path": path, "degrees": degrees}),
            Call(
                "image_info",
                "ask for its size",
                "the turned picture",
                {"image_path": MADE},
                shows=(f"{now[0]}", f"{now[1]}"),
            ),
        ),
        str(now[side]),
        files={path: pictures.shapes(size, [("disc", _inside(dice, *size))])},
    )


def thing(dice: Dice) -> Task:
    """The thing in a box is separated from its background, and its width is worked out."""
    x, y = dice.below(20, 60), dice.below(20, 40)
    across, down = dice.below(20, 60), dice.below(20, 60)
    size = (x + across + dice.below(20, 40), y + down + dice.below(20, 40))
    path = dice.name("thing", "png")
    box = [x - 10, y - 10, x + across + 10, y + down + 10]
    left, right = x, x + across + 1
    return Task(
        f"How wide is the thing within {box} in {dice.own(PEOPLE)}'s {path}?",
        (
            Call(
                "segment_box",
                "find the thing",
                "the name of a picture",
                {"image_path": path, "box": box},
                shows=(str(left), str(right)),
            ),
            Call(
                "calculator",
                "take its left side from its right one",
                "the thing's box",
                {"expression": f"{right} - {left}"},
                shows=(str(right - left),),
            ),
        ),
        str(right - left),
        files={path: pictures.shapes(size, [("block", (x, y, x + across, y + down))])},
    )


def _layout(dice: Dice) -> pictures.Layout:
    return pictures.Layout(dice.own(LETTERS), dice.own((10, 12, 16, 18)), dice.own((6, 8, 10, 12)))


def _inside(dice: Dice, width: int, height: int) -> pictures.Box:
    """A box of at least ten pixels within a picture."""
    x, y = dice.below(2, width - 16), dice.below(2, height - 16)
    return x, y, dice.below(x + 10, width - 3), dice.below(y + 10, height - 3)
