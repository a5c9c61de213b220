"""The page about runs: what must be on it, and that nothing in the files can break it."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from run_folders import (
    write_episodes,
    write_evaluation,
    write_everything,
    write_lines,
    write_played,
    write_table,
    write_training,
)

from tracer1.report.page import report

VOID = {"meta", "img", "br", "path", "use", "rect"}
EVIL = "<img src=x onerror=alert(1)><script>alert(2)</script>\" ' & $x_1$ \x00 \ud800"


class Page(HTMLParser):
    """Tags with their attributes, rows of tables, text; complains about tags that do not close."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(content)
        assert not self._open, f"not closed: {self._open}"

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self._open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if {"td", "th"} & set(self._open) and self.rows:
            self.rows[-1][-1] += data

    def row(self, *begin: str) -> list[str]:
        """The first row that begins so."""
        return next(row for row in self.rows if row[: len(begin)] == list(begin))


@pytest.fixture(scope="module")
def folder(tmp_path_factory, draw_screen) -> Path:
    outputs = tmp_path_factory.mktemp("runs")
    write_everything(outputs, draw_screen())
    return outputs


@pytest.fixture(scope="module")
def content(folder) -> str:
    return report([folder], folder / "report.html")


@pytest.fixture(scope="module")
def everything(content) -> Page:
    return Page(content)


def test_what_was_run_says_where_each_run_started_and_which_code_ran(everything):
    assert "demo/tiny_planner → stage1 → stage2" in everything.text
    ran = everything.row("seed2/stage2")
    assert ran[1:6] == ["2", "stage1", "4 of 4", "8", "2 min 00 s"]
    assert ran[7:] == ["finished", "0123456789 + changes"]
    assert everything.row("learning rate") == ["learning rate", "0.0001", "0.0002"]
    assert everything.row("seeds")[1:] == ["1, 2", "1, 2"]
    assert "+experiment=stage1 seed=1" in everything.text


def test_seeds_are_one_curve_and_say_each_value_under_the_pointer(content):
    assert "<title>round 4\nstage1: mean 0.55 of 0.5, 0.6\nstage2: mean 0.55 of 0.5, 0.6</title>" in content
    assert "stage2 (2 seeds)" in content


def test_evaluations_stand_in_the_order_of_the_chain_with_their_spread(everything):
    heads = next(row for row in everything.rows if row[0] == "figure" and "eval" in row[1])
    assert [head.split("demo/")[0].split("stage1;")[0].split("stage2;")[0] for head in heads[1:]] == [
        "eval before",
        "eval after stage 1",
        "eval after stage 2",
    ]
    assert everything.row("heldout/step_success")[1:] == ["0.415 ± 0.007", "0.515 ± 0.007", "0.615 ± 0.007"]
    assert everything.row("heldout/format")[3] == "–"  # null in the file


def test_benchmarks_have_intervals_and_rates_by_task(everything):
    figures = everything.row("raw_reward.success")
    assert figures[1:3] == ["21.0 % (11.0 to 31.0)", "22.0 % (12.0 to 32.0)"]
    assert everything.row("click-test")[1] == "90.0 % of 10, 1 fault"
    assert everything.row("login-user")[1] == "– of 0"
    assert "raw_reward: the page's own reward is 1" in everything.text


def test_the_last_table_never_mixes_ours_with_published_ones(everything):
    marked = [row for row in everything.rows if row and row[0] in ("ours", "published")]
    published = [row for row in marked if row[0] == "published"]
    assert [row[1:] for row in published] == [
        ["Some agent", "64.8 %", "headline", "Table 9"],
        ["Other agent", "30.0 %", "hard half", "Table 9"],
    ]
    ours = [row for row in marked if row[0] == "ours"]
    assert [row[1] for row in ours] == [
        "demo/tiny_planner, seed1",
        "demo/tiny_planner, seed2",
        "stage2, seed1",
        "stage2, seed2",
        "demo/tiny_planner: mean ± sample standard deviation of 2 seeds",
        "stage2: mean ± sample standard deviation of 2 seeds",
    ]
    assert ours[-1][2] == "51.5 % ± 0.7"
    assert marked == ours + published
    classes = [
        attrs.get("class")
        for tag, attrs in everything.tags
        if tag == "tr" and attrs.get("class") in ("ours", "published")
    ]
    assert classes == [row[0] for row in marked]


def test_what_was_left_out_is_said_once_with_its_reason(everything):
    assert "miniwob, all 4 runs: 2 excluded (flight-search, flight-book): needs another site" in everything.text
    assert "1 refused (draw-line): its metric cannot be computed here" in everything.text
    assert "fault in click-test, seed 7: the browser died" in everything.text


def test_samples_have_pictures_and_links_that_lead_somewhere(everything, folder):
    pictures = [attrs["src"] for tag, attrs in everything.tags if tag == "img"]
    assert len(pictures) == 2 + 3 * 2  # a rollout of each stage, two steps of each episode
    assert all(source.startswith("data:image/webp;base64,") for source in pictures)
    links = [
        unquote(attrs["href"]) for tag, attrs in everything.tags if tag == "a" and not attrs["href"].startswith("#")
    ]
    assert "seed1/stage1/tables/val-0004/page.html" in links
    assert all((folder / link).is_file() for link in links)
    assert "python tools/show_episode.py" in everything.text
    for score in ("score 1", "score 0", "no score"):
        assert score in everything.text


def test_sample_episodes_are_the_best_one_that_failed_and_one_that_met_a_fault(tmp_path, draw_screen):
    ends = [
        ("done", 0.0, ""),
        ("done", 0.2, ""),
        ("steps", -1.0, ""),
        ("done", 1.0, ""),
        ("fault", None, "died"),
        ("done", 1.0, ""),
    ]
    write_episodes(tmp_path, draw_screen(), ends)
    content = report([tmp_path], tmp_path / "out.html")
    assert re.findall(r"<h4>(task-\d)", content) == ["task-3", "task-0", "task-4"]


def test_a_link_leads_to_the_page_of_all_episodes_where_there_is_one(tmp_path, draw_screen):
    write_episodes(tmp_path, draw_screen(), [("done", 1.0, "")])
    (tmp_path / "episodes.html").write_text("<p>all</p>")
    assert 'href="episodes.html"' in report([tmp_path], tmp_path / "out.html")


def test_nothing_is_fetched_and_nothing_runs(content, everything):
    assert "default-src 'none'" in content
    assert not {tag for tag, _ in everything.tags} & {"script", "link", "iframe", "object"}
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//", content)
    assert "url(http" not in content
    assert not re.search(r"@import", content)
    assert len(content) < 1_000_000


def test_anything_in_a_file_is_only_text(tmp_path, draw_screen):
    training = write_training(tmp_path, "stage1", settings={"run_name": EVIL, "executor": {"name": EVIL}})
    write_table(training, 4, draw_screen(), instruction=EVIL)
    evil = EVIL.encode("utf-8", "replace").decode()
    with (training / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"time": 1e9, "step": 9, "round": 5, f"val/{evil}": 0.5}) + "\n")
    write_evaluation(tmp_path / "eval.json", EVIL, **{EVIL: 0.5})
    write_played(
        tmp_path / "play",
        EVIL,
        faults=[{"task": EVIL, "seed": EVIL, "fault": EVIL}],
        by_task={EVIL: {"success": 0.5, EVIL: EVIL}},
        refused={EVIL: EVIL},
        published=[{"agent": EVIL, "value": 0.5, "source": EVIL, "what": EVIL}],
        rules={EVIL: EVIL},
        counts={EVIL: EVIL},
    )
    record = write_episodes(tmp_path / "agent", draw_screen(), [("done", 0.0, EVIL)])
    record.write_text(
        record.read_text().replace("Click twice.", json.dumps(EVIL)[1:-1]).replace("task-0", json.dumps(EVIL)[1:-1])
    )
    page = Page(report([tmp_path], tmp_path / "out.html").encode(errors="replace").decode())
    assert not [tag for tag, _ in page.tags if tag == "script"]
    assert all(attrs.get("src", "").startswith("data:image/webp") for tag, attrs in page.tags if tag == "img")
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]
    assert page.text.count("alert(2)") > 15
    assert "\x00" not in page.text


def test_a_training_that_still_runs_is_shown_as_far_as_it_is(tmp_path):
    training = write_training(tmp_path, "stage1")
    (training / "policy").rmdir()
    with (training / "metrics.jsonl").open("a") as file:
        file.write('{"time": 1e9, "round": 5, "step": 10, "reward/to')
    page = Page(report([training], tmp_path / "out.html"))
    assert page.row("stage1")[3:5] == ["4 of 4", "8"]
    assert "not finished" in page.text
    assert "The last line of metrics.jsonl is cut off" in page.text


def test_damaged_files_are_named_and_the_rest_is_shown(tmp_path, draw_screen):
    training = write_training(tmp_path, "stage1")
    write_table(training, 4, draw_screen())
    (training / "tables" / "val-0004" / "table.json").write_text('{"columns": ["key"')
    (training / "config.yaml").write_text("a: [1")
    (training / "run.json").write_text("[]")
    (training / "hydra" / "overrides.yaml").write_bytes(b"\xff\xfe\x00")
    whole = write_played(tmp_path / "whole", "p")
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "miniwob.json").write_bytes(whole.read_bytes()[:300])
    (tmp_path / "agent").mkdir()
    (tmp_path / "agent" / "episodes.jsonl").write_text('{"kind": "turn"}\n')
    page = Page(report([tmp_path], tmp_path / "out.html"))
    for said in (
        "val-0004/table.json is no table of rollouts",
        "config.yaml cannot be read",
        "run.json cannot be read",
        "hydra/overrides.yaml cannot be read",
        "half/miniwob.json is no whole JSON",
        "no record of episodes",
    ):
        assert said in page.text, said
    assert page.row("raw_reward.success")
    assert page.row("stage1")[-1] == "not recorded"


def test_missing_pieces_leave_the_rest(tmp_path, draw_screen):
    (tmp_path / "bare").mkdir()
    write_lines(tmp_path / "bare" / "metrics.jsonl", [{"step": 0, "reward/total": 0.5}])
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "metrics.jsonl").touch()
    record = write_episodes(tmp_path / "agent", draw_screen(), [("done", 1.0, "")])
    for picture in record.parent.glob("screens-1/*"):
        picture.unlink()
    (tmp_path / "old.json").write_text(json.dumps({"benchmark": "old", "figures": {"val/old/rule.success": 0.25}}))
    page = Page(report([tmp_path], tmp_path / "out.html"))
    assert "Its config.yaml is missing" in page.text
    assert "no figures" in page.text
    assert "0000-0-001.png cannot be shown" in page.text
    assert page.row("rule.success")[1] == "25.0 %"


@pytest.mark.parametrize("nothing", [None, float("nan"), float("inf")])
def test_a_figure_of_which_nothing_counted_has_no_value_anywhere(tmp_path, nothing):
    write_played(tmp_path, "p", value=nothing)
    page = Page(report([tmp_path], tmp_path / "out.html"))
    assert page.row("raw_reward.success")[1] == "–"
    assert page.row("ours")[2] == "–"


def test_a_picture_outside_the_runs_folder_is_not_taken(tmp_path, draw_screen):
    training = write_training(tmp_path, "stage1")
    write_table(training, 4, draw_screen())
    table = training / "tables" / "val-0004" / "table.json"
    (tmp_path / "secret.png").write_bytes(draw_screen())
    table.write_text(table.read_text().replace("tables/val-0004/00.png", "../secret.png"))
    page = Page(report([tmp_path], tmp_path / "out.html"))
    assert "a picture outside the run's folder" in page.text
    assert not [tag for tag, _ in page.tags if tag == "img"]


def test_links_survive_strange_names(tmp_path, draw_screen):
    training = write_training(tmp_path / 'a #1 "x" ü%', "stage1")
    write_table(training, 4, draw_screen())
    page = Page(report([tmp_path], tmp_path / "pages" / "out.html"))
    links = [
        unquote(urlsplit(attrs["href"]).path)
        for tag, attrs in page.tags
        if tag == "a" and not attrs["href"].startswith("#")
    ]
    assert links
    assert all((tmp_path / "pages" / link).resolve().is_file() for link in links)
