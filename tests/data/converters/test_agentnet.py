"""AgentNet's records to steps: real ones where they are at hand, and hand-written ones for every case."""

import json
import os
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from raw_agentnet import SECRETS, record, step, write_release, zip_pictures
from toy_steps import picture

from tracer1.actions import in_box
from tracer1.data.converters import CONVERTERS, agentnet
from tracer1.data.records import to_record
from tracer1.data.shards import read_steps, write_shards
from tracer1.errors import DataError
from tracer1.interfaces import Converted
from tracer1.prompts import STYLES, to_messages

REAL = Path(__file__).resolve().parents[4] / "shared" / "data" / "agentnet"
CLICK = "pyautogui.click(x=0.5, y=0.25)"
END = "computer.terminate(status='success')"


def convert(source: Path) -> list[Converted]:
    converter = CONVERTERS.get("agentnet")
    return [converted for unit in converter.units(source) for converted in converter.read(unit)]


def only(folder: Path, raw: dict) -> Converted:
    [converted] = convert(write_release(folder, [raw]))
    return converted


def said(converted: Converted) -> list[tuple[str, str]]:
    return [(note.kind, note.reason) for note in converted.notes]


def test_a_record_becomes_steps(tmp_path: Path):
    code = "pyautogui.write(message='caf\u00e9')\npyautogui.press('enter')"
    converted = only(tmp_path, record("1a.b", [CLICK, code, END]))
    assert converted.notes == ()
    first, second, last = converted.steps
    assert [s.key for s in converted.steps] == ["agentnet-1a_b-000", "agentnet-1a_b-001", "agentnet-1a_b-002"]
    assert (first.instruction, first.platform, first.image_size) == ("Do the task 1a.b.", "desktop", (24, 16))
    assert first.screenshot == picture(0)
    assert first.future[0].action.point == (500.0, 250.0)
    assert first.future[0].action.step_instruction == "Do step 0."
    assert second.future[0].action.content == "café\n"
    assert second.future[0].screenshot_abstraction.startswith("The screen shows window 1.")
    assert [s.future[0].status for s in converted.steps] == ["not done", "not done", "done"]
    assert last.future[0].action.action_type == "finished"
    assert first.meta["licence"] == "MIT"
    assert first.meta["source_ref"] == "agentnet_ubuntu_5k.jsonl@0"
    assert first.meta["abstraction_source"] == "observation"
    assert first.meta["instruction_source"] == "action"
    assert first.boxes == ()


def test_a_value_with_code_alone_is_enough(tmp_path: Path):
    raw = record("a", [])
    raw["traj"] = [{"index": 0, "image": "0.png", "value": {"code": CLICK}}]
    [only_step] = only(tmp_path, raw).steps
    assert only_step.future[0].action.step_instruction == CLICK
    assert (only_step.meta["instruction_source"], only_step.meta["abstraction_source"]) == ("code", "none")


def test_several_actions_of_one_step_share_its_screenshot_and_only_the_first_was_seen(tmp_path: Path):
    converted = only(tmp_path, record("a", [f"{CLICK}\npyautogui.hotkey('ctrl', 'a')\npyautogui.write('x')", END]))
    assert [s.future[0].action.action_type for s in converted.steps] == ["click", "hotkey", "type", "finished"]
    assert [s.screenshot for s in converted.steps] == [picture(0)] * 3 + [picture(1)]
    assert [s.meta.get("real_observation") for s in converted.steps] == [True, False, False, None]
    assert [s.meta["source_index"] for s in converted.steps] == [0, 0, 0, 1]
    assert [s.future[0].screenshot_abstraction != "" for s in converted.steps] == [True, False, False, True]


def test_failure_asks_for_a_person_and_says_failed(tmp_path: Path):
    raw = record("a", [CLICK, "computer.terminate(status='failure')"], domain="infeasible", task_completed=False)
    last = only(tmp_path, raw).steps[-1]
    assert (last.future[0].action.action_type, last.future[0].status) == ("call_user", "done")
    assert last.meta["outcome"] == "failed"


def test_without_an_end_the_last_real_step_is_done(tmp_path: Path):
    assert [s.future[0].status for s in only(tmp_path, record("a", [CLICK, CLICK])).steps] == ["not done", "done"]


def test_what_was_written_after_a_step_never_reaches_a_prompt_or_a_plan(tmp_path: Path):
    raw = record("a", [CLICK, CLICK, END])
    raw["traj"][1]["value"]["last_step_redundant"] = True
    converted = only(tmp_path, raw)
    for t, made in enumerate(converted.steps):
        stored = to_record(made, "train", 3) | {"meta": None}
        seen = json.dumps([stored, *(to_messages(made, 3, style) for style in STYLES)], default=str)
        assert SECRETS["reflection"] not in seen
        assert SECRETS["reflection"] not in json.dumps(dict(made.meta))
        assert not any(name in seen for name in SECRETS)
        assert made.meta.get("redundant", False) == (t == 1)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"task_completed": False}, "task not completed"),
        ({"task_completed": False, "domain": "infeasible"}, None),
        ({"task_completed": None}, None),
        ({"alignment_score": 6}, "alignment score below 7"),
        ({"alignment_score": 7}, None),
        ({"alignment_score": None}, None),
        ({"alignment_score": float("nan")}, None),
        ({"instruction": " "}, "no instruction"),
        ({"traj": None}, "no traj"),
        ({"traj": []}, "no steps"),
        ({"task_id": None}, "no task_id"),
    ],
)
def test_the_filter_reports_each_drop(tmp_path: Path, fields: dict, reason: str | None):
    converted = only(tmp_path, record("a", [CLICK, END]) | fields)
    assert said(converted) == ([("dropped", reason)] if reason else [])
    assert bool(converted.steps) == (reason is None)


@pytest.mark.parametrize(
    ("codes", "kept", "note"),
    [
        ([CLICK, "pyautogui.click(", END], 1, ("cut", "code does not parse")),
        (["pyautogui.click(", END], 0, ("dropped", "code does not parse")),
        ([CLICK, "pyautogui.middleClick(x=0.1, y=0.1)", END], 0, ("dropped", "middle click")),
        ([CLICK, "pyautogui.click(x=1.2, y=0.5)", END], 1, ("cut", "place outside the screenshot")),
        ([CLICK, "pyautogui.click(x=1.005, y=0.5)", END], 3, ("repaired", "place moved to the edge")),
        ([CLICK, "pyautogui.press('a', presses=9)", END], 7, ("repaired", "repeats capped at 5")),
        ([CLICK, END, CLICK], 0, ("dropped", "steps after the end")),
        ([CLICK, f"{END}\n{CLICK}"], 0, ("dropped", "steps after the end")),
    ],
)
def test_what_cannot_be_used_is_cut_or_dropped_with_its_reason(tmp_path: Path, codes: list, kept: int, note: tuple):
    converted = only(tmp_path, record("a", codes))
    assert len(converted.steps) == kept
    assert said(converted) == [note]
    if note[0] == "cut":
        assert all(s.future[0].status == "not done" for s in converted.steps)
        assert converted.notes[0].record == f"a/{kept}"


def test_a_screenshot_that_is_missing_or_broken_cuts(tmp_path: Path):
    raw = record("a", [CLICK] * 3)
    raw["traj"][2]["image"] = "nowhere.png"
    assert said(only(tmp_path, raw)) == [("cut", "screenshot missing")]
    raw["traj"][2]["image"] = "2.png"
    (tmp_path / "ubuntu_images" / "2.png").write_bytes(picture(2)[:60])
    [converted] = convert(tmp_path)
    assert said(converted) == [("cut", "screenshot missing")]  # as it stands in the file
    (tmp_path / "agentnet_ubuntu_5k.jsonl").write_text(json.dumps(raw) + "\n")
    [converted] = convert(tmp_path)
    assert said(converted) == [("cut", "screenshot does not decode")]
    assert len(converted.steps) == 2


@pytest.mark.parametrize("outside", ["../secret.png", "/etc/hostname", ""])
def test_a_screenshot_is_never_looked_for_outside_its_folder(tmp_path: Path, outside: str):
    raw = record("a", [])
    raw["traj"] = [step(0, CLICK) | {"image": outside}]
    (tmp_path / "secret.png").write_bytes(picture(0))
    assert said(only(tmp_path, raw)) == [("dropped", "screenshot missing")]


def test_a_missing_middle_step_cuts(tmp_path: Path):
    raw = record("a", [])
    raw["traj"] = [step(3, CLICK), step(4, CLICK), step(6, END)]
    converted = only(tmp_path, raw)
    assert said(converted) == [("cut", "step missing in the source")]
    assert len(converted.steps) == 2
    raw["traj"] = [step(0, CLICK), {"index": "1"}]
    assert said(only(tmp_path, raw)) == [("cut", "step malformed")]


def test_both_files_are_read_with_their_own_screenshots_and_systems(tmp_path: Path):
    write_release(tmp_path, [record("u", [CLICK])])
    write_release(tmp_path, [record("w", [CLICK])], "agentnet_win_mac_18k.jsonl", "win_mac_images")
    (tmp_path / "win_mac_images" / "0.png").write_bytes(picture(50))
    merged = [{"task_id": "w", "system": "Darwin"}, {"task_id": "w", "system": "Windows"}, {"task_id": "x"}]
    (tmp_path / "meta_data_merged.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in merged))
    agentnet._systems.cache_clear()
    first, second = convert(tmp_path)
    assert (first.steps[0].screenshot, second.steps[0].screenshot) == (picture(0), picture(50))
    assert "system" not in first.steps[0].meta
    assert second.steps[0].meta["system"] == "Darwin"


def test_screenshots_may_lie_in_an_archive(tmp_path: Path):
    write_release(tmp_path, [record("a", [CLICK, CLICK, END])])
    archive = zip_pictures(tmp_path / "ubuntu_images")
    [converted] = convert(tmp_path)
    assert [s.screenshot for s in converted.steps] == [picture(0), picture(1), picture(2)]
    data = archive.read_bytes()
    place = data.index(picture(1)) + 40  # a flipped bit within a picture
    archive.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    agentnet.pictures_of.__globals__["_pictures_of"].cache_clear()
    [converted] = convert(tmp_path)
    assert said(converted) == [("cut", "screenshot does not decode")]


@pytest.mark.skipif(
    shutil.which("zip") is None and not os.environ.get("CI"), reason="needs the program zip: apt install zip"
)
def test_an_archive_in_several_files_is_refused_with_the_command_that_joins_it(tmp_path: Path):
    write_release(tmp_path, [record("a", [CLICK, END])], count=70)
    folder = tmp_path / "ubuntu_images"
    subprocess.run(["zip", "-q", "-0", "-s", "64k", "-r", "images.zip", "."], cwd=folder, check=True)
    for loose in folder.glob("*.png"):
        loose.unlink()
    assert (folder / "images.z01").exists()
    with pytest.raises(DataError, match="split over several files") as problem:
        convert(tmp_path)
    command = str(problem.value).partition("`")[2].partition("`")[0]
    assert command == f"zip -s 0 {folder}/images.zip --out {folder}/images-full.zip"
    subprocess.run(command.split(), check=True, stdout=subprocess.DEVNULL)
    [converted] = convert(tmp_path)
    assert converted.steps[0].screenshot == picture(0)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: shutil.rmtree(folder / "ubuntu_images"), "there is no folder .*ubuntu_images"),
        (lambda folder: [p.unlink() for p in (folder / "ubuntu_images").iterdir()], "neither screenshots nor a zip"),
        (lambda folder: (folder / "ubuntu_images" / "a.zip").write_bytes(b"PK"), "a.zip is no zip archive"),
        (lambda folder: (folder / "agentnet_ubuntu_5k.jsonl").unlink(), "holds no agentnet_ubuntu_5k.jsonl"),
    ],
)
def test_a_source_that_is_not_whole_says_what_is_missing(tmp_path: Path, spoil, message: str):
    write_release(tmp_path, [record("a", [CLICK])])
    spoil(tmp_path)
    with pytest.raises(DataError, match=message):
        CONVERTERS.get("agentnet").units(tmp_path)


def test_ranges_hold_every_line_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(agentnet, "UNIT_BYTES", 1000)
    names = [f"t{number:02d}" for number in range(25)]
    lines = [record(name, [CLICK] * (1 + number % 3)) for number, name in enumerate(names)]
    write_release(tmp_path, [*lines[:9], "", *lines[9:]])
    units = CONVERTERS.get("agentnet").units(tmp_path)
    assert len({unit.name for unit in units}) == len(units) > 10
    assert [converted.task.trajectory for converted in convert(tmp_path)] == names
    path = tmp_path / "agentnet_ubuntu_5k.jsonl"
    path.write_bytes(path.read_bytes().rstrip(b"\n"))  # the last line's end is nobody's duty
    assert [converted.task.trajectory for converted in convert(tmp_path)] == names


def test_a_line_that_is_no_json_is_reported_and_a_file_that_is_cut_off_stops(tmp_path: Path):
    write_release(tmp_path, [record("a", [CLICK]), '{"task_id": "b", ', record("c", [CLICK])])
    first, broken, last = convert(tmp_path)
    assert (first.task.trajectory, last.task.trajectory) == ("a", "c")
    assert said(broken) == [("dropped", "line is no JSON")]
    path = tmp_path / "agentnet_ubuntu_5k.jsonl"
    path.write_bytes(path.read_bytes()[:-30])
    offset = path.read_bytes().rindex(b"\n") + 1
    with pytest.raises(DataError, match=rf"agentnet_ubuntu_5k.jsonl: the line at byte {offset} is cut off"):
        convert(tmp_path)


def test_half_a_surrogate_pair_does_not_stop_the_shards(tmp_path: Path):
    raw = json.dumps(record("a", ["pyautogui.write('a b')"])).replace("a b", "a \\uD83D b \\ud83d\\ude00")
    converted = convert(write_release(tmp_path, [raw]))[0]
    assert converted.steps[0].future[0].action.content == "a \ufffd b 😀"
    write_shards([converted.steps], tmp_path / "out", split="train", prefix="agentnet")


def test_the_steps_come_back_from_shards(tmp_path: Path):
    converted = only(tmp_path, record("a", [CLICK, f"pyautogui.write('{chr(0x1F600)}')", END]))
    [shard] = write_shards([converted.steps], tmp_path / "out", split="train", prefix="agentnet")
    assert list(read_steps([str(shard)], history=None, horizon=None)) == list(converted.steps)


@pytest.mark.skipif(not REAL.exists(), reason=f"the real records are not at {REAL}")
def test_the_real_record_converts_whole():
    [converted] = convert(REAL / "gen_cot_example" / "raw_example.jsonl")
    assert converted.notes == ()
    assert len(converted.steps) == 15
    types = Counter(s.future[0].action.action_type for s in converted.steps)
    assert types == {"click": 11, "right_single": 1, "drag": 1, "scroll": 1, "finished": 1}
    assert {s.image_size for s in converted.steps} == {(1276, 718)}
    drag = converted.steps[3].future[0].action
    assert drag.point == pytest.approx((454.6, 268.2))
    assert drag.end_point == pytest.approx((410.7, 277.3))
    assert converted.steps[5].future[0].action.direction == "down"
    assert converted.steps[-1].future[0].status == "done"


@pytest.mark.skipif(not REAL.exists(), reason=f"the real records are not at {REAL}")
def test_the_real_excerpt_is_reported_with_the_right_reason(tmp_path: Path):
    """Its owners' judge gives it 6 of 10; without that its screenshot, which the excerpt lacks, is what is missing."""
    raw = json.loads((REAL / "ubuntu_record_0030dc52_step0.excerpt.json").read_text(encoding="utf-8"))
    assert said(only(tmp_path, raw)) == [("dropped", "alignment score below 7")]
    assert said(only(tmp_path, raw | {"alignment_score": 8})) == [("dropped", "screenshot missing")]
    raw["traj"][0]["image"] = "0.png"
    [made] = only(tmp_path, raw | {"alignment_score": 8}).steps
    assert made.future[0].action.step_instruction.startswith("Click on the GIMP application icon")
    assert made.future[0].screenshot_abstraction.startswith("The current screen shows a desktop environment")
    assert made.future[0].action.point == pytest.approx((18.0, 508.0))


def bench_task(numbers: list[int]) -> dict:
    boxes = [{"rel_bbox": [0.4, 0.2, 0.2, 0.1]}]
    return {
        "task_id": "s_1",
        "high_level_task_description": "Do it.",
        "steps": [
            {
                "step_num": number,
                "image": f"{number}.png",
                "action": CLICK,
                "inner_monologue": {"observation": "A window.", "low_level_instruction": "Click it."},
                "ground_truth_actions": [{"type": "click", "metadata": {"bboxes": boxes if number != 3 else []}}],
            }
            for number in numbers
        ],
    }


def test_a_benchmark_task_is_for_testing_has_boxes_and_ends_at_a_gap(tmp_path: Path):
    write_release(tmp_path, [], images="images")
    (tmp_path / "agentnet_ubuntu_5k.jsonl").unlink()
    (tmp_path / "s_1.json").write_text(json.dumps(bench_task([2, 3, 5])))
    [converted] = convert(tmp_path)
    assert converted.task.split == "test"
    assert said(converted) == [("cut", "step missing in the source")]
    assert [s.boxes for s in converted.steps] == [(pytest.approx((400, 200, 600, 300)),), ()]
    assert [s.future[0].action.step_instruction for s in converted.steps] == ["Click it."] * 2
    (tmp_path / "s_1.json").write_text("[]")
    with pytest.raises(DataError, match=r"s_1.json is neither .* nor a task of AgentNetBench"):
        convert(tmp_path)


@pytest.mark.skipif(not REAL.exists(), reason=f"the real records are not at {REAL}")
def test_the_real_benchmark_tasks_convert_up_to_their_gaps():
    first, second = convert(REAL / "agentnetbench_sample")
    assert first.notes == ()
    assert len(first.steps) == 10
    assert first.steps[-1].future[0].status == "done"
    assert said(second) == [("cut", "step missing in the source")]
    assert len(second.steps) == 3
    for made in (*first.steps, *second.steps):
        action = made.future[0].action
        assert bool(made.boxes) == (action.action_type == "click")
        assert all(in_box(action.point, box) for box in made.boxes)
