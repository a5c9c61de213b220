"""Calls answered from recordings: exactly, by what a file holds, by what is nearest, or not at all."""

import hashlib
import json

import pytest

from tracer1.errors import ConfigError, DataError
from tracer1.toolbox.replay import Asked, Recorded, Recording
from tracer1.toolbox.spec import boxes, path, text, tool
from tracer1.toolbox.toolbox import Toolbox

LOOKED = [
    ("toy_look", {"question": "How many dogs?", "image_path": "data/set/a.png"}, "Two dogs."),
    ("toy_look", {"question": "How many dogs?", "image_path": "data/set/b.png"}, "One dog."),
    ("toy_look", {"question": "What colour is the sky?", "image_path": "data/set/a.png"}, "Blue."),
    ("toy_look", {"question": "How many dogs?", "image_path": "data/set/a.png"}, "Said later."),
]


def look(recorded, question, image="a.png", files=(), sources=()):
    box = Toolbox(["toy_look", "toy_add"], replay=recorded)
    with box.desk(files=files, sources=sources) as desk:
        return box.call(desk, "toy_look", {"question": question, "image_path": image})


def test_a_recorded_call_is_answered_without_its_file(counting):
    result = look(Recorded.of(LOOKED), "How many dogs?", "/mnt/other/a.png")
    assert (result.value, result.cached, result.more) == ("Two dogs.", True, {"replayed": 1.0})
    assert look(Recorded.of(LOOKED), "How many dogs?", "b.png").value == "One dog."


def test_what_was_not_recorded_is_unavailable(counting):
    result = look(Recorded.of(LOOKED), "How many cats?")
    assert result.kind == "unavailable"
    assert "not recorded" in result.error


def test_or_is_executed(counting):
    result = look(Recorded.of(LOOKED, miss="live"), "How many cats?", "gone.png")
    assert result.kind == "no_file"


def test_or_is_answered_by_the_nearest_on_the_same_file(counting):
    recorded = Recorded.of(LOOKED, miss="nearest")
    result = look(recorded, "how many dogs are there?")
    assert result.value == "Two dogs."
    assert 0.6 <= result.more["replayed"] < 1
    assert look(recorded, "What colour has the sky?", "a.png").value == "Blue."
    assert (
        look(recorded, "What colour has the sky?", "b.png").kind == "unavailable"
    )  # only another question was asked of b.png
    assert look(recorded, "how many dogs are there?", "c.png").kind == "unavailable"
    assert look(recorded, "zzz").kind == "unavailable"


def test_how_alike_is_alike_enough_can_be_said(counting):
    assert look(Recorded.of(LOOKED, miss="nearest", alike=0.95), "how many dogs are there?").kind == "unavailable"
    assert look(Recorded.of(LOOKED, miss="nearest", alike=0.0), "zzz").ok


def test_a_tool_that_needs_no_backend_is_executed(counting):
    box = Toolbox(["toy_add"], replay=Recorded.of([("toy_add", {"a": 1, "b": 1}, 5)]))
    with box.desk() as desk:
        assert box.call(desk, "toy_add", {"a": 1, "b": 1}).value == 2


def test_unless_it_is_named(counting):
    box = Toolbox(["toy_add"], replay=Recorded.of([("toy_add", {"b": 1, "a": 1}, 5)], tools=["toy_add"]))
    with box.desk() as desk:
        assert box.call(desk, "toy_add", {"a": 1, "b": 1}).value == 5


def test_a_wrong_call_is_wrong_even_if_it_was_recorded(counting):
    recorded = Recorded.of([("toy_look", {"question": "?"}, "an error")])
    box = Toolbox(["toy_look"], replay=recorded)
    with box.desk() as desk:
        assert box.call(desk, "toy_look", {"question": "?"}).kind == "bad_arguments"


def test_a_file_with_another_content_is_another_file(counting, tmp_path):
    (tmp_path / "a.png").write_bytes(b"another picture")
    digests = {"image_path": hashlib.sha256(b"the picture").hexdigest()}
    arguments = {"question": "?", "image_path": "a.png"}
    recorded = Recorded([Recording("toy_look", arguments, "seen", files=digests)])
    assert look(recorded, "?", files=["a.png"], sources=[tmp_path]).kind == "unavailable"
    assert look(recorded, "?").ok  # without the file there is only its name
    (tmp_path / "a.png").unlink()
    (tmp_path / "a.png").write_bytes(b"the picture")
    assert look(recorded, "?", files=["a.png"], sources=[tmp_path]).value == "seen"


def test_an_answer_of_another_version_is_none(counting):
    arguments = {"question": "?", "image_path": "a.png"}
    assert look(Recorded([Recording("toy_look", arguments, "old", version=7)]), "?").kind == "unavailable"
    assert look(Recorded([Recording("toy_look", arguments, "new", version=1)]), "?").value == "new"


def test_a_file_of_recordings_is_read(counting, tmp_path):
    lines = [{"tool": name, "arguments": arguments, "observation": said} for name, arguments, said in LOOKED]
    path = tmp_path / "recorded.jsonl"
    path.write_text("\n\n".join(map(json.dumps, lines)))
    assert look(Recorded.from_file(path), "How many dogs?").value == "Two dogs."


DAMAGED = [
    "{",
    "[]",
    '{"tool": "a"}',
    '{"tool": 1, "arguments": {}, "observation": 1}',
    '{"tool": "a", "arguments": 1, "observation": 1}',
    '{"tool": "a", "arguments": {}, "observation": 1, "more": 2}',
]


@pytest.mark.parametrize("line", DAMAGED)
def test_a_damaged_line_is_named(tmp_path, line):
    path = tmp_path / "recorded.jsonl"
    path.write_text('{"tool": "a", "arguments": {}, "observation": 1}\n' + line)
    with pytest.raises(DataError, match="line 2"):
        Recorded.from_file(path)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(DataError, match=r"gone\.jsonl"):
        Recorded.from_file(tmp_path / "gone.jsonl")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="binary"):
        Recorded.from_file(tmp_path / "binary")


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(ConfigError, match="Did you mean 'nearest'"):
        Recorded([], miss="nearst")
    with pytest.raises(ConfigError, match="from 0 to 1"):
        Recorded([], alike=60)


@tool(
    "Compares",
    {"question": text("what"), "images": {"type": "array", "items": path("an image")}, "where": boxes("boxes", True)},
    "",
)
def several(desk, **arguments): ...


def test_lists_of_files_count_by_their_names(counting):
    recorded = Recorded.of([("several", {"question": "?", "images": ["x/a.png", "y/b.png"]}, 1)])
    assert recorded.find("several", several, {"question": "?", "images": ["a.png", "b.png"], "where": None}, {})
    assert not recorded.find("several", several, {"question": "?", "images": ["b.png", "a.png"]}, {})


def test_likeness_leaves_files_out():
    asked = Asked(several, {"question": "ab", "images": ["a.png"]})
    assert asked.likeness({"question": "AB", "images": ["b.png"]}) == 1.0
    assert asked.likeness({"question": "cd", "images": ["a.png"]}) == 0.0
    assert Asked(several, {}).likeness({}) == 1.0
    assert Asked(several, {}).likeness({"question": "ab"}) == 0.0


def test_of_many_recordings_those_that_share_words_are_compared(counting, monkeypatch):
    monkeypatch.setattr("tracer1.toolbox.replay._COMPARED", 5)
    said = [("toy_look", {"question": f"what is in row {n}?", "image_path": "a.png"}, n) for n in range(300)]
    result = look(Recorded.of(said, miss="nearest"), "What is there in row 217?")
    assert result.value == 217


def test_of_equally_near_recordings_the_first_answers(counting):
    said = [("toy_look", {"question": f"How many dogs, {end}", "image_path": "a.png"}, end) for end in "xyz"]
    assert look(Recorded.of(said, miss="nearest"), "How many dogs, ").value == "x"
