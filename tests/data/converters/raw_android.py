"""AndroidControl's raw format by hand: protobuf on the wire, TFRecord framing, gzip. No writer here shares code with the reader."""

import gzip
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from tracer1.data.converters import CONVERTERS
from tracer1.interfaces import Converted

APPLICATION, KEYBOARD, SYSTEM = 1, 2, 3

_TABLE = []
for _byte in range(256):
    for _ in range(8):
        _byte = _byte >> 1 ^ (0x82F63B78 if _byte & 1 else 0)
    _TABLE.append(_byte)


def crc32c(data: bytes) -> int:
    """RFC 3720, one byte after another."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def _masked(data: bytes) -> bytes:
    crc = crc32c(data)
    return (((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF).to_bytes(4, "little")


def framed(records: Iterable[bytes]) -> bytes:
    """The uncompressed stream of a TFRecord file."""
    stream = b""
    for record in records:
        length = len(record).to_bytes(8, "little")
        stream += length + _masked(length) + record + _masked(record)
    return stream


def write_shard(path: Path, records: Iterable[bytes]) -> Path:
    path.write_bytes(gzip.compress(framed(records), 6, mtime=0))
    return path


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1  # a negative one takes ten bytes
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def _field(number: int, value: bytes | str | int) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value) if value else b""  # proto3 leaves out zeros
    value = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def example(features: Mapping[str, Sequence[bytes] | Sequence[int]]) -> bytes:
    """A serialised tf.train.Example."""
    entries = b""
    for name, values in features.items():
        if values and isinstance(values[0], int):
            feature = _field(3, _field(1, b"".join(map(_varint, values))))
        else:
            feature = _field(1, b"".join(_field(1, value) for value in values))
        entries += _field(1, _field(1, name) + _field(2, feature))
    return _field(1, entries)


def node(box: Sequence[int], text: str | bytes = "", description: str = "", **flags: bool) -> bytes:
    """An AndroidAccessibilityNodeInfo. `flags`: visible (True), password, clickable."""
    rect = b"".join(_field(i + 1, value) for i, value in enumerate(box))
    return (
        _field(1, 7)
        + _field(2, rect)
        + _field(3, "android.widget.TextView")
        + (_field(4, description) if description else b"")
        + (_field(7, text) if text else b"")
        + _field(14, int(flags.get("clickable", False)))
        + _field(20, int(flags.get("password", False)))
        + _field(23, int(flags.get("visible", True)))
        + _field(25, _varint(8) + _varint(9))  # child_ids: a field that the reader leaves out
    )


def window(*nodes: bytes, kind: int = APPLICATION, title: str = "", active: bool = False) -> bytes:
    tree = b"".join(_field(1, item) for item in nodes)
    return _field(4, 3) + (_field(5, title) if title else b"") + _field(6, kind) + _field(8, active) + _field(11, tree)


def forest(*windows: bytes) -> bytes:
    return b"".join(_field(1, item) for item in windows)


def screen(size: tuple[int, int] = (108, 240), mark: int = 0) -> bytes:
    """PNG bytes of a screen whose square stands elsewhere for each mark."""
    image = Image.new("RGB", size, "white")
    left = 5 * mark % (size[0] - 10)
    ImageDraw.Draw(image).rectangle((left, 10, left + 9, 19), fill=(200, 40 * mark % 255, 0))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


SIMPLE = forest(
    window(node((10, 20, 60, 40), "Save", clickable=True), node((0, 0, 108, 240)), title="Notes", active=True)
)


def episode(
    actions: Sequence[Mapping[str, Any]], /, *, number: int = 7, size: tuple[int, int] = (108, 240), **changes: Any
):
    """The features of an episode: as many screenshots as actions and one more. `changes` replace features; None removes one."""
    count = len(actions)
    features: dict[str, Any] = {
        "episode_id": [number],
        "goal": [b"Save the note , please ."],
        "screenshots": [screen(size, t) for t in range(count + 1)],
        "accessibility_trees": [SIMPLE] * (count + 1),
        "screenshot_widths": [size[0]] * (count + 1),
        "screenshot_heights": [size[1]] * (count + 1),
        "actions": [json.dumps(action).encode() for action in actions],
        "step_instructions": [f"do step {t}".encode() for t in range(count)],
    }
    return {name: value for name, value in (features | changes).items() if value is not None}


def write_release(
    folder: Path, episodes: Sequence[Mapping[str, Any]], splits: Mapping[str, list[int]] | None = None
) -> Path:
    """A release of one shard, and `splits.json` where it is given."""
    folder.mkdir(exist_ok=True)
    write_shard(folder / "android_control-00000-of-00001", map(example, episodes))
    if splits is not None:
        (folder / "splits.json").write_text(json.dumps(splits))
    return folder


def convert(source: Path) -> list[Converted]:
    converter = CONVERTERS.get("android_control")
    return [converted for unit in converter.units(source) for converted in converter.read(unit)]


def reasons(converted: Converted) -> list[tuple[str, str, str]]:
    return [(note.kind, note.record, note.reason) for note in converted.notes]
