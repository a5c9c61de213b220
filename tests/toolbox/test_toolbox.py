"""One call: checked, run, its result or its typed error; code that calls tools; what is told of it."""

import errno

import pytest
from toys import ToySandbox

from tracer1.errors import ConfigError, ExecutorError, MissingDependency, UnknownName
from tracer1.sandbox import ToolRefused
from tracer1.toolbox.spec import tool
from tracer1.toolbox.toolbox import Toolbox


def test_a_call_gives_the_tools_value(box):
    with box.desk() as desk:
        result = box.call(desk, "toy_add", {"a": 2, "b": 0.5})
    assert result.ok
    assert result.value == 2.5
    assert result.seconds >= 0
    assert not result.cached


def test_a_tool_may_be_written_otherwise(box):
    with box.desk() as desk:
        assert box.call(desk, "Toy-Add", {"A": 1, "b": 1}).value == 2


@pytest.mark.parametrize(
    ("name", "arguments", "kind", "says"),
    [
        ("toy_ad", {"a": 1, "b": 2}, "unknown_tool", "Did you mean 'toy_add'?"),
        ("visualise", {}, "unknown_tool", "Available: toy_add, toy_shout"),
        (None, {}, "unknown_tool", "No tool None"),
        ("", {}, "unknown_tool", "No tool ''"),
        ("toy_add", {"a": 1}, "bad_arguments", "argument 'b' is missing (the second)"),
        ("toy_add", {"a": 1, "b": 2, "c": 3}, "bad_arguments", "no argument 'c'"),
        ("toy_crop", {"image_pth": "x", "box": [0, 0, 1, 1]}, "bad_arguments", "Did you mean 'image_path'?"),
        ("toy_add", {"a": "two", "b": 2}, "bad_arguments", "'two' is not of type 'number'"),
        ("toy_add", [1, 2], "bad_arguments", "a list, not names with values"),
        ("toy_crop", {"image_path": "none.png", "box": [0, 0, 1, 1]}, "no_file", "no file 'none.png'"),
        ("toy_bug", {}, "failed", "ZeroDivisionError: a bug"),
        ("toy_set", {}, "failed", "not JSON serializable"),
        ("toy_look", {"question": "?", "image_path": "a.txt"}, "unavailable", "executor.backends.vision="),
    ],
)
def test_a_wrong_call_is_a_typed_error(box, tmp_path, name, arguments, kind, says):
    (tmp_path / "a.txt").write_text("hello")
    with box.desk(tmp_path) as desk:
        result = box.call(desk, name, arguments)
    assert (result.ok, result.kind) == (False, kind)
    assert says in result.error


def test_a_dead_server_is_nobodys_mistake(box):
    with box.desk() as desk, pytest.raises(ExecutorError, match="the server is gone"):
        box.call(desk, "toy_dead", {})


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left"), MemoryError(), OSError(errno.EMFILE, "Too many open files")]
)
def test_a_machine_without_room_is_nobodys_mistake(counting, monkeypatch, error):
    @tool("Fails", {}, returns="nothing")
    def toy_fails(desk):
        raise error

    box = Toolbox({"toy_fails": toy_fails})
    with box.desk() as desk, pytest.raises(ExecutorError, match="TMPDIR"):
        box.call(desk, "toy_fails", {})


def test_no_room_for_a_tasks_files_is_nobodys_mistake(box, monkeypatch, tmp_path):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left")

    (tmp_path / "a.txt").write_text("a")
    monkeypatch.setattr("shutil.copyfile", full)
    with pytest.raises(ExecutorError, match="No space left"), box.desk(files=["a.txt"], sources=[tmp_path]):
        pass


@pytest.mark.parametrize("error", [MissingDependency("install it"), ConfigError("no such model")])
def test_a_backend_that_cannot_work_here_stops_the_run(error):
    @tool("Fails", {}, returns="nothing")
    def toy_fails(desk):
        raise error

    box = Toolbox({"toy_fails": toy_fails})
    with box.desk() as desk, pytest.raises(type(error)):
        box.call(desk, "toy_fails", {})


def test_a_new_file_is_told(box, tmp_path):
    (tmp_path / "a.txt").write_text("hello")
    with box.desk(tmp_path) as desk:
        first = box.call(desk, "toy_shout", {"file_path": "a.txt"})
        second = box.call(desk, "toy_shout", {"file_path": "/work/a.txt", "times": "2"})
    assert (first.files, second.files) == (("shout_1.txt",), ("shout_2.txt",))
    assert (tmp_path / "shout_2.txt").read_text() == "HELLOHELLO"


def test_code_calls_tools_and_keeps_its_names(box):
    with box.desk() as desk:
        box.call(desk, "python_interpreter", {"code": "x = toy_add(1, b=2)"})
        assert box.call(desk, "python_interpreter", {"code": "print(x * 2)"}).value == "6"


def test_what_is_wrong_in_a_codes_call_is_an_exception_there(box):
    code = "try:\n    toy_add(1)\nexcept Exception as error:\n    print(error)"
    with box.desk() as desk:
        assert "argument 'b' is missing" in box.call(desk, "python_interpreter", {"code": code}).value
        assert "No tool 'toy_gone'" not in box.call(desk, "python_interpreter", {"code": "toy_gone()"}).error


@pytest.mark.parametrize("name", ["python_interpreter", "Python-Interpreter"])
def test_code_cannot_call_the_interpreter(box, name):
    assert "python_interpreter" not in box.parameters()
    with box.desk() as desk:
        desk.session()
        with pytest.raises(ToolRefused, match="cannot be called by code"):
            box.sandbox.opened[0].call_outside(name, {"code": "1"})


def test_a_fault_in_a_codes_call_voids_the_run_even_if_the_code_goes_on(box):
    code = "try:\n    toy_dead()\nexcept Exception:\n    print('all is well')"
    with box.desk() as desk:
        with pytest.raises(ExecutorError, match="the server is gone"):
            box.call(desk, "python_interpreter", {"code": code})
        assert box.call(desk, "python_interpreter", {"code": "print(1)"}).value == "1"


def test_files_that_code_wrote_are_told(box):
    with box.desk() as desk:
        code = "(FOLDER / 'sub').mkdir()\n(FOLDER / 'sub' / 'plot.png').write_bytes(b'1')"
        assert box.call(desk, "python_interpreter", {"code": code}).files == ("sub/plot.png",)


def test_tools_never_share_the_interpreter_of_the_agents_code(box):
    with box.desk() as desk:
        assert desk.session() is desk.session()
        assert desk.session.of_tools() is not desk.session()
    assert len(box.sandbox.opened) == 2
    assert all(session.closed for session in box.sandbox.opened)


def test_interpreters_start_when_needed_and_end_with_the_episode(box):
    with box.desk() as desk:
        box.call(desk, "toy_add", {"a": 1, "b": 1})
        assert not box.sandbox.opened
        with pytest.raises(ValueError, match="on purpose"), box.desk() as other:  # noqa: PT012
            other.session()
            raise ValueError("on purpose")
    assert [session.closed for session in box.sandbox.opened] == [True]
    with pytest.raises(AssertionError, match="over"):
        desk.session()


def test_without_a_sandbox_code_does_not_run(counting):
    box = Toolbox(["python_interpreter"])
    with box.desk() as desk:
        result = box.call(desk, "python_interpreter", {"code": "1"})
    assert result.kind == "unavailable"
    assert "executor.sandbox" in result.error


def test_every_call_is_told_those_of_code_too(box):
    seen = []
    with box.desk(seen=lambda name, arguments, result: seen.append((name, dict(arguments), result.kind))) as desk:
        box.call(desk, "python_interpreter", {"code": "toy_add(1, 2)"})
        box.call(desk, "toy_ad", None)
    assert seen == [
        ("toy_add", {"a": 1, "b": 2}, ""),
        ("python_interpreter", {"code": "toy_add(1, 2)"}, ""),
        ("toy_ad", {}, "unknown_tool"),
    ]


def test_a_desk_of_its_own_folder_leaves_nothing(box):
    with box.desk() as desk:
        folder = desk.workspace.folder
        assert folder.is_dir()
    assert not folder.exists()


def test_what_a_planner_and_a_server_are_told(box):
    assert "toy_crop(image_path, box): Cuts a part out. Returns a path." in box.signatures()
    assert "toy_shout(file_path, times=None): Writes a text in capitals. Returns a path." in box.signatures()
    assert box.parameters()["toy_crop"] == ("image_path", "box")
    function = box.schemas()[1]["function"]
    assert function["name"] == "toy_shout"
    assert function["parameters"] == {
        "type": "object",
        "properties": {
            "file_path": {"type": "string", "minLength": 1, "description": "a text"},
            "times": {"type": "integer", "description": "how often"},
        },
        "required": ["file_path"],
        "additionalProperties": False,
    }


def test_a_toolbox_of_an_unknown_tool_is_refused(counting):
    with pytest.raises(UnknownName, match="toy_add"):
        Toolbox(["toy_ad"], sandbox=ToySandbox())
