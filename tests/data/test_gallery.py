"""tools/browse_shards.py writes one page that shows everything, loads nothing and believes no text."""

import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from toy_steps import toy_shards, trajectory

from tracer1.data.gallery import sample_trajectories, write_gallery
from tracer1.data.inspection import find_shards
from tracer1.data.shards import write_shards
from tracer1.errors import DataError
from tracer1.schema import Action

TOOL = Path(__file__).parents[2] / "tools" / "browse_shards.py"


def browse(*args) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, TOOL, *map(str, args)], capture_output=True, text=True, timeout=100)


class Page(HTMLParser):
    """The tags, texts and addresses of a page; a tag that is not closed in order is an error."""

    VOID = ("meta", "img", "br", "link", "input")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.texts: list[str] = []
        self.ids: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href")]
        self.ids += [value for name, value in attrs if name == "id"]
        assert not [name for name, _ in attrs if name.startswith("on")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.texts.append(data)


NASTY = '<script>alert("x")</script> & \' " </li> $title ${x} 😀'


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("gallery")
    shown = [replace(step, instruction=NASTY) for step in trajectory("a<b>", 5)]
    nasty = replace(shown[1].future[0], action=Action("type", NASTY, content=NASTY), screenshot_abstraction=NASTY)
    shown[1] = replace(shown[1], future=(nasty, *shown[1].future[1:]), meta={"licence": NASTY})
    call = replace(
        shown[0].future[0], action=Action("search", "look", arguments={"q": NASTY}, code=f"print({NASTY!r})")
    )
    tool = [
        replace(trajectory("t", 1, "tools", image=None)[0], platform="tool", future=(call,), meta={"files": ["a.pdf"]})
    ]
    write_shards([shown, trajectory("blind", 3, image=None)], folder, split="train", prefix="toy")
    write_shards([tool], folder, split="train", prefix="tools")
    return folder


def test_the_page_shows_every_step_and_loads_nothing(folder, tmp_path):
    done = browse(folder, "--out", tmp_path / "new" / "gallery.html")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "new" / "gallery.html").read_text()
    assert done.stdout.startswith(f"{tmp_path}/new/gallery.html: 3 trajectories, 9 steps, 0.")
    page = Page(text)
    assert (page.tags.count("section"), page.tags.count("article"), page.tags.count("img")) == (3, 9, 5)
    assert len(set(page.ids)) == len(page.ids)
    assert page.tags.count("script") == 1  # the page's own
    assert all(address.startswith(("#", "data:image/webp;base64,")) for address in page.addresses)
    assert not set(page.addresses) & {address for address in page.addresses if "http" in address[:10]}
    assert "default-src 'none'" in text
    shown = " ".join("".join(page.texts).split())
    assert shown.count("no screenshot") == 4
    assert " ".join(NASTY.split()) in shown
    for words in (
        "24 × 16, scaled to",
        "Reference plan: 5 steps",
        "History: 4 steps",
        "a.pdf",
        "print(",
        "licence none",
    ):
        assert words in shown


def test_a_picture_that_does_not_decode_is_said(tmp_path):
    steps = trajectory("a", 1)
    steps[0] = replace(steps[0], screenshot=steps[0].screenshot[:60])
    [path] = write_shards([steps], tmp_path, split="train", prefix="toy")
    write_gallery(sample_trajectories([path], 1), tmp_path / "x.html", "t")
    assert "is not an image" in (tmp_path / "x.html").read_text()


def test_sampling_is_drawn_by_the_seed_and_spread_over_shards(tmp_path):
    shards = [Path(path) for path in toy_shards(tmp_path, 5, per_shard=6)]

    def names(count: int, seed: int = 0) -> list[str]:
        return [found[0].record["trajectory"] for found in sample_trajectories(shards, count, seed)]

    assert names(5) == names(5)
    assert names(5) != names(5, seed=1)
    assert {name[0] for name in names(5)} == set("01234")  # one of each
    assert len(set(names(12))) == 12
    assert len(set(names(100))) == 30  # there are no more


def test_one_data_set_can_be_picked(folder):
    shards = find_shards(folder)
    assert [found[0].record["dataset"] for found in sample_trajectories(shards, 5, dataset="tools")] == ["tools"]
    with pytest.raises(
        DataError, match=r"No trajectory of data set 'tool' in 2 shards. Did you mean 'tools'\? There are"
    ):
        sample_trajectories(shards, 5, dataset="tool")


def test_enough_come_although_a_shard_has_few(tmp_path):
    few = write_shards([trajectory("only", 1)], tmp_path, split="train", prefix="a")
    many = write_shards([trajectory(f"m{n}", 1) for n in range(9)], tmp_path, split="train", prefix="b")
    for seed in range(4):
        assert len(sample_trajectories([*few, *many], 8, seed)) == 8


def test_mistakes_are_answered_in_one_line(folder, tmp_path):
    absent = browse(tmp_path / "absent", "--out", tmp_path / "x.html")
    assert (absent.returncode, absent.stderr.count("\n")) == (2, 1)
    assert "There is no folder" in absent.stderr
    none = browse(folder, "--out", tmp_path / "x.html", "--trajectories", "0")
    assert none.returncode == 2
    assert "--trajectories is 0; it must be at least 1" in none.stderr
    (tmp_path / "file").write_text("")
    there = browse(folder, "--out", tmp_path / "file" / "x.html")
    assert there.returncode == 2
    assert "cannot be written" in there.stderr
    assert not (tmp_path / "x.html").exists()
