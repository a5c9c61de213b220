"""The converter of Multimodal-Mind2Web: rows in any order and file, operations, places, pages, and what is reported."""

import io
import json
import warnings
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image
from raw_mind2web import REPRS, TASK, WIDTH, candidate, operation, page, row, whole_task, write_parquet

from tracer1.actions import in_box
from tracer1.data.converters import CONVERTERS
from tracer1.data.converters._web_page import MAX_HEIGHT, MIN_HEIGHT, view, window
from tracer1.data.shards import read_trajectories, write_shards
from tracer1.errors import DataError
from tracer1.interfaces import Note

DATA = Path(__file__).parents[4] / "shared" / "data" / "multimodal_mind2web"
MIND2WEB = CONVERTERS.get("multimodal_mind2web")
TRAIN = "train-00000-of-00001-0a1b.parquet"


def convert(source: Path) -> list:
    return [done for unit in MIND2WEB.units(source) for done in MIND2WEB.read(unit)]


def one(folder: Path, rows: list, name: str = TRAIN):
    write_parquet(folder / "data" / name, rows)
    [done] = convert(folder)
    return done


def reasons(done) -> list[tuple[str, str, str]]:
    return [(note.kind, note.record, note.reason) for note in done.notes]


def test_a_task_becomes_steps_with_operations_places_and_history(tmp_path: Path):
    done = one(tmp_path, whole_task("t1"))
    assert not done.notes
    actions = [step.future[0].action for step in done.steps]
    assert [action.action_type for action in actions] == ["click", "type", "select"]
    assert [action.content for action in actions] == [None, "Ghent", "3 days"]
    assert [action.step_instruction for action in actions] == [" ".join(text.split()) for text in REPRS]
    assert [step.future[0].status for step in done.steps] == ["not done", "not done", "done"]  # nothing is invented
    last = done.steps[2]
    assert (last.instruction, last.platform, last.trajectory) == (TASK, "web", "t1")
    assert [past.action.action_type for past in last.history] == ["click", "type"]
    assert last.meta["licence"] == "OpenRAIL"
    assert last.meta["action_uid"] == "uid-t1-2"
    assert last.future[0].screenshot_abstraction == "page of bikes with [combobox] Days"
    assert "action_reprs" in last.meta["abstraction_source"]
    for step in done.steps:
        assert in_box(step.future[0].action.point, step.boxes[0])
        assert step.image_size == Image.open(io.BytesIO(step.screenshot)).size


@pytest.mark.parametrize(
    ("op", "original", "kind"),
    [("CLICK", "CLICK", "click"), ("CLICK", "HOVER", "click"), ("CLICK", "ENTER", "click"), ("HOVER", None, "click")],
)
def test_the_owners_operation_decides_and_the_original_is_kept(tmp_path: Path, op, original, kind):
    done = one(tmp_path, [row("t", 0, action_reprs=REPRS[:1], operation=operation(op, original=original))])
    assert done.steps[0].future[0].action.action_type == kind
    assert done.steps[0].meta["original_op"] == (original or op)


def test_an_unknown_operation_ends_the_task_before_it(tmp_path: Path):
    rows = whole_task("t")
    rows[1]["operation"] = operation("DANCE")
    done = one(tmp_path, rows)
    assert len(done.steps) == 1
    assert done.steps[0].future[0].status == "not done"
    assert reasons(done) == [("cut", "t/1", "unknown operation")]


def test_typed_text_round_trips_and_may_be_empty(tmp_path: Path):
    hard = 'it\'s "é" \\ مرحبا 😀\n'
    reprs = ["[textbox]   -> TYPE: x", "[textbox]   -> TYPE: ", "[textbox]  -> TYPE: y"]
    rows = [row("t", i, action_reprs=reprs, operation=operation("TYPE", v)) for i, v in enumerate((hard, "", "\ud83d"))]
    done = one(tmp_path, rows)
    [shard] = write_shards([done.steps], tmp_path / "out", split="train", prefix="m2w")
    [again] = read_trajectories(str(shard))
    assert [step.future[0].action.content for step in again] == [hard, "", "\ufffd"]
    assert not done.notes


def test_rows_are_sorted_by_number_and_found_in_other_row_groups_and_files(tmp_path: Path):
    reprs = [f"[link]  {n} -> CLICK" for n in range(12)]
    rows = [row("long", n, action_reprs=reprs) for n in range(12)]
    write_parquet(tmp_path / "train-00000-of-00002-x.parquet", [rows[10], *whole_task("a"), rows[2], rows[11]], group=2)
    write_parquet(tmp_path / "train-00001-of-00002-x.parquet", [*rows[3:10], *whole_task("b"), *rows[:2]], group=3)
    done = convert(tmp_path)
    assert [d.task.trajectory for d in done] == ["long", "a", "b"]  # each once, in the order of their first rows
    assert [s.future[0].action.step_instruction for s in done[0].steps] == [f"[link] {n} -> CLICK" for n in range(12)]
    assert not any(d.notes for d in done)


def test_a_unit_is_a_file_and_reads_the_same_in_every_run(tmp_path: Path):
    for number, name in enumerate(["train", "test_task", "test_website", "test_domain"]):
        write_parquet(tmp_path / "data" / f"{name}-00000-of-00001.parquet", whole_task(f"t{number}"))
    units = MIND2WEB.units(tmp_path)
    assert {unit.name: unit.more["split"] for unit in units} == {
        f"data/{name}-00000-of-00001.parquet": name for name in ("train", "test_task", "test_website", "test_domain")
    }
    once = [done for unit in units for done in MIND2WEB.read(unit)]
    assert once == [done for unit in units for done in MIND2WEB.read(unit)]
    assert {done.task.split for done in once} == {"train", "test_task", "test_website", "test_domain"}


def test_a_missing_row_is_taken_from_action_reprs_and_reported(tmp_path: Path):
    reprs = [*REPRS, "[button]  Pay -> ENTER"]
    done = one(tmp_path, [row("t", 0, action_reprs=reprs), row("t", 2, action_reprs=reprs)])
    assert [step.future[0].action.action_type for step in done.steps] == ["click", "type", "select", "click"]
    gap = done.steps[1]
    assert (gap.screenshot, gap.boxes, gap.future[0].action.point) == (None, (), None)
    assert gap.future[0].action.content == "Ghent"
    assert gap.meta["row_missing"]
    assert reasons(done) == [("repaired", "t/1", "row missing"), ("repaired", "t/3", "row missing")]
    assert [step.future[0].status for step in done.steps][-1] == "done"


def test_a_gap_that_nothing_fills_cuts_the_task(tmp_path: Path):
    done = one(tmp_path, [row("t", 0, action_reprs=REPRS[:1]), row("t", 2, action_reprs=REPRS[:1])])
    assert len(done.steps) == 1
    assert reasons(done) == [("cut", "t/1", "row missing")]


def test_a_row_that_comes_twice_is_used_once_and_a_broken_number_drops_the_task(tmp_path: Path):
    done = one(tmp_path, [*whole_task("t"), row("t", 1)])
    assert len(done.steps) == 3
    assert reasons(done) == [("repaired", "t/1", "row comes twice")]
    for number in ("one", "-1", None):
        done = one(tmp_path, [*whole_task("t"), {**row("t", 1), "target_action_index": number}])
        assert reasons(done) == [("dropped", "t", "step number is no number")]


def test_without_a_positive_box_the_step_is_kept_without_a_place(tmp_path: Path):
    rows = whole_task("t")
    rows[0]["pos_candidates"] = []
    rows[1]["pos_candidates"] = [candidate(None)]
    rows[2]["pos_candidates"] = [
        candidate("-1,-1,-1,-1"),
        candidate("0,0,0,0"),
        candidate("many"),
        candidate("nan,1,2,3"),
    ]
    done = one(tmp_path, rows)
    assert [(step.boxes, step.future[0].action.point) for step in done.steps] == [((), None)] * 3
    assert all(step.screenshot for step in done.steps)
    assert not done.notes


def test_all_positive_boxes_are_kept_and_the_original_target_gives_the_place(tmp_path: Path):
    boxes = [candidate("700,800,40,40", original=False), candidate("100,600.5,200,0", original=True)]
    done = one(tmp_path, [row("t", 0, action_reprs=REPRS[:1], pos_candidates=boxes)])
    [step] = done.steps
    assert len(step.boxes) == 2
    assert step.future[0].action.point == pytest.approx((200 / 1.28, step.boxes[0][1]))
    assert in_box(step.future[0].action.point, step.boxes[0])
    assert step.meta["page_boxes"] == [[100.0, 600.5, 200.0, 0.0], [700.0, 800.0, 40.0, 40.0]]


def test_a_target_outside_the_page_has_no_place(tmp_path: Path):
    done = one(tmp_path, [row("t", 0, ["100,5000,200,40"], action_reprs=REPRS[:1])])
    [step] = done.steps
    assert (step.boxes, step.future[0].action.point) == ((), None)
    assert reasons(done) == [("repaired", "t/0", "target outside the screenshot")]


def test_a_target_over_the_edge_keeps_the_part_that_is_seen(tmp_path: Path):
    done = one(tmp_path, [row("t", 0, ["1180,500,200,40"], action_reprs=REPRS[:1])])
    assert done.steps[0].boxes[0][2] == 1000
    assert done.steps[0].future[0].action.point[0] == pytest.approx(1230 / 1.28)
    assert not done.notes


def test_a_missing_screenshot_is_marked_and_a_broken_one_cuts(tmp_path: Path):
    rows = whole_task("t")
    rows[1]["screenshot"] = None
    done = one(tmp_path, rows)
    assert [step.screenshot is None for step in done.steps] == [False, True, False]
    assert (done.steps[1].boxes, done.steps[1].image_size) == ((), None)
    assert done.steps[1].meta["page_boxes"] == [[100.0, 500.0, 200.0, 40.0]]
    assert reasons(done) == [("repaired", "t/1", "screenshot missing")]
    for broken in (page(height=1200)[:-400], page(height=2600)[:-400], b"no image"):
        rows[1]["screenshot"] = {"bytes": broken, "path": None}
        done = one(tmp_path, rows)
        assert len(done.steps) == 1
        assert reasons(done) == [("cut", "t/1", "screenshot does not decode")]


def test_nested_json_that_is_damaged_cuts(tmp_path: Path):
    rows = whole_task("t")
    rows[2]["pos_candidates"] = ['{"attributes": "{no json"}']
    done = one(tmp_path, rows)
    assert reasons(done) == [("cut", "t/2", "candidate's attributes is not JSON")]


# --- pages -----------------------------------------------------------------------------------------------------------


def test_a_short_page_keeps_its_bytes(tmp_path: Path):
    image = page(height=990)
    done = one(tmp_path, [row("t", 0, image=image, action_reprs=REPRS[:1])])
    assert done.steps[0].screenshot == image
    assert done.steps[0].meta["crop_y0"] == 0


@pytest.mark.parametrize("y", [0, 40, 1234.5, 3000, 7360])
def test_the_window_of_a_tall_page_holds_the_target_and_can_be_undone(y: float):
    target = (587.0, float(y), 93.0, 40.0)
    seen = view(page(7412, target), [target], f"uid {y}")
    assert seen.page_size == (WIDTH, 7412)
    assert MIN_HEIGHT <= seen.size[1] <= MAX_HEIGHT
    image = Image.open(io.BytesIO(seen.image))
    assert image.size == seen.size
    x, v = seen.point[0] / 1000 * image.width, seen.point[1] / 1000 * image.height
    red, green, _ = image.getpixel((int(x), int(v)))
    assert red > 200
    assert green < 60
    assert (x, v + seen.top) == pytest.approx((587 + 46.5, y + 20))  # back on the page


def test_the_window_depends_on_the_id_alone_and_the_target_stands_anywhere_in_it():
    tops = [window([(0, 5000, 10, 10)], 10_000, str(name)) for name in range(300)]
    assert tops == [window([(0, 5000, 10, 10)], 10_000, str(name)) for name in range(300)]
    places = [(5000 - top) / (bottom - top) for top, bottom in tops]
    assert min(places) < 0.05
    assert max(places) > 0.94
    heights = {bottom - top for top, bottom in tops}
    assert min(heights) >= 1000
    assert max(heights) <= 1400
    assert len(heights) > 100


def test_the_window_holds_all_targets_or_the_first():
    near = [(0.0, 3000.0, 10.0, 10.0), (0.0, 3600.0, 10.0, 10.0)]
    far = [(0.0, 3000.0, 10.0, 10.0), (0.0, 9000.0, 10.0, 10.0)]
    tall = [(0.0, 1000.0, 10.0, 5000.0)]
    for name in "abcdefghij":
        top, bottom = window(near, 10_000, name)
        assert top <= 3000 < 3610 <= bottom
        top, bottom = window(far, 10_000, name)
        assert top <= 3000 < 3010 <= bottom
        top, bottom = window(tall, 10_000, name)
        assert top <= 3500 <= bottom
        assert window([], 10_000, name)[0] == 0
    seen = view(page(10_000), far, "a")
    assert len(seen.boxes) == 1  # the other is not in sight


def test_a_page_of_a_hundred_million_pixels_is_decoded_and_the_limit_stays_for_others():
    limit = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        seen = view(page(height=64_000, width=1600), [(0.0, 60_000.0, 40.0, 40.0)], "u")
    assert seen.page_size == (1600, 64_000)
    assert limit == Image.MAX_IMAGE_PIXELS


def test_a_page_in_another_format_becomes_jpeg():
    seen = view(page(400, kind="WEBP"), [], "u")
    assert seen.image.startswith(b"\xff\xd8\xff")


# --- files -----------------------------------------------------------------------------------------------------------


def test_a_folder_without_it_and_a_file_without_a_split_are_refused(tmp_path: Path):
    with pytest.raises(DataError, match="holds no file of Multimodal-Mind2Web"):
        MIND2WEB.units(tmp_path)
    write_parquet(tmp_path / "rows.parquet", whole_task("t"))
    with pytest.raises(DataError, match=r"rows\.parquet: its name does not say its split"):
        MIND2WEB.units(tmp_path)


def test_a_damaged_file_and_a_strange_one_are_named(tmp_path: Path):
    path = write_parquet(tmp_path / TRAIN, whole_task("t"))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=rf"{TRAIN}: its footer cannot be read"):
        convert(tmp_path)
    at = whole.index(b"\xff\xd8\xff")
    path.write_bytes(whole[: at - 60] + b"\xff" * 60 + whole[at:])  # the header of a page of screenshots
    with pytest.raises(DataError, match=rf"{TRAIN}: row \d+ cannot be read"):
        convert(tmp_path)
    rows = [{name: value for name, value in r.items() if name != "operation"} for r in whole_task("t")]
    write_parquet(path, rows)
    with pytest.raises(DataError, match="has no column 'operation'"):
        convert(tmp_path)
    write_parquet(path, [{**row("t", 0), "annotation_id": None}, *whole_task("t")])
    done = convert(tmp_path)
    assert [len(d.steps) for d in done] == [0, 3]
    assert done[0].notes == (Note("dropped", "unknown", "no annotation_id", f"{TRAIN} row 0"),)


def test_the_json_of_mind2web_itself_gives_steps_without_screenshots(tmp_path: Path):
    keys = ("operation", "pos_candidates", "action_uid")
    actions = [{k: json.loads(r[k]) if k == "operation" else r[k] for k in keys} for r in whole_task("t")]
    actions[0]["pos_candidates"] = [json.loads(text) for text in actions[0]["pos_candidates"]]
    task = {"annotation_id": "t", "confirmed_task": TASK, "website": "bikes", "action_reprs": REPRS, "actions": actions}
    nameless = {**task, "annotation_id": ""}
    (tmp_path / "test_task_0.json").write_text(json.dumps([task, nameless, 7]), encoding="utf-8")
    done, dropped, strange = convert(tmp_path)
    assert reasons(strange) == [("dropped", "unknown", "no annotation_id")]
    assert [step.future[0].action.action_type for step in done.steps] == ["click", "type", "select"]
    assert done.task.split == "test_task"
    assert all(step.screenshot is None for step in done.steps)
    assert done.steps[0].meta["page_boxes"] == [[100.0, 500.0, 200.0, 40.0]]
    assert reasons(dropped) == [("dropped", "unknown", "no annotation_id")]
    (tmp_path / "test_task_0.json").write_text(json.dumps([task])[:-9], encoding="utf-8")
    with pytest.raises(DataError, match=r"test_task_0\.json: the JSON array is cut off or damaged at byte"):
        convert(tmp_path)


# --- real records ----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no real records: {DATA} is absent")
def test_the_real_step_with_its_page(tmp_path: Path):
    [folder] = (DATA / "seeact_example" / "element_atttribute").iterdir()
    real = json.loads((folder / "queries.jsonl").read_text(encoding="utf-8").splitlines()[0])
    real = json.loads(real) if isinstance(real, str) else real
    reprs = [*real["previous_actions"], "[button]  Search -> CLICK"]
    columns = {
        **{k: real[k] for k in ("annotation_id", "action_uid", "website", "confirmed_task")},
        "operation": json.dumps(real["operation"]),
        "pos_candidates": [json.dumps(c) for c in real["pos_candidates"]],
        "neg_candidates": [json.dumps(c) for c in real["neg_candidates"]],
        "target_action_reprs": reprs[-1],
    }
    image = (folder / "images" / "0.jpg").read_bytes()
    done = one(tmp_path, [row("x", 2, image=image, action_reprs=reprs, **columns)], "test_task-00000-of-00005.parquet")
    assert [step.future[0].action.action_type for step in done.steps] == ["type", "type", "click"]
    assert Counter(note.reason for note in done.notes) == {"row missing": 2}
    step = done.steps[2]
    assert step.meta["page_size"] == [1280, 7412]
    x, y = step.future[0].action.point
    assert x == pytest.approx((587 + 93 / 2) / 1.28)
    assert y / 1000 * step.image_size[1] + step.meta["crop_y0"] == pytest.approx(596.59375 + 27)
    assert in_box((x, y), step.boxes[0])


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no real records: {DATA} is absent")
def test_the_real_test_steps_all_convert(tmp_path: Path):
    """1,338 real steps of test_task with their operations and boxes; their pages are not there."""
    lines = (DATA / "uground_blocks" / "cross_task_blocks.jsonl").read_text(encoding="utf-8").splitlines()
    steps = [json.loads(line) for line in lines]
    known: dict[str, list[str]] = {}
    for real in steps:  # the repr of the last step is in no other's history
        task = known.setdefault(real["annotation_id"], [""] * real["total_steps"])
        task[: len(real["previous_actions"])] = real["previous_actions"]
    rows = [
        row(
            real["annotation_id"],
            real["step"],
            [",".join(map(str, box)) for box in real["bbox"]],
            action_uid=real["action_uid"],
            confirmed_task=real["task"],
            website=real["website"],
            operation=operation(real["operation"], real["value"]),
            action_reprs=known[real["annotation_id"]],
            screenshot=None,
            target_action_reprs="",
        )
        for real in steps
    ]
    for number in range(5):  # files of 268 rows, as the owner's
        write_parquet(tmp_path / f"test_task-{number:05d}-of-00005.parquet", rows[268 * number :][:268], group=100)
    done = convert(tmp_path)
    assert len(done) == 177
    by_uid = {step.meta["action_uid"]: step for d in done for step in d.steps if "action_uid" in step.meta}
    assert len(by_uid) == 1338
    for real in steps:
        step = by_uid[real["action_uid"]]
        assert (step.index, len(step.history)) == (real["step"], real["step"])
        assert len(step.meta["page_boxes"]) == len(real["bbox"])
    assert Counter(note.reason for d in done for note in d.notes) == {"screenshot missing": 1338, "row missing": 1}
