"""A session in bubblewrap: names persist, tools are called, time is kept, and a broken sandbox is replaced or said to be broken."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from tracer1.errors import ExecutorError
from tracer1.sandbox import Limits, ToolRefused
from tracer1.sandbox.bubblewrap import Bubblewrap

PARAMETERS = {"add": ("a", "b"), "ask": ("question",)}


def add(name: str, arguments: dict) -> object:
    return arguments["a"] + arguments["b"]


def echo(name: str, arguments: dict) -> object:
    return arguments


def test_names_persist_and_a_last_expression_is_not_printed(box: Bubblewrap, folder: Path):
    with box.session(folder) as session:
        assert session.run("x = 20\ndef double(n):\n    return 2 * n").ok
        assert session.run("x = double(x) + 2\nx").output == ""
        assert session.run("print(x)").output == "42\n"


def test_what_is_printed_comes_in_order(box: Bubblewrap, folder: Path):
    code = "import sys, os\nprint(1)\nprint(2, file=sys.stderr)\nprint(3)\nos.write(1, b'4\\n')\nprint('ö', end='')"
    with box.session(folder) as session:
        assert session.run(code).output == "1\n2\n3\n4\nö"


def test_a_block_that_closes_its_output_silences_no_other(box: Bubblewrap, folder: Path):
    with box.session(folder) as session:
        assert session.run("import sys; print(1); sys.stdout.close()").output == "1\n"
        assert session.run("print(2)").output == "2\n"


def test_an_error_names_the_line_of_the_block_it_was_asked_for(box: Bubblewrap, folder: Path):
    with box.session(folder) as session:
        assert session.run("\n\n1 / 0").error == "ZeroDivisionError: division by zero (line 3)"
        session.run("\n\n\n\ndef f():\n    raise ValueError")
        assert session.run("1\nf()").error == "ValueError (line 2)"
        assert session.run("import json\njson.loads('{')").error.endswith("(line 2)")
        assert session.run("x = 1\nif x\n    pass").error == "SyntaxError: expected ':' (line 2)"
        assert session.run("class E(Exception):\n    def __str__(self): 1 / 0\nraise E").error.startswith(
            "E: (its message"
        )
        assert session.run("raise SystemExit(3)").error == "SystemExit: 3 (line 1)"
        long = session.run("raise ValueError('x' * 10**6)")
        assert len(long.error) < 2200


def test_names_survive_an_exception_but_not_a_kill(box: Bubblewrap, folder: Path, small: Limits):
    with box.session(folder) as session:
        session.run("x = 1")
        assert session.run("1 / 0").kind == "exception"
        assert session.run("print(x)").output == "1\n"
        assert (
            session.run("print('before', flush=True)\nwhile True: pass", replace(small, wall_s=0.5)).output
            == "before\n"
        )
        assert session.run("print(x)").error.startswith("NameError")


def test_files_go_both_ways(box: Bubblewrap, folder: Path):
    (folder / "in.txt").write_text("hello")
    with box.session(folder) as session:
        session.run("open('out.txt', 'w').write(open('in.txt').read().upper())")
        (folder / "later.txt").write_text("later")
        assert session.run("print(open('later.txt').read())").output == "later\n"
    assert (folder / "out.txt").read_text() == "HELLO"
    assert (folder / "out.txt").stat().st_uid == os.getuid()


def test_what_was_in_the_folder_before_is_not_the_codes(box: Bubblewrap, folder: Path, small: Limits):
    (folder / "photo").write_bytes(bytes(40 << 20))
    with box.session(folder) as session:
        assert session.run("import time; time.sleep(0.2)", replace(small, folder_mb=16)).ok
        assert (
            session.run(
                "import time\nfor n in range(5): open(str(n), 'wb').write(bytes(4 << 20))\ntime.sleep(0.2)"
            ).error
            == "stopped: more than 16 MiB were written to the folder"
        )


def test_a_folder_may_have_any_name(box: Bubblewrap, tmp_path: Path):
    for number, name in enumerate(("with space, comma", "ünïcode \U0001f600", os.fsdecode(b"no\xfftext"))):
        (tmp_path / name).mkdir()
        (tmp_path / f"link{number}").symlink_to(tmp_path / name)
        with box.session(tmp_path / f"link{number}") as session:
            session.run("open('x', 'w').write('y')")
        assert (tmp_path / name / "x").read_text() == "y"


def test_modules_of_the_folder_can_be_imported_but_hide_none(box: Bubblewrap, folder: Path):
    (folder / "helper.py").write_text("x = 1")
    (folder / "json.py").write_text("raise RuntimeError('mine')")
    with box.session(folder) as session:
        assert session.run("import helper, json\nprint(helper.x)").output == "1\n"


def test_a_function_of_a_module_is_called_with_plain_json(box: Bubblewrap, folder: Path):
    with box.session(folder) as session:
        ran = session.call("json", "loads", {"s": '{"a": [1, 2.5, null]}'})
        assert ran.ok
        assert ran.value == {"a": [1, 2.5, None]}
        assert session.call("tracer1.actions", "no_such", {}).error.startswith("AttributeError")
        assert session.call("no_such_module", "f", {}).error.startswith("ModuleNotFoundError")
        assert session.call("pathlib", "Path", {}).value == "."
        assert session.call("re", "compile", {"pattern": "x"}).error.startswith(
            "TypeError: a Pattern cannot be passed as JSON"
        )


def test_arguments_that_are_no_json_are_the_callers_mistake(box: Bubblewrap, folder: Path):
    with box.session(folder) as session:
        session.run("x = 1")
        assert session.call("json", "dumps", {"obj": Path("a")}).value == '"a"'
        with pytest.raises(TypeError, match="a object cannot be passed"):
            session.call("json", "dumps", {"obj": object()})
        assert session.run("print(x)").output == "1\n"


def test_an_interpreter_that_ends_while_a_tool_works(box: Bubblewrap, folder: Path):
    code = "import threading, time, os\nthreading.Timer(0.1, os._exit, (3,)).start()\nask(1)"
    with box.session(folder, PARAMETERS, lambda *_: time.sleep(0.4)) as session:
        assert session.run(code).error == "the interpreter ended itself with exit code 3"
        assert session.run("print(1)").output == "1\n"


def test_a_result_that_is_too_large_is_said_to_be(box: Bubblewrap, folder: Path):
    with box.session(folder) as session:
        session.run("import builtins\nbuiltins.big = lambda: 'x' * (70 << 20)")
        ran = session.call("builtins", "big", {})
        assert ran.kind == "output"
        assert "70 MiB" in ran.error


def test_tools_are_functions(box: Bubblewrap, folder: Path):
    with box.session(folder, PARAMETERS, add) as session:
        assert session.run("print(add(1, add(2, b=3)), add(b='y', a='x'))").output == "6 xy\n"
        assert session.run("print(sum(add(n, 0) for n in range(200)))").output == "19900\n"
        assert session.run("add(1, 2, 3)").error.startswith("TypeError: add() takes 2 arguments")
        assert session.run("add(1, a=2)").error.startswith("TypeError: add() got 'a' twice")
        assert session.run("add(1, object())").error.startswith("TypeError: a object cannot be passed as JSON")
        assert session.run("x = []; x.append(x); add(1, x)").error.startswith("TypeError: cannot be passed as JSON")


def test_values_become_json_where_that_is_natural(box: Bubblewrap, folder: Path):
    code = (
        "import numpy as np, fractions, pathlib, collections\nfrom PIL import Image\n"
        "print(ask([np.float32(1.5), np.arange(3), np.bool_(True), fractions.Fraction(1, 2), pathlib.Path('a/b'), (1, {2}), {3: 4}]))\n"
        "print(ask(Image.new('RGB', (2, 2))))"
    )
    with box.session(folder, PARAMETERS, echo) as session:
        ran = session.run(code)
        first = "{'question': [1.5, [0, 1, 2], True, 0.5, 'a/b', [1, [2]], {'3': 4}]}"
        assert ran.output == first + "\n{'question': 'passed_1.png'}\n", ran
    assert (folder / "passed_1.png").is_file()


def test_a_refused_tool_call_is_an_exception_inside_that_can_be_caught(box: Bubblewrap, folder: Path):
    def refuse(name: str, arguments: dict) -> object:
        raise ToolRefused("no such file: x.png")

    with box.session(folder, PARAMETERS, refuse) as session:
        assert session.run("\nadd(1, 2)").error == "RuntimeError: no such file: x.png (line 2)"
        assert session.run("try: add(1, 2)\nexcept RuntimeError as e: print(e)").output == "no such file: x.png\n"


def test_the_hosts_own_error_in_a_tool_comes_out_of_run(box: Bubblewrap, folder: Path):
    def fail(name: str, arguments: dict) -> object:
        raise ExecutorError("the server is gone")

    with box.session(folder, PARAMETERS, fail) as session:
        with pytest.raises(ExecutorError, match="the server is gone"):
            session.run("try: add(1, 2)\nexcept BaseException: pass")
        assert session.run("print(1)").output == "1\n"


@pytest.mark.parametrize("error", [ValueError, KeyError, TypeError, TimeoutError, BrokenPipeError])
def test_no_error_of_a_tool_is_taken_for_the_codes(box: Bubblewrap, folder: Path, error: type[Exception]):
    def fail(name: str, arguments: dict) -> object:
        raise error("a mistake in the tool")

    with box.session(folder, PARAMETERS, fail) as session, pytest.raises(error, match="a mistake in the tool"):
        session.run("add(1, 2)")


def test_an_answer_too_large_to_pass_is_refused(box: Bubblewrap, folder: Path):
    with box.session(folder, PARAMETERS, lambda *_: "x" * (70 << 20)) as session:
        assert "70 MiB" in session.run("ask(1)").error
        assert session.run("print(1)").output == "1\n"


def test_time_spent_in_tools_is_not_the_codes(box: Bubblewrap, folder: Path, small: Limits):
    def slow(name: str, arguments: dict) -> object:
        time.sleep(0.4)
        return 1

    with box.session(folder, PARAMETERS, slow) as session:
        ran = session.run("for n in range(4): ask(n)\nprint('done')", replace(small, wall_s=1.0))
        assert ran.output == "done\n"
        assert ran.seconds < 0.5


def test_a_tool_may_itself_need_the_session_that_called_it(box: Bubblewrap, folder: Path):
    with box.session(folder, PARAMETERS, lambda name, arguments: nested(arguments["question"])) as session:

        def nested(question: str) -> object:
            with ThreadPoolExecutor(1) as pool:  # from another thread, too
                return pool.submit(session.call, "json", "dumps", {"obj": question}).result().value

        assert session.run("print('out'); x = ask('q'); print(x)").output == 'out\n"q"\n'


def test_a_tool_whose_own_call_dies_ends_the_block_that_waits_for_it(box: Bubblewrap, folder: Path, small: Limits):
    def nested(name: str, arguments: dict) -> object:
        return session.run("while True: pass", replace(small, wall_s=0.5)).error

    with box.session(folder, PARAMETERS, nested) as session:
        ran = session.run("ask(1)")
        assert ran.kind == "timeout"
        assert session.run("print(1)").output == "1\n"


def test_threads_of_the_code_may_call_tools(box: Bubblewrap, folder: Path):
    code = (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(4) as pool: print(sorted(pool.map(lambda n: add(n, n), range(20))) == list(range(0, 40, 2)))"
    )
    with box.session(folder, PARAMETERS, add) as session:
        assert session.run(code).output == "True\n"
        assert session.run(
            "import threading, time\ndef late():\n    time.sleep(0.2)\n    try: add(1, 2)\n"
            "    except RuntimeError as e: open('e', 'w').write(str(e))\n"
            "threading.Thread(target=late).start()"
        ).ok
        time.sleep(0.4)
        assert session.run("print(open('e').read())").output == "add() can be called only while a block runs\n"


def test_a_run_may_have_lower_limits_and_more_time(box: Bubblewrap, folder: Path, small: Limits):
    with box.session(folder) as session:
        assert session.run("x = bytearray(200 << 20)").ok
        assert session.run("y = bytearray(200 << 20)", replace(small, memory_mb=300)).kind == "memory"
        assert session.run("open('f', 'wb').write(bytes(2 << 20))", replace(small, file_mb=1)).kind == "exception"
        assert session.run("import time; time.sleep(2.5)", replace(small, wall_s=4.0)).ok
        assert session.run(
            "import time\nt = time.process_time()\nwhile time.process_time() < t + 1: pass", replace(small, wall_s=9.0)
        ).ok
        assert (
            session.run("while True: pass", replace(small, wall_s=9.0, cpu_s=0.5)).error
            == "stopped after 0.5 s of processor time"
        )


def test_many_sessions_at_once_from_several_threads(box: Bubblewrap, tmp_path: Path, census, soon):
    with box.session(tmp_path) as first:
        first.run("1")
    before, fds = census(), len(os.listdir("/proc/self/fd"))

    def episode(number: int) -> bool:
        place = tmp_path / str(number)
        place.mkdir()
        with box.session(place, PARAMETERS, add) as session:
            session.run(f"x = {number}; open('mine', 'w').write(str(x))")
            return session.run("import os; print(add(x, 0), os.listdir('.'))").output == f"{number} ['mine']\n"

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(episode, range(64)))
    assert soon(lambda: census() == before)
    assert len(os.listdir("/proc/self/fd")) == fds
