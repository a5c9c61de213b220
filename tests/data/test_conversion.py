"""A raw data set becomes shards, a manifest and a report: the same ones whatever the number of workers."""

import hashlib
import io
import json
import os
from collections import Counter
from pathlib import Path

import pytest
import toy_raw
from rich.console import Console
from toy_raw import write_raw
from toy_steps import members

from tracer1.data import conversion_report
from tracer1.data.conversion import Conversion, convert
from tracer1.data.conversion_unit import Names
from tracer1.data.inspection import find_shards, inspect
from tracer1.data.shard_writer import read_manifest
from tracer1.data.shards import read_stored
from tracer1.errors import ConfigError, DataError


def run(source: Path, out: Path, **settings) -> str:
    """Converts here or with workers; returns what was said."""
    said = io.StringIO()
    given = {"workers": 1, "max_shard_mb": 0.01, "val_fraction": 0.3} | settings
    convert(Conversion("toy_raw", source, out, **given), Console(file=said, width=120))
    return said.getvalue()


def content(out: Path) -> dict[str, bytes]:
    """All files of a finished conversion, the manifest without its times."""
    files = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    manifest = json.loads(files["manifest.json"])
    manifest.pop("times")
    return files | {"manifest.json": json.dumps(manifest).encode()}


def stored(out: Path) -> list[dict]:
    """The first record of every trajectory, in the order of the shards' names."""
    return [steps[0].record for path in sorted(out.glob("*.tar")) for steps in read_stored(str(path))]


def report(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "report.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    return write_raw(tmp_path_factory.mktemp("raw"))


@pytest.fixture(scope="module")
def done(source, tmp_path_factory) -> Path:
    """The source converted in this process."""
    out = tmp_path_factory.mktemp("done") / "out"
    run(source, out)
    return out


def test_nothing_is_lost_doubled_or_unexplained(source, done):
    given = [json.loads(line) for path in sorted(source.glob("*.raw")) for line in path.open()]
    records, lines = stored(done), report(done)
    dropped = [line for line in lines if line["kind"] == "dropped"]
    manifest = json.loads((done / "manifest.json").read_text())
    assert len(records) + len(dropped) + manifest["counts"]["not_asked_for"]["test"] == len(given) == 45
    assert Counter(line["reason"] for line in dropped) == {"no place": 5, "step breaks the schema": 5}
    assert Counter(line["reason"] for line in lines if line["kind"] == "repaired") == {"mended": 5, "duplicate id": 9}
    assert {line["reason"] for line in lines if line["kind"] == "cut"} == {"screenshot missing"}
    kept = {line["id"] for line in given if line.get("bad") not in ("drop", "schema") and line["split"] != "test"}
    assert {record["trajectory"] for record in records} >= kept


def test_the_shards_pass_the_checks_and_their_manifest(done):
    found = inspect(find_shards(done), done, images=True)
    manifest = json.loads((done / "manifest.json").read_text())
    for split in ("train", "val"):
        assert found.sets["toy_raw", split].trajectories == manifest["counts"]["trajectories"][split]
        assert found.sets["toy_raw", split].steps == manifest["counts"]["steps"][split]
    assert set(read_manifest(done)) == {path.name for path in done.glob("*.tar")}


def test_shards_are_named_by_data_set_split_unit_and_number(done):
    names = sorted(path.name for path in done.glob("*.tar"))
    assert "toy_raw-train-00000-000.tar" in names
    assert "toy_raw-train-00000-001.tar" in names
    assert {entry["unit"] for entry in read_manifest(done).values()} == set("01234")


def test_the_manifest_says_where_everything_comes_from(source, done):
    manifest = json.loads((done / "manifest.json").read_text())
    assert manifest["complete"] is True
    assert (manifest["licence"], manifest["release"], manifest["dataset"]) == ("none", "made by the tests", "toy_raw")
    assert manifest["arguments"]["max_shard_mb"] == 0.01
    assert set(manifest["versions"]) == {"tracer1", "schema", "converter"}
    expected = [
        {"file": p.name, "bytes": p.stat().st_size, "sha256": hashlib.sha256(p.read_bytes()).hexdigest()}
        for p in sorted(source.glob("*.raw"))
    ]
    assert manifest["sources"] == expected


def test_workers_change_nothing(source, done, tmp_path):
    run(source, tmp_path / "out", workers=3)
    assert content(tmp_path / "out") == content(done)


def test_screenshots_pass_through_untouched(done):
    pictures = {hashlib.sha256(toy_raw.picture(1000 + 7 * t + n)).digest() for t in range(4) for n in range(12)}
    found = [
        data for path in done.glob("*.tar") for name, data in members(path).items() if name.endswith((".png", ".jpg"))
    ]
    assert len(found) > 50
    assert {hashlib.sha256(data).digest() for data in found} <= pictures


def test_a_second_run_says_that_nothing_is_left_and_touches_nothing(source, tmp_path):
    run(source, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*") if path.is_file()}
    assert run(source, tmp_path) == f"{tmp_path} is finished already: nothing to do.\n"
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*") if path.is_file()} == before


def test_the_summary_counts_what_was_written_and_why_not(source, tmp_path):
    said = run(source, tmp_path)
    assert "5 not asked for" in said
    assert "step breaks the schema" in said


# ids


def test_each_id_is_stored_once_and_the_first_keeps_it(done):
    ids = [record["trajectory"] for record in stored(done)]
    assert len(set(ids)) == len(ids)
    assert {"again", "again-2", "again-3", "again-4", "again-5", "twice 0", "twice 0-2"} <= set(ids)
    # the n-th in the order of the source has the suffix -n
    numbered = {
        record["trajectory"]: entry["unit"]
        for name, entry in read_manifest(done).items()
        for steps in read_stored(str(done / name))
        for record in [steps[0].record]
    }
    assert [numbered[f"again{suffix}"] for suffix in ("", "-2", "-3", "-4", "-5")] == list("01234")


def test_trajectories_of_one_id_stay_in_one_split(done):
    splits = {record["trajectory"]: record["split"] for record in stored(done)}
    assert len({split for name, split in splits.items() if name.startswith("again")}) == 1


def test_names_are_unique_even_where_the_suffixed_id_exists():
    names = Names()
    given = ["a", "a", "a-2", "a", "b.c", "b/c", "a-2"]
    assert [names.give("d", name) for name in given] == ["a", "a-2", "a-2-2", "a-3", "b.c", "b/c-2", "a-2-3"]


def test_a_stop_while_ids_are_renamed_changes_nothing(source, done, tmp_path, monkeypatch):
    real, count = conversion_report.rename_trajectories, []

    def rename(path, names):
        count.append(path)
        if len(count) == 2:
            raise KeyboardInterrupt
        real(path, names)

    monkeypatch.setattr(conversion_report, "rename_trajectories", rename)
    with pytest.raises(KeyboardInterrupt):
        run(source, tmp_path)
    assert not (tmp_path / "manifest.json").exists()
    run(source, tmp_path)
    assert content(tmp_path) == content(done)


# splits


def test_the_test_split_is_written_only_when_it_is_asked_for(source, tmp_path):
    run(source, tmp_path, splits=("test",))
    assert {record["split"] for record in stored(tmp_path)} == {"test"}
    assert len(stored(tmp_path)) == 5
    assert all(path.name.startswith("toy_raw-test-") for path in tmp_path.glob("*.tar"))
    counts = json.loads((tmp_path / "manifest.json").read_text())["counts"]
    assert sum(counts["not_asked_for"].values()) == 40
    assert {line["reason"] for line in report(tmp_path)} <= {"screenshot missing"}  # of these five only


def test_all_writes_each_split_into_its_own_shards(source, tmp_path):
    run(source, tmp_path, splits=("all",))
    for path in tmp_path.glob("*.tar"):
        assert {steps[0].record["split"] for steps in read_stored(str(path))} == {path.name.split("-")[1]}
    assert {record["split"] for record in stored(tmp_path)} == {"train", "val", "test"}


def test_the_owners_validation_is_val(tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.raw").write_text('{"id": "a", "split": "validation"}\n')
    run(tmp_path / "raw", tmp_path / "out", val_fraction=0)
    assert [record["split"] for record in stored(tmp_path / "out")] == ["val"]


def test_a_benchmarks_trajectory_of_unknown_split_is_never_written(tmp_path):
    (tmp_path / "raw").mkdir()
    lines = [{"id": "a", "dataset": "android_control"}, {"id": "b", "dataset": "android_control", "split": "train"}]
    (tmp_path / "raw" / "a.raw").write_text("".join(json.dumps(line) + "\n" for line in lines))
    run(tmp_path / "raw", tmp_path / "out", splits=("all",))
    assert [record["trajectory"] for record in stored(tmp_path / "out")] == ["b"]
    assert [line["reason"] for line in report(tmp_path / "out")] == ["owner's split unknown"]


# limits and faults


@pytest.mark.parametrize("limit", [1, 7, 1000])
def test_a_limit_takes_the_first_trajectories_whatever_the_workers(source, tmp_path, limit):
    for workers in (1, 2):
        run(source, tmp_path / str(workers), limit=limit, workers=workers, splits=("all",))
    assert content(tmp_path / "1") == content(tmp_path / "2")
    manifest = json.loads((tmp_path / "1" / "manifest.json").read_text())
    assert sum(manifest["counts"]["trajectories"].values()) == min(limit, 35)
    assert len(manifest["sources"]) == {1: 1, 7: 1, 1000: 5}[limit]  # only files that were read


@pytest.mark.parametrize("workers", [1, 2])
def test_a_damaged_file_stops_its_unit_only(tmp_path, workers):
    raw, out = write_raw(tmp_path / "raw"), tmp_path / "out"
    whole = (raw / "1.raw").read_text()
    lines = whole.splitlines(keepends=True)
    (raw / "1.raw").write_text("".join(lines[:5]) + "!\n")
    message = r"1.raw: damaged at line 5\. .* run the same command again once the file is whole"
    with pytest.raises(DataError, match=message) as caught:
        run(raw, out, workers=workers, splits=("all",))
    assert "\n" not in str(caught.value)
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["complete"] is False
    assert [unit["unit"] for unit in manifest["damaged"]] == ["1"]
    assert {entry["unit"] for entry in manifest["shards"].values()} == set("01234")  # what came before it is kept
    assert inspect(find_shards(out), out, images=True).problems == []
    assert [line["kind"] for line in report(out)].count("damaged") == 1

    with pytest.raises(DataError, match="damaged at line 5"):  # again, with the file as it is
        run(raw, out, workers=workers, splits=("all",))
    (raw / "1.raw").write_text(whole)  # fetched again
    run(raw, out, workers=workers, splits=("all",))
    run(raw, tmp_path / "whole", splits=("all",))
    assert content(out) == content(tmp_path / "whole")


def test_several_damaged_files_are_one_line(tmp_path):
    raw = write_raw(tmp_path / "raw")
    for name in ("1.raw", "3.raw"):
        (raw / name).write_text("!\n")
    with pytest.raises(DataError, match=r"1.raw: damaged at line 0.* 1 more .*manifest.json"):
        run(raw, tmp_path / "out")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_fault_of_the_converter_says_where(tmp_path, workers):
    raw = write_raw(tmp_path / "raw", units=3)
    (raw / "1.raw").write_text('{"id": "a"}\n{"id": "b", "bad": "fault"}\n')
    with pytest.raises(KeyError) as caught:
        run(raw, tmp_path / "out", workers=workers)
    assert caught.value.__notes__ == [f"This happened in unit 1 of {raw}/1.raw, after 1 trajectories."]


def test_a_worker_that_dies_is_told_in_one_line(tmp_path):
    raw = write_raw(tmp_path / "raw", units=3)
    (raw / "1.raw").write_text('{"id": "b", "bad": "dies"}\n')
    with pytest.raises(DataError, match="A worker process was killed, perhaps because memory ran out"):
        run(raw, tmp_path / "out", workers=2)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("workers", [1, 2])
def test_no_space_left_stops_everything_and_goes_on_later(source, done, tmp_path, workers, monkeypatch):
    full = "toy_raw-train-00002-000.tar"

    def sweep(folder):
        real(folder)
        (tmp_path / f"{full}.tmp").symlink_to("/dev/full")

    from tracer1.data.conversion_state import Folder

    real = Folder.sweep
    with monkeypatch.context() as patched:
        patched.setattr(Folder, "sweep", sweep)
        with pytest.raises(DataError, match=f"No space left .* while writing {full}.* free some space"):
            run(source, tmp_path, workers=workers)
    run(source, tmp_path, workers=workers)
    assert content(tmp_path) == content(done)


def test_nothing_written_is_a_mistake(tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.raw").write_text('{"id": "a", "bad": "drop"}\n')
    with pytest.raises(DataError, match=r"No trajectory of .* was written"):
        run(tmp_path / "raw", tmp_path / "out")


# what may not change


@pytest.fixture
def begun(tmp_path) -> tuple[Path, Path]:
    """A source and an output folder in which one unit of three is damaged."""
    raw = write_raw(tmp_path / "raw", units=3)
    (raw / "2.raw").write_text('{"id": "a"}\n!\n')
    with pytest.raises(DataError, match="damaged"):
        run(raw, tmp_path / "out")
    return raw, tmp_path / "out"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_shard_mb": 0.02}, "was begun with max-shard-mb 0.01, not 0.02"),
        ({"splits": ("all",)}, "was begun with split train val, not all"),
        ({"limit": 3}, "was begun with limit None, not 3"),
        ({"val_fraction": 0.1}, "was begun with val-fraction 0.3, not 0.1"),
    ],
)
def test_other_arguments_are_refused(begun, settings, message):
    raw, out = begun
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(
        ConfigError, match=f"{message}.*Give what it was begun with to go on, or another --out"
    ) as caught:
        run(raw, out, **settings)
    assert "\n" not in str(caught.value)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_another_source_is_refused(begun, tmp_path):
    _, out = begun
    with pytest.raises(ConfigError, match=f"was begun with source {tmp_path}/raw, not {tmp_path}/raw2"):
        run(write_raw(tmp_path / "raw2", units=3), out)


def test_a_changed_file_is_refused_unless_it_was_damaged(begun):
    raw, out = begun
    os.utime(raw / "0.raw", ns=(0, 0))
    with pytest.raises(ConfigError, match=r"was begun when .*0.raw was different \(its size or time has changed\)"):
        run(raw, out)


def test_a_changed_file_is_refused_after_the_end_too(source, tmp_path):
    raw = write_raw(tmp_path / "raw", units=2)
    run(raw, tmp_path / "out")
    with (raw / "0.raw").open("a") as stream:
        stream.write('{"id": "new"}\n')
    with pytest.raises(ConfigError, match=r"0\.raw was different"):
        run(raw, tmp_path / "out")


def test_more_files_are_refused(begun):
    raw, out = begun
    (raw / "9.raw").write_text('{"id": "new"}\n')
    with pytest.raises(ConfigError, match="held other files"):
        run(raw, out)


def test_other_code_is_refused(begun, monkeypatch):
    raw, out = begun
    monkeypatch.setattr("tracer1.data.conversion._code_sha256", lambda converter: "another")
    with pytest.raises(ConfigError, match="was begun with another version of tracer1"):
        run(raw, out)


def test_a_source_that_changes_meanwhile_is_refused(tmp_path, monkeypatch):
    raw = write_raw(tmp_path / "raw", units=2)
    monkeypatch.setattr("tracer1.data.conversion.write_report", None)  # not reached
    real = toy_raw.ToyRaw.read

    def read(self, unit):
        yield from real(self, unit)
        os.utime(raw / "0.raw", ns=(0, 0))

    monkeypatch.setattr(toy_raw.ToyRaw, "read", read)
    with pytest.raises(DataError, match=r"0\.raw changed while it was converted"):
        run(raw, tmp_path / "out")


def test_a_shard_that_is_gone_is_made_again(begun, tmp_path):
    raw, out = begun
    (out / "toy_raw-train-00000-000.tar").unlink()
    (raw / "2.raw").write_text('{"id": "a"}\n')
    run(raw, out)
    run(raw, tmp_path / "whole")
    assert content(out) == content(tmp_path / "whole")


def test_a_folder_of_something_else_is_refused(source, tmp_path):
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(ConfigError, match="is not empty, and no conversion was begun there"):
        run(source, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]
    with pytest.raises(ConfigError, match=r"photo.jpg is a file; name a folder"):
        run(source, tmp_path / "photo.jpg")


def test_two_runs_do_not_write_to_one_folder(source, tmp_path, monkeypatch):
    import fcntl

    monkeypatch.setattr("tracer1.data.conversion_state.LOCK_WAIT_S", 0.2)
    (tmp_path / ".conversion").mkdir()
    with open(tmp_path / ".conversion" / "lock", "wb") as stream:
        fcntl.flock(stream, fcntl.LOCK_SH)
        with pytest.raises(DataError, match="Another conversion is writing to"):
            run(source, tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"workers": 0}, "--workers is 0; it must be at least 1"),
        ({"limit": 0}, "--limit is 0; it must be at least 1"),
        ({"max_shard_mb": 0}, "--max-shard-mb is 0; it must be above 0"),
        ({"max_shard_mb": float("nan")}, "--max-shard-mb is nan"),
        ({"val_fraction": 1.0}, "--val-fraction is 1.0; give a share"),
        ({"splits": ("dev",)}, "--split dev is none of train, val, test, all"),
    ],
)
def test_settings_that_cannot_work_are_refused(tmp_path, settings, message):
    with pytest.raises(ConfigError, match=message):
        run(tmp_path, tmp_path / "out", **settings)


def test_a_source_without_a_unit_is_refused(tmp_path):
    (tmp_path / "raw").mkdir()
    with pytest.raises(DataError, match="holds nothing of toy_raw"):
        run(tmp_path / "raw", tmp_path / "out")
    assert not (tmp_path / "out").exists()
