"""The same call is made once: within a process, over processes, over runs. Errors are not kept."""

import errno
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from toys import Counting, ToySandbox

from tracer1.errors import ConfigError, ExecutorError
from tracer1.toolbox import TOOLS
from tracer1.toolbox.backends import Backends
from tracer1.toolbox.cache import Cache, Entry, NewFile, key_of, renamed
from tracer1.toolbox.spec import ToolError, text, tool
from tracer1.toolbox.toolbox import Toolbox


@pytest.fixture
def cached(counting, tmp_path):
    """Toys with a cache."""
    return Toolbox(
        ["toy_add", "toy_shout", "toy_bug", "toy_dead"], sandbox=ToySandbox(), cache=Cache(tmp_path / "kept")
    )


def task(tmp_path, name, content="hello", file="a.txt"):
    folder = tmp_path / name
    folder.mkdir()
    (folder / file).write_text(content)
    return folder


def test_the_same_call_is_made_once(cached, counting):
    with cached.desk() as desk:
        first = cached.call(desk, "toy_add", {"a": 1, "b": 2})
        second = cached.call(desk, "toy_add", {"b": 2, "a": "1"})
    assert (first.value, first.cached) == (3, False)
    assert (second.value, second.cached) == (3, True)
    assert counting.runs == 1
    assert cached.cache.hit_rate == 0.5


def test_another_run_is_answered_from_disk(cached, counting, tmp_path):
    with cached.desk() as desk:
        cached.call(desk, "toy_add", {"a": 1, "b": 2})
    again = Toolbox(["toy_add"], cache=Cache(tmp_path / "kept"))
    with again.desk() as desk:
        assert again.call(desk, "toy_add", {"a": 1, "b": 2}).cached
    assert counting.runs == 1


def test_files_count_by_content_and_not_by_name(cached, counting, tmp_path):
    for name, content, file in (("1", "hello", "a.txt"), ("2", "hello", "b.txt"), ("3", "other", "a.txt")):
        with cached.desk(task(tmp_path, name, content, file)) as desk:
            assert cached.call(desk, "toy_shout", {"file_path": file}).ok
    assert counting.runs == 2


def test_a_cached_call_makes_its_files_anew_under_the_next_name(cached, tmp_path):
    with cached.desk(task(tmp_path, "1")) as desk:
        cached.call(desk, "toy_shout", {"file_path": "a.txt"})
    folder = task(tmp_path, "2")
    (folder / "shout_1.txt").write_text("taken")
    with cached.desk(folder) as desk:
        result = cached.call(desk, "toy_shout", {"file_path": "a.txt"})
    assert result.cached
    assert result.value == {"path": "shout_2.txt", "said": "written to shout_2.txt."}
    assert result.files == ("shout_2.txt",)
    assert (folder / "shout_2.txt").read_text() == "HELLO"


def test_a_file_that_is_not_there_is_an_error_even_if_the_call_is_known(cached, tmp_path):
    with cached.desk(task(tmp_path, "1")) as desk:
        assert cached.call(desk, "toy_shout", {"file_path": "gone.txt"}).kind == "no_file"


def test_a_new_version_of_a_tool_forgets(cached, counting, monkeypatch):
    import dataclasses

    with cached.desk() as desk:
        cached.call(desk, "toy_add", {"a": 1, "b": 2})
        monkeypatch.setitem(cached.tools, "toy_add", dataclasses.replace(cached.tools["toy_add"], version=2))
        assert not cached.call(desk, "toy_add", {"a": 1, "b": 2}).cached
    assert counting.runs == 2


def test_errors_are_not_kept(cached):
    with cached.desk() as desk:
        assert [cached.call(desk, "toy_bug", {}).kind for _ in range(2)] == ["failed", "failed"]
        with pytest.raises(ExecutorError):
            cached.call(desk, "toy_dead", {})
    assert cached.cache.counts["hit"] == cached.cache.counts["miss"] == 0


def test_other_models_have_other_results(counting, tmp_path, monkeypatch):
    class Model:
        def __init__(self, identity):
            self.identity = identity

        def ask(self, question, images):
            return self.identity

    def answer(identity):
        box = Toolbox(["toy_look"], backends=Backends(vision=Model(identity)), cache=Cache(tmp_path / "kept"))
        with box.desk(files=["a.txt"], sources=[task_folder]) as desk:
            return box.call(desk, "toy_look", {"question": "?", "image_path": "a.txt"}).value

    task_folder = task(tmp_path, "1")
    assert [answer("small"), answer("large"), answer("small")] == ["small", "large", "small"]


@pytest.mark.parametrize("kept", [True, False])
def test_sixteen_threads_with_the_same_call_make_it_once(monkeypatch, tmp_path, kept):
    counting = Counting(seconds=0.3)
    monkeypatch.setitem(TOOLS._table, "toy_shout", counting.shout())
    box = Toolbox(["toy_shout"], cache=Cache(tmp_path / "kept" if kept else None))
    together = threading.Barrier(16)

    def call(number):
        with box.desk(task(tmp_path, str(number))) as desk:
            together.wait()
            result = box.call(desk, "toy_shout", {"file_path": "a.txt"})
            return result.value["path"], (desk.workspace.folder / "shout_1.txt").read_text(), result.cached

    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(call, range(16)))
    assert counting.runs == 1
    assert {result[:2] for result in results} == {("shout_1.txt", "HELLO")}
    assert sum(result[2] for result in results) == 15
    assert box.cache.hit_rate == 15 / 16


@pytest.mark.parametrize("error", [ToolError("failed", "no"), ExecutorError("gone")])
def test_those_who_wait_get_the_error_too(tmp_path, error):
    cache, started, runs = Cache(tmp_path), threading.Event(), []

    def produce():
        runs.append(1)
        started.set()
        threading.Event().wait(0.3)
        raise error

    def ask(first):
        if not first:
            started.wait()
        with pytest.raises(type(error)):
            cache.get("k", produce)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, [True] + [False] * 7))
    assert len(runs) == 1
    assert cache.get("k", lambda: Entry(1))[0].value == 1


def test_what_cannot_be_written_down_reaches_those_who_wait(tmp_path):
    with pytest.raises(TypeError):
        Cache(tmp_path).get("k", lambda: Entry({1, 2}))


@pytest.mark.parametrize(
    "damage", [b"", b"rubbish", None, b'{"value": 2}', b"\xff" * 100, b"0" * 64 + b'\n{"value": [2], "files": {}}']
)
def test_a_damaged_entry_is_made_and_written_again(tmp_path, damage, caplog):
    cache = Cache(tmp_path)
    files = {"a_1.png": NewFile("a", ".png", b"\x00\xff")}
    cache.get("key", lambda: Entry([1], files))
    path = tmp_path / "ke" / "key.json"
    path.write_bytes(path.read_bytes()[:-3] if damage is None else damage)
    entry, spared = cache.get("key", lambda: Entry([1], files))
    assert not spared
    assert "is damaged" in caplog.text
    entry, spared = Cache(tmp_path).get("key", lambda: Entry(None))
    assert spared
    assert (entry.value, entry.files["a_1.png"].content) == ([1], b"\x00\xff")


def test_a_full_disk_is_a_warning(tmp_path, monkeypatch, caplog):
    def full(*args, **words):
        raise OSError(errno.ENOSPC, "No space left on device")

    cache = Cache(tmp_path)
    monkeypatch.setattr("tracer1.toolbox.cache.os.replace", full)
    assert cache.get("one", lambda: Entry(1)) == (Entry(1), False)
    assert cache.get("two", lambda: Entry(2)) == (Entry(2), False)
    assert caplog.text.count("No space left") == 1
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_folder_that_is_deleted_meanwhile_is_made_again(tmp_path):
    cache = Cache(tmp_path / "kept")
    (tmp_path / "kept").rmdir()
    cache.get("one", lambda: Entry(1))
    assert Cache(tmp_path / "kept").get("one", lambda: Entry(None))[1]


def test_a_folder_that_cannot_be_made_is_said_at_once(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="Name another folder"):
        Cache(tmp_path / "file" / "kept")


def test_several_processes_write_whole_entries(tmp_path):
    code = (
        "import sys; from tracer1.toolbox.cache import Cache, Entry\n"
        "for number in range(200):\n"
        "    key = f'{number % 20:02d}key'\n"
        "    entry, _ = Cache(sys.argv[1]).get(key, lambda: Entry(['x' * 5000, number % 20]))\n"
        "    assert entry.value == ['x' * 5000, number % 20]\n"
    )
    runs = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stderr=subprocess.PIPE) for _ in range(4)]
    assert [run.communicate()[1] for run in runs] == [b""] * 4
    assert not list(tmp_path.rglob("*.part"))
    assert len(list(tmp_path.rglob("*.json"))) == 20


def test_a_killed_writer_leaves_nothing_that_is_read(tmp_path):
    (tmp_path / "ke").mkdir()
    (tmp_path / "ke" / ".key.abc.part").write_bytes(b"half")
    assert Cache(tmp_path).get("key", lambda: Entry(1)) == (Entry(1), False)


def test_a_key_is_the_same_whatever_the_order():
    one = key_of("t", 1, {"a": 1, "b": "\ud800"}, {"x": "1", "y": "2"}, "")
    assert one == key_of("t", 1, {"b": "\ud800", "a": 1}, {"y": "2", "x": "1"}, "")
    others = [
        key_of("u", 1, {"a": 1}, {}, ""),
        key_of("t", 2, {"a": 1}, {}, ""),
        key_of("t", 1, {"a": "1"}, {}, ""),
        key_of("t", 1, {"a": 1}, {"x": "1"}, ""),
        key_of("t", 1, {"a": 1}, {}, "m"),
    ]
    assert len({one, *others}) == 6


def test_names_are_replaced_as_whole_words_and_all_at_once():
    value = {"path": "a_1.png", "all": ["a_2.png", "see a_1.png.", "data_1.png", "a_1.png.bak", 1]}
    new = renamed(value, {"a_1.png": "a_2.png", "a_2.png": "a_3.png"})
    assert new == {"path": "a_2.png", "all": ["a_3.png", "see a_2.png.", "data_1.png", "a_2.png.bak", 1]}


def test_a_result_is_nobody_elses(cached):
    with cached.desk() as desk:
        cached.call(desk, "toy_add", {"a": 1, "b": 1})
        assert cached.call(desk, "toy_add", {"a": 1, "b": 1}).value == 2
    assert os.environ is not None


def test_the_same_content_under_another_suffix_is_another_file(cached, counting, tmp_path):
    for name, file in (("1", "a.txt"), ("2", "a.csv"), ("3", "b.TXT")):
        with cached.desk(task(tmp_path, name, "a,b", file)) as desk:
            assert cached.call(desk, "toy_shout", {"file_path": file}).ok
    assert counting.runs == 2


def test_code_is_run_again_where_the_files_are_others(monkeypatch, tmp_path):
    @tool("Runs code", {"code": text("Python")}, returns="its value", runs_code=True)
    def toy_code(desk, code):
        return desk.session().run(code).output

    monkeypatch.setitem(TOOLS._table, "toy_code", toy_code)
    sandbox = ToySandbox()
    box = Toolbox(["toy_code"], sandbox=sandbox, cache=Cache(tmp_path / "kept"))

    def run(folder, code="print((FOLDER / 'a.txt').read_text())"):
        with box.desk(folder) as desk:
            result = box.call(desk, "toy_code", {"code": code})
            return result.value, result.cached

    one = task(tmp_path, "1", "one")
    assert [run(one), run(one)] == [("one", False), ("one", True)]
    assert run(task(tmp_path, "2", "two")) == ("two", False)
    assert len(sandbox.opened) == 2
    assert all(session.closed for session in sandbox.opened)


def test_code_of_a_tool_leaves_nothing_behind(monkeypatch):
    @tool("Runs code", {"code": text("Python")}, returns="its value", runs_code=True)
    def toy_code(desk, code):
        return desk.session().run(code).error

    monkeypatch.setitem(TOOLS._table, "toy_code", toy_code)
    box = Toolbox(["toy_code"], sandbox=ToySandbox())
    with box.desk() as desk:
        assert box.call(desk, "toy_code", {"code": "x = 1"}).value == ""
        assert "NameError" in box.call(desk, "toy_code", {"code": "x"}).value
