"""A JSON array read by its elements, with the bytes of each."""

import json
import tracemalloc
from pathlib import Path

import pytest

from tracer1.data.converters import _json_spans
from tracer1.data.converters._json_spans import json_spans
from tracer1.errors import DataError

ELEMENTS = [
    {"a": [1, 2.5, -3e2, None, True, False], "b": {"c": "]}, [{"}},
    "é 😀 \u2028 \\ \" '",
    [],
    {},
    12345678901234567890,
    1.25,
    None,
    {"long": "x" * 500, "deep": [[[["y"]]]]},
]


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 64, 4_000_000])
@pytest.mark.parametrize("style", [{}, {"indent": 2}, {"ensure_ascii": False}, {"separators": (",", ":")}])
def test_elements_and_their_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int, style: dict):
    monkeypatch.setattr(_json_spans, "CHUNK", chunk)
    path = tmp_path / "a.json"
    path.write_text(f" \n{json.dumps(ELEMENTS, **style)}\n ", encoding="utf-8")
    found = list(json_spans(path))
    assert [element for element, _, _ in found] == ELEMENTS
    data = path.read_bytes()
    assert [json.loads(data[start:end]) for _, start, end in found] == ELEMENTS


@pytest.mark.parametrize("text", ["[]", " [ ] \n"])
def test_an_empty_array(tmp_path: Path, text: str):
    (tmp_path / "a.json").write_text(text)
    assert list(json_spans(tmp_path / "a.json")) == []


@pytest.mark.parametrize(
    ("data", "byte"),
    [
        (b"", 0),
        (b"{}", 0),
        (b"[1, 2", 5),
        (b"[1, 2,", 6),
        (b"[1, 2,]", 6),
        (b"[1 2]", 3),
        (b'[1, {"a": "cut', 4),
        (b'[1, {"a": tru', 4),
        (b'[1, {"a" 3}, 4]', 4),
        (b"[1] 2", 4),
        ('["é", x]'.encode(), 7),
        (b"[" * 100_000, 1),
    ],
)
@pytest.mark.parametrize("chunk", [2, 4_000_000])
def test_a_damaged_file_names_itself_and_the_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes, byte: int, chunk: int
):
    if len(data) < 1000:
        monkeypatch.setattr(_json_spans, "CHUNK", chunk)
    path = tmp_path / "a.json"
    path.write_bytes(data)
    with pytest.raises(DataError, match=rf"a\.json: .* at byte {byte} "):
        list(json_spans(path))


def test_bytes_that_are_no_utf_8_and_a_missing_file_are_data_errors(tmp_path: Path):
    (tmp_path / "a.json").write_bytes(b'["ab", "\xc3\xa9\xff"]')
    with pytest.raises(DataError, match=r"a.json: .* at byte 10 \(no UTF-8"):
        list(json_spans(tmp_path / "a.json"))
    with pytest.raises(DataError, match=r"b.json cannot be read"):
        list(json_spans(tmp_path / "b.json"))


def test_an_element_without_an_end_is_not_read_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_json_spans, "CHUNK", 1000)
    monkeypatch.setattr(_json_spans, "LONGEST", 10_000)
    (tmp_path / "a.json").write_text('["' + "x" * 1_000_000)
    tracemalloc.start()
    with pytest.raises(DataError, match="at byte 1 "):
        list(json_spans(tmp_path / "a.json"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 300_000


def test_memory_does_not_grow_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_json_spans, "CHUNK", 10_000)
    path = tmp_path / "a.json"
    path.write_text(json.dumps([{"text": "x" * 1000, "number": i} for i in range(5_000)]))
    tracemalloc.start()
    assert sum(1 for _ in json_spans(path)) == 5_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200_000 < path.stat().st_size / 20
