"""tools/check_shards.py counts what is in a folder, and says in one line what is broken."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from toy_steps import trajectory

from tracer1.data.inspection import find_shards, inspect
from tracer1.data.shards import write_shards
from tracer1.errors import DataError
from tracer1.schema import Action

TOOL = Path(__file__).parents[2] / "tools" / "check_shards.py"


@pytest.fixture
def folder(tmp_path) -> Path:
    write_shards(
        [trajectory("a", 4), trajectory("b", 2)], tmp_path / "toy", split="train", prefix="toy", max_shard_mb=0.001
    )
    write_shards([trajectory("v", 3, image=None)], tmp_path / "toy", split="val", prefix="toy", compress=True)
    return tmp_path


def check(*args) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, TOOL, *map(str, args)], capture_output=True, text=True, timeout=60)


def test_the_tool_counts_what_is_there(folder):
    done = check(folder, "--images", "--json", folder / "out" / "check.json")
    assert (done.returncode, done.stderr) == (0, "")
    assert "3 shards" in done.stdout
    found = json.loads((folder / "out" / "check.json").read_text())
    train, val = found["sets"]
    assert (train["split"], train["trajectories"], train["steps"], train["without_screenshot"]) == ("train", 2, 6, 0)
    assert (val["split"], val["trajectories"], val["steps"], val["without_screenshot"]) == ("val", 1, 3, 3)
    assert train["action_types"] == {"click": 2, "type": 2, "scroll": 1, "wait": 1}
    assert train["plan_lengths"] == {"1": 2, "2": 2, "3": 1, "4": 1}
    assert train["image_sizes"] == {"24x16": 6}
    assert (train["at_a_place"], train["without_box"], train["without_place"]) == (2, 0, 0)
    assert train["abstraction_sources"] == {"unknown": 6}
    assert train["statuses"] == {"done": 2}
    assert found["problems"] == []


def test_what_steps_lack_is_counted(tmp_path):
    steps = trajectory("a", 9)  # clicks at 0, 4 and 8
    bare = replace(steps[4].future[0], action=Action("click", "somewhere"))
    drag = replace(steps[8].future[0], action=Action("drag", "pull", point=(1.0, 2.0)))
    steps[0] = replace(steps[0], boxes=())
    steps[4] = replace(steps[4], boxes=(), future=(bare, *steps[4].future[1:]))
    steps[8] = replace(steps[8], future=(drag,), meta={"abstraction_source": "think"})
    tool = [replace(step, platform="tool") for step in trajectory("tool", 1, image=None)]
    write_shards([steps, tool], tmp_path, split="train", prefix="toy")
    done = check(tmp_path, "--json", tmp_path / "check.json")
    assert done.returncode == 0, done.stderr
    [count] = json.loads((tmp_path / "check.json").read_text())["sets"]
    lacks = ("without_screenshot", "at_a_place", "without_box", "without_place")
    assert tuple(count[name] for name in lacks) == (1, 3, 2, 2)
    assert count["abstraction_sources"] == {"unknown": 9, "think": 1}
    assert "What steps lack" in done.stdout
    assert "median 4" in done.stdout


def test_a_screenshot_of_another_size_is_found(folder):
    path = folder / "toy" / "toy-train-000001.tar"
    content = path.read_bytes().replace(b'"image_size": [24, 16]', b'"image_size": [16, 24]')
    path.write_bytes(content)
    assert check(folder).returncode == 0  # nobody looked at the picture
    done = check(folder, "--images")
    assert done.returncode == 2
    assert "'toy-b-000': its screenshot has 24x16 pixels, but image_size says 16x24" in done.stderr


def test_the_tool_names_a_broken_shard(folder):
    shard = folder / "toy" / "toy-train-000000.tar"
    shard.write_bytes(shard.read_bytes()[:5000])
    done = check(folder)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.startswith(f"{shard}: the shard is cut off or damaged after step 'toy-a-000'")


def test_the_tool_says_that_there_is_no_folder(tmp_path):
    done = check(tmp_path / "absent")
    assert done.returncode == 2
    assert done.stderr == (
        f"There is no folder {tmp_path}/absent. Make shards with tools/make_shards.py, or correct the path.\n"
    )


def test_keep_going_lists_everything(folder):
    cut, changed = folder / "toy" / "toy-train-000000.tar", folder / "toy" / "toy-train-000001.tar"
    cut.write_bytes(cut.read_bytes()[:3000])
    content = changed.read_bytes()
    place = content.index(b"toy-b-001.png") + 512 + 60
    changed.write_bytes(content[:place] + bytes(40) + content[place + 40 :])
    found = inspect(find_shards(folder), folder, images=True, keep_going=True)
    assert ["cut off" in found.problems[0], "toy-b-001" in found.problems[1]] == [True, True]
    assert "is not the one in manifest.json" in found.problems[2]
    assert len(found.problems) == 3
    assert found.sets["toy", "train"].steps == 1
    assert found.sets["toy", "val"].steps == 3


def test_a_trajectory_in_two_shards_is_found(folder):
    write_shards([trajectory("a", 4)], folder / "again", split="train", prefix="toy")
    with pytest.raises(DataError, match="the trajectory of 'toy-a-000' is also in another shard"):
        inspect(find_shards(folder), folder)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"No shard .* in"):
        find_shards(tmp_path)
