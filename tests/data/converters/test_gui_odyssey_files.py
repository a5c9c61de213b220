"""GUI-Odyssey: a release's folder, its splits and what is missing in it; and the real episodes."""

import json
import zipfile
from pathlib import Path

import pytest
from raw_android import reasons, screen
from raw_odyssey import COMPLETE, SWIPE, TAP, annotation, convert, write_release

from tracer1.data.converters import CONVERTERS
from tracer1.data.shards import read_steps, write_shards
from tracer1.errors import DataError
from tracer1.schema import Action

SAMPLES = Path(__file__).resolve().parents[4] / "shared" / "data" / "gui_odyssey"
real = pytest.mark.skipif(not SAMPLES.exists(), reason=f"needs the real records in {SAMPLES}")

ID = "0012345678901234"


def test_a_missing_screenshot_ends_the_trajectory(tmp_path: Path):
    source = write_release(tmp_path / "raw", [annotation([TAP, SWIPE, COMPLETE])])
    (source / "screenshots" / f"{ID}_1.png").unlink()
    [converted] = convert(source)
    assert reasons(converted) == [("cut", f"{ID}/1", "screenshot missing")]
    (source / "screenshots" / f"{ID}_0.png").write_bytes(b"")
    [converted] = convert(source)
    assert reasons(converted) == [("dropped", ID, "screenshot does not decode")]


def test_pictures_in_the_folders_of_version_1(tmp_path: Path):
    source = write_release(tmp_path / "raw", [annotation([TAP, COMPLETE])], part="data_3")
    (source / "screenshots" / "data_0").mkdir()
    assert [step.screenshot for step in convert(source)[0].steps] == [screen(mark=0), screen(mark=1)]


def test_a_picture_is_looked_for_in_the_folder_only(tmp_path: Path):
    source = write_release(tmp_path / "raw", [annotation([TAP])])
    (tmp_path / "outside.png").write_bytes(screen())
    path = source / "annotations" / f"{ID}.json"
    path.write_text(path.read_text().replace(f"{ID}_0.png", "../../outside.png"))
    assert reasons(convert(source)[0]) == [("dropped", ID, "screenshot missing")]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"task_info": {}}', '{"steps": []}', '{"steps": {}, "task_info": {}}', "\xff"]
)
def test_an_annotation_that_cannot_be_read_is_reported_and_the_next_is_read(tmp_path: Path, text: str):
    source = write_release(tmp_path / "raw", [annotation([TAP], "2")])
    (source / "annotations" / "1.json").write_bytes(text.encode("latin-1"))
    first, second = convert(source)
    assert reasons(first) == [("dropped", "1", "annotation unreadable")]
    assert str(source / "annotations" / "1.json") in first.notes[0].detail
    assert len(second.steps) == 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"instruction": None}, "no instruction"),
        ({"instruction": 7}, "no instruction"),
        ({"steps": [], "step_length": 0}, "no steps"),
    ],
)
def test_an_annotation_without_the_needful_is_dropped(tmp_path: Path, changes, reason: str):
    whole = [annotation([TAP], **changes), annotation([TAP], "9")]
    first, _ = convert(write_release(tmp_path, whole, {"train": [ID, "9"]}))
    assert reasons(first) == [("dropped", ID, reason)]


def test_an_id_that_is_not_the_files_name(tmp_path: Path):
    source = write_release(tmp_path / "raw", [annotation([TAP])], {"test": ["5"]})
    (source / "annotations" / f"{ID}.json").rename(source / "annotations" / "5.json")
    [converted] = convert(source)
    assert (converted.task.trajectory, converted.task.split) == ("5", "test")
    assert reasons(converted) == [("repaired", "5", "id taken from the file's name")]


def test_splits(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    names = ["1", "2", "3"]
    source = write_release(
        tmp_path / "raw", [annotation([TAP], name) for name in names], {"train": ["1.json"], "test": ["2"]}
    )
    assert [converted.task.split for converted in convert(source)] == ["train", "test", None]
    device = source / "splits" / "device_split.json"
    device.write_text(json.dumps({"train": ["3.json", "2.json"], "test": ["1.json"]}))
    assert [converted.task.split for converted in convert(device)] == ["test", "train", "train"]
    assert not caplog.records
    (source / "splits" / "random_split.json").unlink()
    assert {converted.task.split for converted in convert(source)} == {None}
    assert "random_split.json is missing, so no episode has a split" in caplog.text
    with pytest.raises(DataError, match=r"app_split\.json does not exist\. Choose one of random, task, device and app"):
        convert(source / "splits" / "app_split.json")
    device.write_text("[]")
    with pytest.raises(DataError, match=r"device_split\.json cannot be read"):
        convert(device)


def test_units_are_ranges_in_the_order_of_names(tmp_path: Path):
    source = write_release(tmp_path, [annotation([TAP], f"{number:03d}") for number in range(120)])
    (source / "annotations" / "._000.json").write_text("what macOS leaves behind")
    converter = CONVERTERS.get("gui_odyssey")
    units = converter.units(source)
    assert [(unit.name, unit.start, unit.end) for unit in units] == [
        ("annotations-000000", 0, 50),
        ("annotations-000050", 50, 100),
        ("annotations-000100", 100, 120),
    ]
    assert json.loads(json.dumps(dict(units[0].more))) == units[0].more
    found = [converted.task.trajectory for unit in units for converted in converter.read(unit)]
    assert found == [f"{number:03d}" for number in range(120)]


def test_a_folder_that_is_no_release(tmp_path: Path):
    converter = CONVERTERS.get("gui_odyssey")
    with pytest.raises(DataError, match="holds no annotation"):
        converter.units(tmp_path)
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "1.json").write_text("{}")
    with pytest.raises(DataError, match="screenshots are missing"):
        converter.units(tmp_path)
    (tmp_path / "screenshots").mkdir()
    with pytest.raises(DataError, match="neither screenshots nor a zip archive"):
        converter.units(tmp_path)


def test_screenshots_in_an_archive(tmp_path: Path):
    source = write_release(tmp_path / "raw", [annotation([TAP, COMPLETE])])
    pictures = sorted((source / "screenshots").iterdir())
    with zipfile.ZipFile(source / "screenshots" / "whole.zip", "w") as archive:
        for path in pictures:
            archive.write(path, f"screenshots/{path.name}")
            path.unlink()
    assert [step.screenshot for step in convert(source)[0].steps] == [screen(mark=0), screen(mark=1)]


def test_screenshots_in_the_parts_of_an_archive(tmp_path: Path):
    source = write_release(tmp_path / "raw", [annotation([])])
    end = b"PK\x05\x06" + (8).to_bytes(2, "little") + bytes(16)  # the ninth disk
    (source / "screenshots" / "screenshots.zip").write_bytes(end)
    (source / "screenshots" / "screenshots.z01").touch()
    with pytest.raises(
        DataError, match=r"split over several files, which Python cannot read\. Join them with `zip -s 0 "
    ):
        convert(source)


def test_an_annotation_that_has_gone(tmp_path: Path):
    source = write_release(tmp_path, [annotation([TAP])])
    converter = CONVERTERS.get("gui_odyssey")
    units = converter.units(source)
    (source / "annotations" / f"{ID}.json").unlink()
    with pytest.raises(DataError, match=rf"{ID}\.json cannot be read \(No such file"):
        list(converter.read(units[0]))


@real
def test_the_real_episode_converts_as_it_stands(tmp_path: Path):
    raw = json.loads((SAMPLES / "5342205429089853.transcribed.json").read_text())
    [converted] = convert(write_release(tmp_path, [raw], {"train": ["5342205429089853.json"]}))
    assert converted.notes == ()
    actions = [step.future[0].action for step in converted.steps]
    kinds = ["click"] * 4 + ["type"] + ["click"] * 3 + ["press_home", "click", "finished"]
    assert [action.action_type for action in actions] == kinds
    for step, action in zip(raw["steps"], actions, strict=True):
        if action.action_type == "click":
            assert list(action.point) == step["info"][0]
    assert actions[4].content == "Todoist"
    assert converted.steps[0].instruction == raw["task_info"]["instruction"]
    [path] = write_shards([converted.steps], tmp_path, split="train", prefix="x")
    assert list(read_steps([str(path)], history=None, horizon=None)) == list(converted.steps)


@real
def test_the_real_excerpt_is_reported(tmp_path: Path):
    raw = json.loads((SAMPLES / "6565803623678743.step0.excerpt.json").read_text())
    [converted] = convert(write_release(tmp_path, [raw], {"train": ["6565803623678743"]}))
    assert reasons(converted) == [("dropped", "6565803623678743", "no instruction")]  # its goal was left out
    raw["task_info"]["instruction"] = "Search in Chrome, then share it on X."
    [converted] = convert(write_release(tmp_path, [raw], {"train": ["6565803623678743"]}))
    assert reasons(converted) == [("cut", "6565803623678743/1", "a step is missing")]  # one of twelve is there
    assert converted.steps[0].future[0].action == Action("click", "Open the Chrome browser.", point=(374.0, 621.0))
