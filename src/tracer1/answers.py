"""When do two answers say the same? Numbers, texts, printed output, boxes and arguments, compared by rules that are written out here.

For the answer reward and for benchmarks that score answers (tools, section 2.1). It knows no tool, no step and no reward.
"""

import math
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

PixelBox = tuple[float, float, float, float]  # x1, y1, x2, y2, in whatever unit both sides use

TOLERANCE = 1e-6  # relative: numbers that went through another order of additions
NEAR_ZERO = 1e-9  # absolute: 0.1 + 0.2 - 0.3
ANSWER_F1 = 0.8  # of two final answers in words (tools, section 2.1)

_PLAIN = r"(?:\d{1,3}(?:,\d{3})+|\d+)"  # 1,234 or 1234
_UNSIGNED = rf"(?:{_PLAIN}(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d{{1,3}})?"
_NUMBER = re.compile(rf"\s*(?P<sign>[-+])?\s*[$€£¥]?\s*(?P<number>{_UNSIGNED})\s*%?\s*")
_NUMBERS = re.compile(rf"(?<![\w.])[-+]?{_UNSIGNED}(?<![.])")
_WORD = re.compile(rf"(?<![\w.]){_UNSIGNED}(?<![.])(?!\w)|[^\W\d_]+|\d+|_+")
_WIDE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")  # scripts without spaces: every character is a word
_ARTICLES = {"a", "an", "the"}  # left out as SQuAD's evaluation does (Rajpurkar et al. 2016)
_SET = re.compile(r"\{([^{}:]*)\}")
_FOUR = re.compile(r"[\[(]\s*" + r"\s*,\s*".join([rf"([-+]?{_UNSIGNED})"] * 4) + r"\s*,?\s*[\])]")
_SENTENCE = 25  # words of an answer that is still one sentence
_LABELS = 8  # words for each number, up to which printed output is numbers with labels


# --- numbers ---------------------------------------------------------------------------------------------------------


def number(text: str) -> float | None:
    """The number that a text is, as GAIA reads it: `$1,234.50`, `12 %`, ` -3 `; None for anything else."""
    found = _NUMBER.fullmatch(_usual(text))
    if found is None:
        return None
    value = float((found["sign"] or "") + found["number"].replace(",", ""))
    return value if math.isfinite(value) else None


def numbers(text: str) -> list[float]:
    """The numbers in a text, in order; digits within a word (`x2`, `v1.2`) are none."""
    found = (float(written.replace(",", "")) for written in _NUMBERS.findall(_usual(text)))
    return [value for value in found if math.isfinite(value)]


def same_number(one: float, other: float, tolerance: float = TOLERANCE) -> bool:
    """Whether two numbers are equal but for rounding errors."""
    return math.isclose(one, other, rel_tol=tolerance, abs_tol=NEAR_ZERO)


def _same_numbers(ones: Sequence[float], others: Sequence[float], tolerance: float) -> bool:
    return len(ones) == len(others) and all(map(lambda a, b: same_number(a, b, tolerance), ones, others))


def _has_numbers(given: Sequence[float], wanted: Sequence[float], tolerance: float) -> bool:
    """Whether each wanted number is among the given ones."""
    return all(any(same_number(one, other, tolerance) for one in given) for other in wanted)


# --- words -----------------------------------------------------------------------------------------------------------


def squeezed(text: str) -> str:
    """Lower case, without white space and punctuation, as GAIA compares strings: "Sea gull." is "seagull"."""
    return "".join(c for c in _usual(text).casefold() if not c.isspace() and c not in string.punctuation)


def words(text: str) -> list[str]:
    """Lower-case words and numbers, articles left out; a Chinese or Japanese character is a word."""
    spaced = _WIDE.sub(lambda found: f" {found[0]} ", _usual(text).casefold())
    return [found.replace(",", "") for found in _WORD.findall(spaced) if found not in _ARTICLES and found.strip("_")]


def token_f1(predicted: str, reference: str) -> float:
    """F1 of the two bags of words, 0..1; 0 where either has none."""
    mine, theirs = Counter(words(predicted)), Counter(words(reference))
    shared = (mine & theirs).total()
    return 2 * shared / (mine.total() + theirs.total()) if shared else 0.0


def says(text: str, part: str) -> bool:
    """Whether the words of `part` stand in the text, one after another, and the text is not so long that it may say anything."""
    whole, wanted = words(text), words(part)
    if not wanted or len(whole) > 3 * len(wanted) + 10:
        return False
    return any(whole[start : start + len(wanted)] == wanted for start in range(len(whole) - len(wanted) + 1))


# --- answers ---------------------------------------------------------------------------------------------------------


def same_answer(predicted: str, reference: str, tolerance: float = TOLERANCE, f1: float = ANSWER_F1) -> bool:
    """Whether two final answers agree.

    In this order: equal but for case, white space and punctuation; a bare number on one side, the last number of the other side's
    sentence on the other; lists of as many elements, equal one by one (of a list of numbers this decides); the reference's words
    within the prediction; or a token F1 of at least `f1`, where every number of the reference must be in the prediction ("527
    calories" is not "600 calories").
    """
    if not squeezed(predicted) or not squeezed(reference):
        return predicted.strip() == reference.strip() != ""
    mine, theirs = number(predicted), number(reference)
    if mine is not None and theirs is not None:
        return same_number(mine, theirs, tolerance)
    if squeezed(predicted) == squeezed(reference):
        return True
    if mine is not None or theirs is not None:
        bare, sentence = (mine, reference) if theirs is None else (theirs, predicted)
        within = numbers(sentence)
        return bool(within) and len(words(sentence)) <= _SENTENCE and same_number(within[-1], bare, tolerance)
    elements = _elements(reference)
    if len(elements) > 1 and all(number(element) is not None for element in elements):
        return _same_lists(predicted, reference, tolerance)
    if _same_lists(predicted, reference, tolerance) or says(predicted, reference):
        return True
    return token_f1(predicted, reference) >= f1 and _has_numbers(numbers(predicted), numbers(reference), tolerance)


def _same_lists(predicted: str, reference: str, tolerance: float) -> bool:
    """GAIA's rule for lists: as many elements between commas or semicolons, equal in order."""
    mine, theirs = _elements(predicted), _elements(reference)
    if len(mine) != len(theirs) or len(theirs) < 2:
        return False
    return all(_same_element(a, b, tolerance) for a, b in zip(mine, theirs, strict=True))


def _elements(text: str) -> list[str]:
    return [element.strip(" '\"\n") for element in re.split(r"[,;]", text.strip().strip("[](){}"))]


def _same_element(predicted: str, reference: str, tolerance: float) -> bool:
    mine, theirs = number(predicted), number(reference)
    if mine is not None and theirs is not None:
        return same_number(mine, theirs, tolerance)
    return squeezed(predicted) == squeezed(reference)


def same_output(predicted: str, reference: str, tolerance: float = TOLERANCE) -> bool:
    """Whether two programs printed the same: words equal, numbers within the tolerance, white space and the order of sets aside.

    Output that is numbers with labels (a number for every 8 words or more) is compared by its numbers alone: what a program calls
    its result is its own affair.
    """
    if not reference.strip():
        return False
    mine, theirs = list(_pieces(predicted)), list(_pieces(reference))
    if len(mine) == len(theirs) and all(_same_piece(a, b, tolerance) for a, b in zip(mine, theirs, strict=True)):
        return True
    wanted = numbers(reference)
    labelled = wanted and len(words(reference)) <= (_LABELS + 1) * len(wanted)
    return bool(labelled) and _same_numbers(numbers(predicted), wanted, tolerance)


def _pieces(output: str) -> Iterator[str]:
    """Numbers and what stands between them, white space aside."""
    text = _SET.sub(_sorted_set, _usual(output))
    end = 0
    for found in _NUMBERS.finditer(text):
        yield "".join(text[end : found.start()].split())
        yield found[0]
        end = found.end()
    yield "".join(text[end:].split())


def _sorted_set(found: re.Match[str]) -> str:
    return "{" + ",".join(sorted(part.strip() for part in found[1].split(","))) + "}"


def _same_piece(predicted: str, reference: str, tolerance: float) -> bool:
    if predicted == reference:
        return True
    mine, theirs = number(predicted), number(reference)
    return mine is not None and theirs is not None and same_number(mine, theirs, tolerance)


# --- boxes and arguments ---------------------------------------------------------------------------------------------


def read_boxes(text: str) -> list[PixelBox]:
    """Every [x1, y1, x2, y2] or (x1, y1, x2, y2) in a text, in order; corners in any order come back upper left first."""
    found = ([float(value.replace(",", "")) for value in four] for four in _FOUR.findall(_usual(text)))
    return [(min(a, c), min(b, d), max(a, c), max(b, d)) for a, b, c, d in found]


def iou(one: PixelBox, other: PixelBox) -> float:
    """Intersection over union of two boxes, 0..1; boxes without area are 1 where they are equal."""
    if tuple(one) == tuple(other):
        return 1.0
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(0.0, width) * max(0.0, height)
    union = _area(one) + _area(other) - shared
    return shared / union if union > 0 else 0.0


def _area(box: PixelBox) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def box_f1(predicted: Sequence[PixelBox], reference: Sequence[PixelBox], least: float = 0.5) -> float:
    """F1 of the largest one-to-one matching of boxes whose IoU is at least `least`, 0..1; two empty lists agree."""
    if not predicted and not reference:
        return 1.0
    near = [[j for j, other in enumerate(reference) if iou(one, other) >= least] for one in predicted]
    return 2 * _largest_matching(near) / (len(predicted) + len(reference))


def _largest_matching(near: Sequence[Sequence[int]]) -> int:
    """How many of the left side can have a partner of their own (Kuhn's algorithm): never fewer than greedy finds."""
    owner: dict[int, int] = {}

    def place(left: int, tried: set[int]) -> bool:
        for right in near[left]:
            if right not in tried:
                tried.add(right)
                if right not in owner or place(owner[right], tried):
                    owner[right] = left
                    return True
        return False

    return sum(place(left, set()) for left in range(len(near)))


def argument_similarity(predicted: Mapping[str, Any], reference: Mapping[str, Any]) -> float:
    """How alike two calls of one tool are, 0..1: as alike as their least alike argument; one that only the prediction has counts 0.

    Texts by token F1, files by the last part of their path, boxes by IoU, everything else by equality. An argument that is null counts
    as left out, and one whose value nobody knows ({"$expr": source}) is not compared; without any known argument two calls are alike.
    """
    given = {name: value for name, value in predicted.items() if value is not None}
    known = {name: value for name, value in reference.items() if value is not None and not is_expression(value)}
    names = {*known, *(name for name in given if name not in reference)}
    return min((_likeness(given.get(name), known.get(name)) for name in names), default=1.0)


def is_expression(value: Any) -> bool:
    """Whether an argument is known by its source only."""
    return isinstance(value, Mapping) and set(value) == {"$expr"}


def _likeness(one: Any, other: Any) -> float:
    if isinstance(one, bool) or isinstance(other, bool) or one is None or other is None:
        return float(one is other)
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        return float(same_number(one, other))
    if isinstance(one, str) and isinstance(other, str):
        if one == other or file_name(one) == file_name(other) is not None:
            return 1.0
        return 0.0 if file_name(other) is not None else token_f1(one, other)
    if _is_box(one) and _is_box(other):
        return iou(one, other)
    return float(one == other)


def _is_box(value: Any) -> bool:
    return (
        isinstance(value, (list, tuple)) and len(value) == 4 and all(isinstance(side, (int, float)) for side in value)
    )


def file_name(text: str) -> str | None:
    """The last part of a text that looks like a path; None of one that does not."""
    path = PurePosixPath(text.replace("\\", "/"))
    return path.name if re.fullmatch(r"\.[A-Za-z]\w{0,4}", path.suffix) and not re.search(r"\s", text) else None


def _usual(text: str) -> str:
    """Compatible characters as their usual ones: full-width digits, ligatures, the minus sign."""
    return unicodedata.normalize("NFKC", text).replace("\N{MINUS SIGN}", "-")
