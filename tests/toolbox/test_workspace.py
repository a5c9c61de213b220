"""Only the files of the task's folder can be named, and new ones get the same names in every run."""

import os
import socket

import pytest

from tracer1.toolbox.spec import ToolError
from tracer1.toolbox.workspace import WorkFolder, read_inside, write_new


@pytest.fixture
def folder(tmp_path):
    """A task's folder, beside a file that is none of its business."""
    inside = tmp_path / "task"
    (inside / "sub").mkdir(parents=True)
    (inside / "a.txt").write_text("a")
    (inside / "sub" / "b.txt").write_text("b")
    (tmp_path / "secret.txt").write_text("secret")
    return inside


def kind_of(folder, name):
    with pytest.raises(ToolError) as raised:
        WorkFolder(folder).find(name)
    return raised.value.kind


@pytest.mark.parametrize(
    "name", ["a.txt", "./a.txt", "/work/a.txt", "sub/b.txt", "/work/sub/b.txt", "sub//b.txt", "sub/./b.txt"]
)
def test_files_of_the_folder_are_found(folder, name):
    assert WorkFolder(folder).find(name).read_text() in "ab"


def test_the_folders_own_name_is_understood(folder):
    assert WorkFolder(folder).find(str(folder / "a.txt")) == folder / "a.txt"


@pytest.mark.parametrize(
    "name",
    [
        "../secret.txt",
        "sub/../../secret.txt",
        "sub/../a.txt",
        "/work/../secret.txt",
        "/etc/passwd",
        "/workshop/a.txt",
        "//etc/passwd",
        "a.txt\0.png",
        "",
        "   ",
        "sub",
        ".",
        "/work",
        "x" * 300,
        "/".join(["sub"] * 500),
        "http://169.254.169.254/latest",
        "file:///etc/passwd",
        "\ud800.png",
    ],
)
def test_everything_else_is_refused(folder, name):
    assert kind_of(folder, name) == "refused"


def test_a_file_that_is_not_there_is_told_with_the_nearest(folder):
    with pytest.raises(ToolError, match=r"Did you mean 'sub/b.txt'\? Files: a.txt, sub/b.txt") as raised:
        WorkFolder(folder).find("data/bb.txt")
    assert raised.value.kind == "no_file"
    assert kind_of(folder, "a.txt/b.txt") == "no_file"


@pytest.mark.parametrize("target", ["../secret.txt", "/etc/passwd", "..", "/"])
def test_a_link_that_leads_out_is_refused(folder, target):
    os.symlink(target, folder / "link")
    with pytest.raises(ToolError, match="leads out") as raised:
        WorkFolder(folder).find("link")
    assert raised.value.kind == "refused"


def test_a_folder_that_leads_out_is_refused(folder):
    os.symlink("..", folder / "up")
    assert kind_of(folder, "up/secret.txt") == "refused"


def test_a_link_within_is_followed_and_a_loop_is_not(folder):
    os.symlink("sub/b.txt", folder / "good")
    os.symlink("loop", folder / "loop")
    assert WorkFolder(folder).find("good") == folder / "sub" / "b.txt"
    assert kind_of(folder, "loop") == "refused"


def test_what_is_no_ordinary_file_is_refused(folder, monkeypatch):
    os.mkfifo(folder / "pipe")
    monkeypatch.chdir(folder)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        assert kind_of(folder, "socket") == "refused"
    assert kind_of(folder, "pipe") == "refused"


def test_new_files_have_the_same_names_in_every_run(folder):
    def names():
        work = WorkFolder(folder)
        return [work.new("crop", ".png")[1], work.new("crop", ".png")[1], work.new("plot", ".png")[1]]

    assert names() == names() == ["crop_1.png", "crop_2.png", "plot_1.png"]


def test_a_new_file_never_takes_a_place_that_is_taken(folder):
    (folder / "crop_1.png").write_bytes(b"1")
    os.symlink("/nowhere", folder / "crop_2.png")
    path, name = WorkFolder(folder).new("crop", ".png")
    assert name == "crop_3.png"
    write_new(path, b"3")
    assert path.read_bytes() == b"3"


def test_writing_follows_no_link_that_code_put_there_meanwhile(folder):
    path, _ = WorkFolder(folder).new("crop", ".png")
    os.symlink("../secret.txt", path)
    with pytest.raises(ToolError, match="somebody else"):
        write_new(path, b"overwritten")
    assert (folder.parent / "secret.txt").read_text() == "secret"


def test_reading_follows_no_link_that_code_put_there_meanwhile(folder):
    path = WorkFolder(folder).find("sub/b.txt")
    assert read_inside(folder, path, 10) == b"b"
    path.unlink()
    os.symlink("../../secret.txt", path)
    with pytest.raises(ToolError):
        read_inside(folder, path, 10)
    path.unlink()
    (folder / "sub").rmdir()
    os.symlink(folder.parent, folder / "sub")
    with pytest.raises(ToolError):
        read_inside(folder, folder / "sub" / "secret.txt", 10)


def test_reading_waits_for_no_pipe_and_takes_no_large_file(folder):
    os.mkfifo(folder / "pipe")
    (folder / "large").write_bytes(b"12345678901")
    before = len(os.listdir("/proc/self/fd"))
    for name, says in (("pipe", "no ordinary file"), ("large", "at most 10"), ("gone", "cannot be opened")):
        with pytest.raises(ToolError, match=says):
            read_inside(folder, folder / name, 10)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_tasks_files_are_copied_under_the_names_it_gives_them(folder, tmp_path):
    source = tmp_path / "released" / "images"
    source.mkdir(parents=True)
    (source / "x.png").write_bytes(b"x")
    work = WorkFolder(folder)
    names = ["data/open/images/x.png", "/mnt/images/x.png", "../images/x.png", "gone.pdf", "/", "y" * 300]
    assert work.fill(names, [tmp_path / "nowhere", tmp_path / "released"]) == ("gone.pdf", "/", "y" * 300)
    assert work.missing == ("gone.pdf", "/", "y" * 300)
    assert work.find("data/open/images/x.png").read_bytes() == b"x"
    assert work.find("/mnt/images/x.png") == folder / "mnt" / "images" / "x.png"
    assert work.find("../images/x.png") == folder / "images" / "x.png"


def test_a_tasks_file_is_its_own_copy(folder, tmp_path):
    (tmp_path / "x.png").write_bytes(b"x")
    work = WorkFolder(folder)
    work.fill(["x.png"], [tmp_path])
    copy = work.find("x.png")
    assert not copy.stat().st_mode & 0o222
    copy.chmod(0o644)  # as code that runs in the folder may
    copy.write_bytes(b"changed")
    assert (tmp_path / "x.png").read_bytes() == b"x"


def test_only_so_many_files_are_looked_at(folder, monkeypatch):
    monkeypatch.setattr("tracer1.toolbox.workspace._MOST_FILES", 3)
    for number in range(10):
        (folder / f"{number}.txt").write_text("")
    assert len(WorkFolder(folder).files()) <= 3
