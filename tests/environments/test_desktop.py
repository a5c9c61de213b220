"""The desktop itself: starts, faults, refusals, two side by side; and its parts that need no X server."""

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tracer1.environments._desktop import machine
from tracer1.environments._desktop.absent import HollowFinder
from tracer1.environments._desktop.processes import MARK, Desk, User, end_all, owned
from tracer1.environments._desktop.server import parse
from tracer1.environments._desktop.tasks import launched, read_tasks
from tracer1.environments.desktop import Desktop
from tracer1.errors import ConfigError, DataError, EnvironmentFault, MissingDependency
from tracer1.schema import Action

sys.path.insert(0, str(Path(__file__).parent))
from desktop_fixtures import SMALL, act, or_skip

TERMINAL = [
    {"type": "launch", "parameters": {"command": ["xterm", "-T", "Terminal"]}},
    {"type": "activate_window", "parameters": {"window_name": "Terminal"}},
]


def rule(command: str, expected: str) -> dict:
    return {
        "func": "exact_match",
        "result": {"type": "vm_command_line", "command": command, "shell": True},
        "expected": {"type": "rule", "rules": {"expected": expected}},
    }


PDF = {
    "func": "compare_pdfs",
    **{side: {"type": "vm_file", "path": "~/a.pdf", "dest": "a.pdf"} for side in ("result", "expected")},
}
CONFIGS = {
    "whoami": (TERMINAL, rule("cat ~/who.txt", "")),
    "hangs": (TERMINAL, rule("sleep 60", "")),
    "no-window": ([{"type": "close_window", "parameters": {"window_name": "nothing"}}], rule("true", "")),
    "pdf": (TERMINAL, PDF),
    "tree": (TERMINAL, {**rule("true", ""), "result": {"type": "accessibility_tree"}}),
    "wallpaper": ([{"type": "change_wallpaper", "parameters": {"path": "x.png"}}], rule("true", "")),
    "no-editor": ([{"type": "launch", "parameters": {"command": ["no-such-editor"]}}], rule("true", "")),
    "of-the-future": (TERMINAL, {**rule("true", ""), "func": "compare_dreams"}),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tasks of the tests."""
    folder = tmp_path_factory.mktemp("tasks")
    for name, (config, evaluator) in CONFIGS.items():
        task = {"id": name, "instruction": "Act.", "config": config, "evaluator": evaluator}
        (folder / f"{name}.json").write_text(json.dumps(task))
    return folder


@pytest.fixture(scope="module")
def desktop(folder: Path) -> Iterator[Desktop]:
    or_skip()
    environment = Desktop(tasks=str(folder), **SMALL)
    yield environment
    environment.close()


def processes(environment: Desktop) -> dict[str, int]:
    """The desktop's processes: a word of its command -> pid."""
    found = {" ".join(process.cmdline()): process.pid for process in owned(environment._link._token)}
    return {
        word: pid
        for line, pid in found.items()
        for word in ("Xvfb", "openbox", "xterm", "_desktop.server")
        if word in line
    }


def test_starts_in_a_row_are_all_whole_and_empty(desktop: Desktop):
    for _ in range(2):  # tools/bench_desktop.py does fifty
        _, seen = desktop.reset("whoami", seed=0)
        assert seen.screenshot.startswith(b"\x89PNG")
        assert desktop.score() == 1  # no who.txt: HOME is a fresh one
        act(desktop, Action("type", content="id -u > who.txt\n"))
        assert desktop.score() == 0


def test_two_desktops_side_by_side_share_neither_user_nor_display(desktop: Desktop, folder: Path):
    other = Desktop(tasks=str(folder), **SMALL)
    try:
        for environment in (desktop, other):
            environment.reset("whoami", seed=0)
        assert not set(processes(desktop).values()) & set(processes(other).values())
        _, before = desktop.step(Action("wait")), other.step(Action("wait"))[0]
        act(desktop, Action("type", content="echo here > who.txt\n"))
        assert desktop.score() == 0
        assert other.score() == 1
        assert other.step(Action("wait"))[0] == before
        if os.geteuid() == 0:
            users = {os.stat(f"/proc/{processes(one)['xterm']}").st_uid for one in (desktop, other)}
            assert len(users) == 2
            assert 0 not in users
        token = other._link._token
    finally:
        other.close()
    assert not owned(token)


def test_a_dead_part_is_a_fault_and_the_next_episode_is_whole(desktop: Desktop):
    desktop.reset("whoami", seed=0)
    for victim in ("Xvfb", "_desktop.server"):
        os.kill(processes(desktop)[victim], signal.SIGKILL)
        with pytest.raises(EnvironmentFault):
            desktop.step(Action("wait"))
        desktop.reset("whoami", seed=0)
        assert desktop.score() == 1


def test_an_evaluator_that_hangs_is_a_fault_and_leaves_nothing(folder: Path):
    or_skip()
    environment = Desktop(tasks=str(folder), evaluate_s=1.0, **SMALL)
    try:
        environment.reset("hangs", seed=0)
        token, files = environment._link._token, environment._link._folder
        with pytest.raises(EnvironmentFault, match="evaluate was not done within 1 s"):
            environment.score()
        assert not owned(token)
        assert not files.exists()
    finally:
        environment.close()


def test_the_desktop_cannot_read_what_its_evaluator_expects(desktop: Desktop):
    if os.geteuid() != 0:
        pytest.skip("without root, the desktop runs as we do")
    desktop.reset("whoami", seed=0)
    desktop.score()
    act(desktop, Action("type", content="cat ../host.txt ../cache/*/* ../log.txt > who.txt; ls ../cache >> who.txt\n"))
    assert (desktop._link._folder / "host.txt").read_bytes()
    assert (desktop._link._folder / "home" / "who.txt").read_bytes() == b""


def test_a_window_that_is_not_there_ends_the_reset_loudly(desktop: Desktop):
    with pytest.raises(EnvironmentFault, match=r"no-window: the preparation failed.*nothing"):
        desktop.reset("no-window", seed=0)


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        ("tree", "accessibility_tree"),
        ("wallpaper", "change_wallpaper"),
        ("no-editor", "no-such-editor"),
        ("of-the-future", "compare_dreams"),
    ],
)
def test_what_cannot_be_scored_here_is_refused(desktop: Desktop, task: str, reason: str):
    assert reason in desktop.refuses(task)
    with pytest.raises(ConfigError, match=f"{task}' is refused, not scored 0: .*{reason}"):
        desktop.reset(task, seed=0)


def test_what_can_be_scored_here_is_not_refused(desktop: Desktop):
    assert desktop.refuses("whoami") == ""


def test_a_metric_whose_library_is_hollow_is_refused(desktop: Desktop):
    try:
        import fitz  # noqa: F401
    except ImportError:
        with pytest.raises(ConfigError, match="'compare_pdfs' needs fitz"):
            desktop.reset("pdf", seed=0)
    else:
        pytest.skip("PyMuPDF is installed: PDFs can be compared")


def test_an_action_that_no_desktop_has_does_nothing(desktop: Desktop):
    _, seen = desktop.reset("whoami", seed=0)
    assert desktop.step(Action("press_home")) == (seen, False)


def test_before_the_first_reset_nothing_can_be_done(folder: Path):
    environment = Desktop(tasks=str(folder))
    with pytest.raises(ConfigError, match="call reset first"):
        environment.score()
    with pytest.raises(ConfigError, match="Did you mean 'whoami'"):
        environment.reset("whoam", seed=0)
    environment.close()


@pytest.mark.parametrize("settings", [{"width": 10}, {"pause_s": -1.0}, {"evaluate_s": 0.0}])
def test_settings_that_cannot_be(settings: dict):
    with pytest.raises(ConfigError, match="environment"):
        Desktop(**settings)


def test_task_files_that_are_none(tmp_path: Path):
    with pytest.raises(ConfigError, match="no task file"):
        read_tasks(tmp_path)
    (tmp_path / "a.json").write_text('{"id": "a", "instruction": 3, "evaluator": {}}')
    with pytest.raises(DataError, match=r"a\.json.*'instruction' must be a str"):
        read_tasks(tmp_path)
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(DataError, match=r"a\.json: cannot be read"):
        read_tasks(tmp_path)
    good = {"id": "a", "instruction": "b", "evaluator": {"func": "infeasible"}}
    for name in ("a", "b"):
        (tmp_path / f"{name}.json").write_text(json.dumps(good))
    with pytest.raises(DataError, match="another task"):
        read_tasks(tmp_path)


def test_programs_are_read_from_both_forms_of_a_launch():
    commands = ["xterm -e top", ["soffice", "--calc"]]
    assert launched({"config": [{"type": "launch", "parameters": {"command": c}} for c in commands]}) == [
        "xterm",
        "soffice",
    ]


def test_hollow_modules_answer_one_package_alone_and_go_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "asker.py").write_text(
        "import easyocr.reader\nfrom borb.pdf import Document\nread = lambda: Document()\n"
    )
    (tmp_path / "other.py").write_text("try:\n    import librosa as found\nexcept ImportError:\n    found = None\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with HollowFinder("asker"):
        import asker
        import other
    with pytest.raises(MissingDependency, match=r"borb\.pdf\.Document is not installed"):
        asker.read()
    assert other.found is None
    assert not {"borb", "borb.pdf", "easyocr"} & sys.modules.keys()


def test_requests_of_each_kind_are_read():
    form = b'--x\r\nContent-Disposition: form-data; name="file_data"; filename="a"\r\n\r\n\x00\xff\r\n--x--\r\n'
    assert parse("multipart/form-data; boundary=x", form) == {"file_data": b"\x00\xff"}
    assert parse("application/x-www-form-urlencoded", b"file_path=%7E%2Fa+b") == {"file_path": "~/a b"}
    assert parse("application/json", b'{"command": ["a"]}') == {"command": ["a"]}
    with pytest.raises(ValueError, match="no JSON object"):
        parse("application/json", b"[1]")


def test_processes_are_found_by_their_mark_in_whatever_session():
    import subprocess

    token = "test-of-marks"
    command = ["setsid", "sh", "-c", "sleep 60 & sleep 60"]
    with subprocess.Popen(command, env={**os.environ, MARK: token}) as process:
        assert end_all(token)
        process.wait()
    assert not owned(token)


def test_users_differ_and_are_given_back():
    first, second = User(), User()
    if os.geteuid() == 0:
        assert first.number != second.number
    else:
        assert first.number is second.number is None
    first.release()
    second.release()


def test_a_desk_survives_the_way_to_its_server(tmp_path: Path):
    desk = Desk("token", tmp_path, 60578, (640, 480))
    assert Desk.read(json.loads(json.dumps(desk.fields()))) == desk


def test_a_desktop_that_never_starts_is_a_fault_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(machine.subprocess, "Popen", _no_program)
    broken = machine.Machine(tmp_path, "never", (640, 480))
    with pytest.raises(EnvironmentFault, match=r"3 times over.*No such file.*Xvfb"):
        broken.start_emulator("local", True)


def _no_program(command: list[str], **_: object) -> None:
    raise FileNotFoundError(2, "No such file or directory", command[0])
