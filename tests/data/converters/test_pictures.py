"""Screenshots by name, loose or in archives."""

import os
import zipfile
from pathlib import Path

import pytest
from toy_steps import picture

from tracer1.data.converters import _pictures
from tracer1.data.converters._pictures import Pictures, pictures_of
from tracer1.errors import DataError


def archive(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as whole:
        for name, data in members.items():
            whole.writestr(name, data)


def test_loose_files_go_before_folders_within_and_these_before_archives(tmp_path: Path):
    (tmp_path / "images").mkdir()
    (tmp_path / "a.png").write_bytes(picture(1))
    for name in ("a.png", "b.png"):
        (tmp_path / "images" / name).write_bytes(picture(2))
    archive(tmp_path / "x.zip", {f"deep/in/{name}.png": picture(3) for name in "abc"})
    archive(tmp_path / "y.ZIP", {f"{name}.png": picture(4) for name in "cd"})
    pictures = Pictures(tmp_path)
    found = [pictures.read(f"{name}.png") for name in "abcd"]
    assert found == [picture(1), picture(2), picture(3), picture(4)]
    assert pictures.read("e.png") is None
    assert pictures.read("images") is None


def test_a_child_does_not_share_its_parents_open_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """They would share one place in the file and read each other's bytes."""
    archive(tmp_path / "x.zip", {"a.png": picture(1)})
    mine = pictures_of(str(tmp_path))
    assert pictures_of(str(tmp_path)) is mine
    monkeypatch.setattr(os, "getpid", lambda: -1)
    other = pictures_of(str(tmp_path))
    assert other.members["a.png"][0] is not mine.members["a.png"][0]


@pytest.mark.parametrize("data", [b"", b"PK\x05\x06", b"<html>not found</html>"])
def test_an_archive_that_is_none_says_so(tmp_path: Path, data: bytes):
    (tmp_path / "x.zip").write_bytes(data)
    with pytest.raises(DataError, match=r"x\.zip is no zip archive"):
        Pictures(tmp_path)


def test_an_archive_whose_list_is_damaged_says_so(tmp_path: Path):
    archive(tmp_path / "x.zip", {"a.png": picture(1)})
    data = (tmp_path / "x.zip").read_bytes()
    (tmp_path / "x.zip").write_bytes(data.replace(b"PK\x01\x02", b"PK\x00\x00"))
    with pytest.raises(DataError, match=r"x\.zip cannot be opened as a zip archive"):
        _pictures.Pictures(tmp_path)
