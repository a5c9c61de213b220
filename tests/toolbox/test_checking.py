"""Whether a call fits its tool, and what is read leniently."""

import math

import pytest

from tracer1.toolbox.checking import Checker, arguments_schema
from tracer1.toolbox.spec import ToolError, anything, boolean, box, boxes, integer, number, path, text, tool

KINDS = {
    "word": text("a text", True),
    "file": path("a file", True),
    "count": integer("a whole number", True),
    "size": number("a number", True),
    "flag": boolean("yes or no", True),
    "place": box("a box", True),
    "places": boxes("boxes", True),
    "any": anything("anything", True),
}


@tool("Takes everything", KINDS, returns="nothing")
def everything(desk, **arguments):
    return arguments


@tool("Needs one", {"needed": text("what is needed"), "more": text("what is not", True)}, returns="nothing")
def needing(desk, needed, more=""):
    return needed


CHECKER = Checker({"take_everything": everything, "needing": needing})


def fits(**arguments):
    return CHECKER.arguments("take_everything", arguments)


@pytest.mark.parametrize(
    ("name", "given", "read"),
    [
        ("count", "3", 3),
        ("count", " -12 ", -12),
        ("count", 3.0, 3),
        ("count", "0", 0),
        ("size", "0.5", 0.5),
        ("size", "3", 3),
        ("size", "1e3", 1000.0),
        ("flag", "true", True),
        ("word", 5, "5"),
        ("word", 0.1, "0.1"),
        ("word", "5", "5"),
        ("place", "[1, 2, 3, 4.5]", [1, 2, 3, 4.5]),
        ("place", (1, 2, 3, 4), [1, 2, 3, 4]),
        ("place", ["1", 2, 3, 4], [1, 2, 3, 4]),
        ("places", [(1, 2, 3, 4)], [[1, 2, 3, 4]]),
        ("places", "[[1, 2, 3, 4]]", [[1, 2, 3, 4]]),
        ("any", {"a": [1]}, {"a": [1]}),
    ],
)
def test_what_loses_nothing_is_read(name, given, read):
    found = fits(**{name: given})[name]
    assert found == read
    assert type(found) is type(read)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("count", "3.5"),
        ("count", 3.5),
        ("count", "three"),
        ("count", "1e3"),
        ("count", "03"),
        ("count", True),
        ("count", "true"),
        ("count", [3]),
        ("count", math.inf),
        ("size", True),
        ("size", math.nan),
        ("size", "NaN"),
        ("size", "Infinity"),
        ("size", "1e999"),
        ("flag", 1),
        ("flag", "yes"),
        ("word", True),
        ("word", ["a"]),
        ("word", {"a": 1}),
        ("file", ""),
        ("file", ["a.png"]),
        ("place", [1, 2, 3]),
        ("place", [1, 2, 3, 4, 5]),
        ("place", [1, 2, 3, True]),
        ("place", "(1, 2, 3, 4)"),
        ("places", [1, 2, 3, 4]),
        ("any", {1, 2}),
        ("any", object()),
        ("any", math.nan),
    ],
)
def test_what_does_not_fit_is_refused(name, given):
    with pytest.raises(ToolError) as raised:
        fits(**{name: given})
    assert raised.value.kind == "bad_arguments"
    assert "take_everything" in str(raised.value)
    assert len(str(raised.value)) < 700


def test_a_null_for_an_optional_argument_is_left_out_unless_the_schema_has_it():
    assert fits(word=None, places=None) == {"places": None}
    with pytest.raises(ToolError, match="does not fit"):
        CHECKER.arguments("needing", {"needed": None})


def test_arguments_come_in_the_order_of_the_parameters():
    assert list(fits(size=1, word="a", count=2)) == ["word", "count", "size"]


def test_names_are_read_but_for_case_and_hyphens():
    assert CHECKER.name("Take-Everything") == "take_everything"
    assert CHECKER.name(" takeeverything ") == "take_everything"
    assert CHECKER.arguments("needing", {"NEEDED": "a"}) == {"needed": "a"}


def test_a_name_that_is_written_exactly_goes_first():
    checker = Checker({"OCR": needing, "ocr": everything})
    assert (checker.name("OCR"), checker.name("ocr")) == ("OCR", "ocr")
    with pytest.raises(ToolError, match="No tool 'Ocr'"):
        checker.name("Ocr")


def test_an_argument_given_twice_is_refused():
    with pytest.raises(ToolError, match="given twice"):
        CHECKER.arguments("needing", {"needed": "a", "Needed": "b"})


def test_too_much_is_refused_and_not_quoted():
    with pytest.raises(ToolError, match="at most 1,000,000"):
        fits(word="x" * 1_000_001)
    with pytest.raises(ToolError) as raised:
        fits(count="x" * 100_000)
    assert len(str(raised.value)) < 700


def test_what_is_nested_too_deeply_is_refused():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(ToolError) as raised:
        fits(any=deep)
    assert raised.value.kind == "bad_arguments"
    with pytest.raises(ToolError):
        fits(place="[" * 100_000)


def test_half_a_surrogate_pair_is_a_text():
    assert fits(word="\ud800") == {"word": "\ud800"}


def test_no_arguments_may_be_none_at_all():
    assert CHECKER.arguments("take_everything", None) == {}


def test_the_schema_holds_nothing_that_only_we_understand():
    schema = arguments_schema(everything)
    assert schema["required"] == []
    assert all("optional" not in part and part.get("format") != "path" for part in schema["properties"].values())
