"""The table of rollouts: its page, its JSON and what reaches the logger."""

import io
import json
from pathlib import Path

from PIL import Image

from tracer1.schema import Action, Outcome, Plan, PlanStep, Response, Rollout, Step
from tracer1.tracking.tables import log_rollouts


class Keeper:
    def __init__(self, output_dir: Path) -> None:
        self.output_dir = output_dir
        self.kept: list[Path] = []

    def log_artifact(self, path: Path) -> None:
        self.kept.append(path)


def rollout(key: str = "d-t-000", screenshot: bytes | None = None, text: str = "", **fields: object) -> Rollout:
    future = (PlanStep(Action("click", "press OK", point=(1, 1))),)
    step = Step(key, "d", "t", 0, "press <OK> & leave", screenshot, (), future)
    return Rollout(step, Response(text, (1,), (0.0,)), **fields)


def png() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (800, 700), (9, 9, 9)).save(out, "PNG")
    return out.getvalue()


def test_page_and_table_hold_what_a_person_needs(tmp_path: Path) -> None:
    plan = Plan(steps=(PlanStep(Action("click", "press <it>", point=(500, 500))), PlanStep(None, error="no JSON")))
    one = rollout(screenshot=png(), text="a plan", plan=plan, reward=0.75, terms={"format": 0.5, "alignment": 0.8})
    two = rollout("d-t-001", reward=0.25, terms={"format": 0.0}, outcome=Outcome(error="no such window"))
    keeper = Keeper(tmp_path)
    folder = log_rollouts(keeper, [one, two], 3)
    assert keeper.kept == [folder] == [tmp_path / "tables" / "val-0003"]
    table = json.loads((folder / "table.json").read_text())
    assert table["columns"] == [
        "key",
        "instruction",
        "screenshot",
        "response",
        "reward",
        "format",
        "alignment",
        "error",
    ]
    assert table["data"][0][2]["filepath"] == "tables/val-0003/00.png"
    assert table["data"][0][3:] == ["a plan", 0.75, 0.5, 0.8, "step 2: no JSON"]
    assert table["data"][1][2:] == ["", "", 0.25, 0.0, None, "no such window"]
    assert Image.open(folder / "00.png").size == (800, 700)
    page = (folder / "page.html").read_text()
    assert page.count("data:image/png;base64,") == 1
    assert "mean reward 0.500" in page
    assert "no screenshot" in page


def test_text_is_escaped(tmp_path: Path) -> None:
    evil = '<script>alert("1")</script>$title'
    plan = Plan(steps=(PlanStep(Action(evil, evil)),), error=evil)
    folder = log_rollouts(
        Keeper(tmp_path), [rollout(evil, text=evil, plan=plan, reward=1.0, terms={evil: 1.0})], 1, "train"
    )
    page = (folder / "page.html").read_text()
    assert "<script" not in page
    assert page.count("&lt;script&gt;") == 6
    assert "press &lt;OK&gt; &amp; leave" in page


def test_at_most_24_rows_spread_over_the_rollouts(tmp_path: Path) -> None:
    folder = log_rollouts(Keeper(tmp_path), [rollout(f"k{i}", reward=0.0) for i in range(240)], 1)
    keys = [row[0] for row in json.loads((folder / "table.json").read_text())["data"]]
    assert keys == [f"k{i}" for i in range(0, 240, 10)]


def test_bad_screenshots_odd_text_and_no_rollouts_do_no_harm(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path)
    odd = rollout(screenshot=b"broken", text="half an emoji \ud83d")
    assert log_rollouts(keeper, [odd], 1)
    assert log_rollouts(keeper, [rollout()], 1)  # a resumed training does the round again
    assert log_rollouts(keeper, [], 2)
    (tmp_path / "blocked").write_text("")
    assert log_rollouts(Keeper(tmp_path / "blocked"), [odd], 1) is None
