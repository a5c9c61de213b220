"""AndroidControl: files, splits and damage; and the real episodes, written as a shard and read back."""

import gzip
import json
import random
import tracemalloc
from pathlib import Path

import pytest
from raw_android import (
    convert,
    episode,
    example,
    forest,
    framed,
    node,
    screen,
    window,
    write_release,
    write_shard,
)

from tracer1.data.converters import CONVERTERS
from tracer1.errors import DataError
from tracer1.interfaces import Converted
from tracer1.schema import DONE

SAMPLES = Path(__file__).resolve().parents[4] / "shared" / "data" / "android_control"
real = pytest.mark.skipif(not SAMPLES.exists(), reason=f"needs the real records in {SAMPLES}")

CLICK = {"action_type": "click", "x": 27, "y": 30}
WAIT = {"action_type": "wait"}


def test_the_owners_splits(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    episodes = [episode([CLICK], number=number) for number in (1, 2, 3, 4)]
    source = write_release(tmp_path / "raw", episodes, {"train": [1], "validation": [2], "test": [3]})
    found = convert(source)
    assert [converted.task.split for converted in found] == ["train", "validation", "test", None]
    assert not caplog.records
    (source / "splits.json").unlink()
    assert {converted.task.split for converted in convert(source)} == {None}
    assert f"{source / 'splits.json'} is missing, so no episode has a split" in caplog.text


@pytest.mark.parametrize("text", ["{", "[1]", '{"train": 1}'])
def test_damaged_splits(tmp_path: Path, text: str):
    source = write_release(tmp_path / "raw", [episode([CLICK])])
    (source / "splits.json").write_text(text)
    with pytest.raises(DataError, match=r"splits\.json cannot be read"):
        convert(source)


def test_units_are_shards_and_missing_ones_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    for name in (
        "android_control-00002-of-00004",
        "android_control-00000-of-00004",
        "android_control-00001-of-00004.gstmp",
    ):
        write_shard(tmp_path / name, [example(episode([CLICK]))])
    (tmp_path / "splits.json").write_text('{"train": [7]}')
    units = CONVERTERS.get("android_control").units(tmp_path)
    assert [unit.name for unit in units] == ["android_control-00000-of-00004", "android_control-00002-of-00004"]
    assert "holds 2 of 4 shards; missing: 00001, 00003." in caplog.text
    [unit] = CONVERTERS.get("android_control").units(tmp_path / units[1].name)
    assert unit == units[1]


@pytest.mark.parametrize("name", ["", "absent"])
def test_no_shard(tmp_path: Path, name: str):
    with pytest.raises(DataError, match="holds no AndroidControl shard"):
        CONVERTERS.get("android_control").units(tmp_path / name)


def test_whole_records_of_another_kind(tmp_path: Path):
    records = [example(episode([CLICK])), b"\xff\xff\xff\xff"]
    path = write_shard(tmp_path / "shard", records)
    found = CONVERTERS.get("android_control").read(CONVERTERS.get("android_control").units(path)[0])
    assert next(found).task.trajectory == "7"
    place = 16 + len(records[0])
    with pytest.raises(DataError, match=rf"shard: the record at byte {place} of .* is no tf\.train\.Example"):
        next(found)


def test_no_damage_gives_a_wrong_step(tmp_path: Path):
    whole = write_release(tmp_path / "raw", [episode([CLICK, WAIT], number=n) for n in range(3)], {"train": [0, 1, 2]})
    path = whole / "android_control-00000-of-00001"
    expected, content = convert(whole), path.read_bytes()
    draw = random.Random(4)
    damages = [content[:length] for length in sorted(draw.sample(range(len(content)), 60))]
    for bit in draw.sample(range(8 * len(content)), 240):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        damages.append(bytes(flipped))
    errors = []
    for damaged in damages:
        path.write_bytes(damaged)
        found, error = until_damage(whole)
        assert found == expected[: len(found)]
        assert error or len(found) == 3
        errors += [error] if error else []
    assert len(errors) >= 290  # few bits of the gzip header say nothing about the data
    assert all(error.startswith(f"{path} is cut off or damaged at byte ") for error in errors)


def until_damage(source: Path) -> tuple[list[Converted], str]:
    converter = CONVERTERS.get("android_control")
    found: list[Converted] = []
    try:
        for converted in converter.read(converter.units(source)[0]):
            found.append(converted)
    except DataError as error:
        return found, str(error)
    return found, ""


def test_memory_stays_flat(tmp_path: Path):
    """Sixty episodes of incompressible pictures: 60 MB go by, a few of them are in memory."""
    noise = [screen() + random.Random(n).randbytes(500_000) for n in range(2)]
    records = [example(episode([CLICK], number=n, screenshots=noise)) for n in range(60)]
    path = tmp_path / "shard"
    path.write_bytes(gzip.compress(framed_fast(records), 1))
    size = len(records[0])
    del records
    converter = CONVERTERS.get("android_control")
    [unit] = converter.units(path)
    tracemalloc.start()
    assert sum(len(converted.steps) for converted in converter.read(unit)) == 60
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * size


def framed_fast(records: list[bytes]) -> bytes:
    """As `framed`, with the reader's own checksums: the hand-written ones take a second a megabyte."""
    from tracer1.data.converters._tfrecord import masked_crc32c

    def checked(part: bytes) -> bytes:
        return part + masked_crc32c(part).to_bytes(4, "little")

    assert b"".join(checked(part) for part in (len(b"abc").to_bytes(8, "little"), b"abc")) == framed([b"abc"])
    return b"".join(checked(len(r).to_bytes(8, "little")) + checked(r) for r in records)


def real_episode(record: dict) -> dict:
    """The features of a real episode; pictures of its sizes are drawn, and its list of elements becomes one window."""
    sizes = list(zip(record["screenshot_widths"], record["screenshot_heights"], strict=True))
    trees = []
    for elements in record["accessibility_trees"]:
        boxes = [element["bbox_pixels"] for element in elements]
        nodes = [
            node(
                (box["x_min"], box["y_min"], box["x_max"], box["y_max"]),
                element["text"] or "",
                element["content_description"] or "",
                visible=element["is_visible"],
                clickable=element["is_clickable"],
            )
            for element, box in zip(elements, boxes, strict=True)
        ]
        trees.append(forest(window(*nodes)))
    return {
        "episode_id": [record["episode_id"]],
        "goal": [record["goal"].encode()],
        "screenshots": [screen(size, t) for t, size in enumerate(sizes)],
        "accessibility_trees": trees,
        "screenshot_widths": record["screenshot_widths"],
        "screenshot_heights": record["screenshot_heights"],
        "actions": [json.dumps(action).encode() for action in record["actions"]],
        "step_instructions": [text.encode() for text in record["step_instructions"]],
    }


@real
def test_the_real_episodes_read_back_identically(tmp_path: Path):
    records = json.loads((SAMPLES / "adp_sample_raw_episodes.json").read_text())
    splits = json.loads((SAMPLES / "splits.json").read_text())
    raw = [real_episode(record) for record in records]
    found = convert(write_release(tmp_path / "raw", raw, splits))
    assert [converted.task.trajectory for converted in found] == ["0", "20", "40"]
    assert {converted.task.split for converted in found} == {"train"}
    assert [converted.notes for converted in found] == [()] * 3
    for record, features, converted in zip(records, raw, found, strict=True):
        assert [step.screenshot for step in converted.steps] == features["screenshots"][:-1]
        assert {step.instruction for step in converted.steps} == {record["goal"].strip()}
        said = [step.future[0].action.step_instruction for step in converted.steps]
        assert said == [text.strip() for text in record["step_instructions"]]
        assert [back(step) for step in converted.steps] == record["actions"]
        assert [step.future[0].status for step in converted.steps][-1] == DONE


def back(step) -> dict:
    """The source's action out of ours."""
    action = step.future[0].action
    kinds = {"press_back": "navigate_back", "type": "input_text"}
    raw = {"action_type": kinds.get(action.action_type, action.action_type)}
    if action.action_type == "click":
        raw |= {"x": round(action.point[0] * 1.08), "y": round(action.point[1] * 2.4)}
    named = {"direction": action.direction, "app_name": action.app_name, "text": action.content}
    return raw | {name: value for name, value in named.items() if value is not None}


@real
def test_boxes_and_abstractions_of_real_screens(tmp_path: Path):
    records = json.loads((SAMPLES / "adp_sample_raw_episodes.json").read_text())
    found = convert(write_release(tmp_path / "raw", [real_episode(record) for record in records]))
    past = found[0].steps[2]
    assert past.boxes[0] == pytest.approx((494 / 1.08, 365 / 2.4, 586 / 1.08, 416 / 2.4))  # the tab's label
    assert past.meta["candidate_boxes"][1] == pytest.approx([360 / 1.08, 317 / 2.4, 720 / 1.08, 464 / 2.4])  # the tab
    clicks = [step for converted in found for step in converted.steps if step.future[0].action.action_type == "click"]
    assert [len(step.boxes) for step in clicks] == [1, 1, 1]
    assert past.future[0].screenshot_abstraction.startswith("8:41, Battery charging, 100 percent.")
    assert all(len(step.future[0].screenshot_abstraction) <= 160 for converted in found for step in converted.steps)


@real
def test_every_official_id_has_its_split():
    from tracer1.data.converters._splits import read_splits

    splits = read_splits(SAMPLES / "splits.json")
    counts = {name: list(splits.values()).count(name) for name in ("train", "validation", "test")}
    assert counts == {"train": 13_603, "validation": 137, "test": 1_543}
    subsplits = json.loads((SAMPLES / "test_subsplits.json").read_text())
    assert {splits[str(number)] for numbers in subsplits.values() for number in numbers} == {"test"}
