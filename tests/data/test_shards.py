"""Shards survive a round trip, and whatever is broken in one is named in one line."""

import io
import json
import logging
import tarfile
from pathlib import Path

import pytest
from toy_steps import members, one_shard, picture, trajectory

from tracer1.data.shards import expand_urls, read_steps, read_trajectories, write_shards
from tracer1.errors import ConfigError, DataError


def rewrite(path: Path, files: dict[str, bytes | None]) -> Path:
    """The shard with some members replaced, added or, if None, left out."""
    with tarfile.open(path.with_name("broken.tar"), "w") as tar:
        for name, content in (members(path) | files).items():
            if content is not None:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return path.with_name("broken.tar")


def edited(path: Path, name: str, changes: dict) -> Path:
    record = json.loads(members(path)[f"{name}.json"])
    return rewrite(path, {f"{name}.json": json.dumps(record | changes).encode()})


def error_of(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        list(read_steps([str(path)]))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("compress", [False, True])
def test_steps_survive_the_round_trip(tmp_path, compress):
    given = [trajectory("a.b/c", 5), trajectory("d", 1, image="JPEG"), trajectory("e", 2, image=None)]
    paths = write_shards(given, tmp_path, split="train", prefix="toy", max_shard_mb=0.01, compress=compress)
    assert [path.name for path in paths] == [f"toy-train-{n:06d}.tar{'.gz' * compress}" for n in range(len(paths))]
    assert [steps for path in paths for steps in read_trajectories(str(path))] == given


def test_history_and_future_are_cut_when_reading(tmp_path):
    path = str(one_shard(tmp_path, trajectory("a", 8)))
    steps = list(read_steps([path], history=2, horizon=3))
    assert [plan_step.number for plan_step in steps[4].history] == [3, 4]
    assert [plan_step.number for plan_step in steps[4].future] == [5, 6, 7]  # numbered from t + 1
    assert [len(step.history) for step in steps] == [0, 1, 2, 2, 2, 2, 2, 2]
    assert [len(step.future) for step in steps] == [3, 3, 3, 3, 3, 3, 2, 1]
    assert [step.future[-1].status for step in steps] == ["not done"] * 5 + ["done"] * 3
    assert next(read_steps([path], history=0)).history == ()


def test_a_ctrl_c_is_not_lost_in_a_finalizer(tmp_path, monkeypatch):
    """Python swallows what is raised while it finalises a file that nobody has closed."""
    opened = []

    class Kept(tarfile.ExFileObject):
        def __init__(self, *of):
            super().__init__(*of)
            opened.append(self)

    path = one_shard(tmp_path, trajectory("a", 3))
    monkeypatch.setattr(tarfile.TarFile, "fileobject", Kept)
    assert len(list(read_steps([str(path)]))) == 3
    assert len(opened) == 6
    assert all(file.closed for file in opened)


def test_webdatasets_own_members_are_left_out(tmp_path):
    path = one_shard(tmp_path, trajectory("a", 2))
    more = rewrite(path, {"__index__": b"x", "__meta__/notes.json": b"x"})
    assert list(read_steps([str(more)])) == list(read_steps([str(path)]))


@pytest.mark.parametrize("compress", [False, True])
def test_a_cut_anywhere_is_named_with_the_last_whole_step(tmp_path, compress):
    path = one_shard(tmp_path, trajectory("a", 3), trajectory("b", 3), compress=compress)
    whole, keys = path.read_bytes(), [step.key for step in read_steps([str(path)])]
    with tarfile.open(path) as tar:
        ends = {info.name: info.offset_data + info.size for info in tar}
    end = len(whole) if compress else max(ends.values()) + 1024  # behind its end mark a tar is padded
    for cut in range(0, end, 11 if compress else 256):
        path.write_bytes(whole[:cut])
        message = error_of(path)
        assert str(path) in message
        assert "cut off" in message
        if not compress:  # a gzip this small is read at once
            read = [key for key in keys if ends[f"{key}.png"] <= cut]
            assert [key for key in keys if f"after step {key!r}" in message] == read[-1:]


def test_the_last_whole_step_before_a_cut(tmp_path):
    path = one_shard(tmp_path, trajectory("a", 4))
    with tarfile.open(path) as tar:
        third = tar.getmember("toy-a-002.png").offset_data
    path.write_bytes(path.read_bytes()[: third + 100])
    assert "cut off or damaged after step 'toy-a-001' (unexpected end of data)" in error_of(path)


def test_a_damaged_gzip_is_noticed(tmp_path):
    path = one_shard(tmp_path, compress=True)
    content = bytearray(path.read_bytes())
    content[-6] ^= 1  # its checksum
    path.write_bytes(content)
    assert "CRC check failed" in error_of(path)
    path.write_bytes(b"not gzip at all")
    assert "cut off or damaged" in error_of(path)


def test_a_tar_without_end_mark_is_cut_off(tmp_path):
    path = one_shard(tmp_path, trajectory("a", 2), trajectory("b", 2))
    with tarfile.open(path) as tar:
        start = tar.getmember("toy-b-000.json").offset
    path.write_bytes(path.read_bytes()[:start])  # between two trajectories: all that is left is whole
    assert "after step 'toy-a-001' (the end mark is missing)" in error_of(path)


def test_missing_shards(tmp_path):
    assert "cannot be opened: No such file" in error_of(tmp_path / "absent.tar")
    with pytest.raises(
        DataError, match=r"No shard matches .*nothing-\*.tar. Write shards there with tools/make_shards.py"
    ):
        expand_urls([f"{tmp_path}/nothing-*.tar"])


def test_globs_braces_and_urls_are_expanded(tmp_path):
    for name in ("b-1.tar", "b-0.tar", "a.tar.gz"):
        (tmp_path / name).touch()
    base = str(tmp_path)
    expected = [
        f"{base}/b-0.tar",
        f"{base}/b-1.tar",
        f"{base}/a.tar.gz",
        "https://host/x-00.tar",
        "https://host/x-01.tar",
    ]
    patterns = [f"{base}/b-{{0..1}}.tar", f"{base}/*.gz", f"{base}/b*.tar", "https://host/x-{00..01}.tar"]
    assert expand_urls(patterns) == expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"instruction": "  "}, "breaks step.schema.json at instruction: '  ' does not match"),
        (
            {"action": {"action_type": "click", "step_instruction": "", "point": [1, 1200]}},
            r"at action.point\[1\]: 1200 is",
        ),
        ({"action": {"action_type": "klick", "step_instruction": ""}}, "at action.action_type: 'klick' is not one of"),
        ({"surprise": 1}, "at the top level: Additional properties are not allowed"),
        ({"status": None}, "at status: None is not one of"),
        ({"schema_version": 2}, "at schema_version: 1 was expected"),
        ({"key": "toy-a-007"}, "the member toy-a-001.json holds the step 'toy-a-007'"),
        ({"index": 2}, "has index 2 where 1 is due. A step is missing"),
        ({"num_steps": 4}, "has num_steps 4, but 'toy-a-000' has 3"),
        ({"has_screenshot": False}, "has a screenshot but says it has none"),
    ],
)
def test_a_bad_record_is_named(tmp_path, changes, message):
    path = edited(one_shard(tmp_path), "toy-a-001", changes)
    with pytest.raises(DataError, match=message) as caught:
        list(read_steps([str(path)]))
    assert str(path) in str(caught.value)
    assert "toy-a-001" in str(caught.value)
    assert "tools/make_shards.py, or skip bad steps with data.on_bad_step=warn" in str(caught.value)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"toy-a-001.json": b"{"}, "step 'toy-a-001' is not JSON"),
        ({"toy-a-001.json": b"\xff\xfe"}, "step 'toy-a-001' is not JSON"),
        ({"toy-a-001.json": None}, "step 'toy-a-001' has no toy-a-001.json"),
        ({"toy-a-001.png": None}, "step 'toy-a-001': its screenshot is missing"),
        ({"toy-a-001.png": b""}, "step 'toy-a-001': its screenshot does not decode"),
        ({"toy-a-001.png": b"no image"}, "does not decode .the bytes are no known image"),
        ({"toy-a-001.png": picture(1)[:-40]}, "step 'toy-a-001': its screenshot does not decode"),
        ({"toy-a-001.png": picture(1, "JPEG")[:-400]}, "step 'toy-a-001': its screenshot does not decode"),
        (
            {"toy-a-001.json": None, "toy-a-001.png": None},
            "step 'toy-a-002' has index 2 where 1 is due. A step is missing",
        ),
        ({"toy-a-000.json": None, "toy-a-000.png": None}, "toy-a-001.* do not stand together in one shard"),
        (
            {"toy-a-002.json": None, "toy-a-002.png": None},
            "after step 'toy-a-001' its trajectory ends, with 2 of 3 steps",
        ),
    ],
)
def test_bad_members_are_named(tmp_path, files, message):
    path = rewrite(one_shard(tmp_path), files)
    with pytest.raises(DataError, match=message):
        list(read_steps([str(path)]))


def test_images_are_looked_at_only_if_asked(tmp_path):
    path = rewrite(one_shard(tmp_path), {"toy-a-001.png": b"no image"})
    assert len(list(read_steps([str(path)], verify_images=False))) == 3


def test_a_bad_step_is_skipped_with_the_rest_of_its_trajectory(tmp_path, caplog):
    path = one_shard(tmp_path, trajectory("a", 4), trajectory("b", 2))
    broken = rewrite(path, {"toy-a-002.png": picture(1)[:-40], "toy-b-000.json": b"{"})
    with caplog.at_level(logging.WARNING):
        steps = list(read_steps([str(broken)], on_bad_step="warn"))
    assert [step.key for step in steps] == ["toy-a-000", "toy-a-001"]
    assert [len(step.future) for step in steps] == [2, 1]  # the plan ends where the trajectory can no longer be read
    lines = [record.getMessage() for record in caplog.records]
    assert ["toy-a-002" in lines[0], "toy-b-000" in lines[1]] == [True, True]
    assert lines[0].endswith("The rest of its trajectory is skipped.")
    assert lines[2].startswith("2 bad steps in all")


def test_a_cut_shard_stops_even_when_bad_steps_are_skipped(tmp_path):
    path = one_shard(tmp_path)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(DataError, match="cut off"):
        list(read_steps([str(path)], on_bad_step="warn"))


def test_an_unknown_policy_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"data.on_bad_step is 'ignore'; choose 'error' or 'warn'"):
        list(read_trajectories(str(one_shard(tmp_path)), on_bad_step="ignore"))


def test_steps_of_two_trajectories_must_not_interleave(tmp_path):
    path = one_shard(tmp_path, trajectory("a", 2), trajectory("b", 2))
    files = members(path)
    order = ["toy-a-000", "toy-b-000", "toy-a-001", "toy-b-001"]
    with tarfile.open(path, "w") as tar:
        for name in [f"{key}.{kind}" for key in order for kind in ("json", "png")]:
            info = tarfile.TarInfo(name)
            info.size = len(files[name])
            tar.addfile(info, io.BytesIO(files[name]))
    assert "after step 'toy-a-000' its trajectory ends, with 1 of 2" in error_of(path)
