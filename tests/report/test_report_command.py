"""`tools/report.py`: its answers to a user, and what it does to the file that is there already."""

from pathlib import Path

import pytest
from run_folders import tool_main, write_played


@pytest.fixture(scope="module")
def main():
    return tool_main("report")


@pytest.fixture
def run(tmp_path) -> Path:
    write_played(tmp_path / "run", "p\ud800")  # half a character is no UTF-8
    return tmp_path / "run"


def test_the_page_is_written_over_an_earlier_one(main, run, tmp_path, capsys):
    out = tmp_path / "pages" / "report.html"
    out.parent.mkdir()
    out.write_text("earlier")
    assert main([str(run), "--out", str(out)]) == 0
    assert out.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert [path.name for path in out.parent.iterdir()] == ["report.html"]
    assert capsys.readouterr().out == f"{out}: 0.0 MB\n"


def test_a_mistake_is_one_line_and_the_earlier_page_stays(main, run, tmp_path, capsys):
    out = tmp_path / "report.html"
    out.write_text("earlier")
    (tmp_path / "empty").mkdir()
    for wrong in ("typo", "empty"):
        assert main([str(tmp_path / wrong), "--out", str(out)]) == 2
    assert main([str(run), "--out", str(run)]) == 2
    assert main([str(run), "--out", str(out / "inside.html")]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 4
    assert "cannot be written" in said[2]
    assert "Choose another --out" in said[3]
    assert out.read_text() == "earlier"
    assert not list(tmp_path.glob("*.tmp"))


def test_ctrl_c_writes_nothing(main, run, tmp_path, capsys, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setitem(main.__globals__, "report", stopped)
    assert main([str(run), "--out", str(tmp_path / "report.html")]) == 130
    assert capsys.readouterr().err == "Stopped: nothing was written.\n"
    assert not (tmp_path / "report.html").exists()
