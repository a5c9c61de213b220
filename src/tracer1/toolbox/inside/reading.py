"""Reads the text in an image with tesseract. It knows nothing of tools, documents or what the text means.

Preprocessing decides whether tesseract reads a photo at all, and no preprocessing is best for all: a small image is read three
times, a large one twice. The reading with the most confident characters gives the lines; a word that another reading is surer of
is taken from there, and so are sure words that it missed.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from tracer1.toolbox.inside import Unusable, answering
from tracer1.toolbox.inside.images import open_image

READ_PIXELS = 8_000_000  # what is read is not made larger than this
LITTLE = 1.3  # enlargement
SURE, DOUBTFUL = 80, 20  # tesseract's confidence of a word, 0..100: added from another reading; left out
WORTHLESS = 60  # the confidence at which a word speaks neither for nor against its reading


@dataclass
class Word:
    """A word as tesseract read it; the box in pixels of the image."""

    text: str
    confidence: float
    box: tuple[float, float, float, float]
    line: tuple[int, ...]  # (reading, page, block, paragraph, line): words of one line share it


@answering
def lines(path: str) -> dict[str, Any]:
    """The lines of text in an image, in reading order.

    Returns:
        `lines`: `[{"text", "box": [x1, y1, x2, y2], "confidence"}]`; `reading`: which preprocessing they come from.
    """
    return read(open_image(path))


def read(image: Any) -> dict[str, Any]:
    """The same of a `PIL.Image`."""
    readings = {name: list(_words(number, *prepared)) for number, (name, *prepared) in enumerate(_prepared(image))}
    best = max(readings, key=lambda name: _worth(readings[name]))
    words = readings[best]
    for name, others in readings.items():
        if name != best:
            words = _improved(words, others)
    return {"lines": list(_lines(words)), "reading": best}


def _prepared(image: Any) -> Iterator[tuple[str, Any, float, int]]:
    """`(name, picture, scale, page segmentation mode)` of each reading."""
    from PIL import Image, ImageOps

    large = min(3.0, (READ_PIXELS / (image.width * image.height)) ** 0.5)
    yield "plain", _scaled(image, min(1.0, large)), min(1.0, large), 6
    grey = _scaled(ImageOps.autocontrast(ImageOps.grayscale(image)), large, Image.Resampling.LANCZOS)
    yield "enlarged", grey, large, 3
    if large > LITTLE:  # otherwise there are dots enough, and each reading takes seconds
        yield "threshold", grey.point(lambda value: 255 if value >= 150 else 0), large, 6


def _scaled(image: Any, scale: float, how: Any = None) -> Any:
    if scale == 1:
        return image
    return image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))), how)


def _words(number: int, picture: Any, scale: float, mode: int) -> Iterator[Word]:
    """What tesseract reads in one picture."""
    import pytesseract

    os.environ["OMP_THREAD_LIMIT"] = "1"  # its threads only get in each other's way
    try:
        table = pytesseract.image_to_data(picture, config=f"--psm {mode}", output_type=pytesseract.Output.DICT)
    except pytesseract.TesseractNotFoundError as missing:
        raise Unusable(
            "unavailable", "tesseract is not installed. Install it: apt-get install tesseract-ocr"
        ) from missing
    except pytesseract.TesseractError as problem:
        raise Unusable("failed", f"tesseract could not read the image: {problem}") from problem
    rows = zip(*(table[key] for key in ("text", "conf", "left", "top", "width", "height")), strict=True)
    places = zip(*(table[key] for key in ("page_num", "block_num", "par_num", "line_num")), strict=True)
    for (text, confidence, left, top, width, height), place in zip(rows, places, strict=True):
        if text.strip() and float(confidence) >= DOUBTFUL:
            box = left / scale, top / scale, (left + width) / scale, (top + height) / scale
            yield Word(text.strip(), float(confidence), box, (number, *place))


def _worth(words: list[Word]) -> float:
    """How much a reading is worth: characters, weighted by how sure they are; doubtful ones count against it."""
    return sum(len(word.text) * (word.confidence - WORTHLESS) for word in words)


def _improved(words: list[Word], others: list[Word]) -> list[Word]:
    """`words` with the text of another reading's words in the same place that are surer, and with its sure words elsewhere."""
    improved = list(words)
    for other in others:
        same = [index for index, word in enumerate(improved) if _overlap(word.box, other.box) > 0.6]
        if len(same) == 1 and other.confidence > improved[same[0]].confidence:
            improved[same[0]] = replace(improved[same[0]], text=other.text, confidence=other.confidence)
        elif not same and _says_something(other) and not any(_covered(other.box, word.box) for word in improved):
            improved.append(replace(other, line=_neighbour_line(other, words) or other.line))
    return improved


def _neighbour_line(word: Word, others: list[Word]) -> tuple[int, ...] | None:
    """The line that a word stands in: of the nearest word beside it, no further away than two of its heights."""
    left, top, right, bottom = word.box
    beside = []
    for other in others:
        x1, y1, x2, y2 = other.box
        gap = max(x1 - right, left - x2)
        if y1 < (top + bottom) / 2 < y2 and gap < 2 * (bottom - top):
            beside.append((gap, other.line))
    return min(beside)[1] if beside else None


def _says_something(word: Word) -> bool:
    """Whether a word is worth adding: sure, and with a letter or a digit."""
    return word.confidence >= SURE and any(sign.isalnum() for sign in word.text)


def _lines(words: list[Word]) -> Iterator[dict[str, Any]]:
    """The words line by line, lines in the order of the page."""
    grouped: dict[tuple[int, ...], list[Word]] = {}
    for word in words:
        grouped.setdefault(word.line, []).append(word)
    own = words[0].line[0] if words else 0
    added = [line for line in grouped if line[0] != own]
    order = [line for line in grouped if line[0] == own]
    for line in added:  # before the first line that begins lower
        top = min(word.box[1] for word in grouped[line])
        lower = [index for index, other in enumerate(order) if min(word.box[1] for word in grouped[other]) > top]
        order.insert(lower[0] if lower else len(order), line)
    for line in order:
        row = sorted(grouped[line], key=lambda word: word.box[0])
        boxes = list(zip(*(word.box for word in row), strict=True))
        yield {
            "text": " ".join(word.text for word in row),
            "box": [round(min(boxes[0])), round(min(boxes[1])), round(max(boxes[2])), round(max(boxes[3]))],
            "confidence": round(sum(word.confidence for word in row) / len(row), 1),
        }


def _shared(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(0.0, width) * max(0.0, height)


def _area(box: tuple[float, ...]) -> float:
    return max(1e-9, (box[2] - box[0]) * (box[3] - box[1]))


def _overlap(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """Intersection over union."""
    shared = _shared(one, other)
    return shared / (_area(one) + _area(other) - shared)


def _covered(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Whether the smaller of two boxes lies in the other by more than a fifth."""
    return _shared(one, other) > 0.2 * min(_area(one), _area(other))
