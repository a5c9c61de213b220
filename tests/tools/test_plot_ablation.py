"""`tools/plot_ablation.py` and the store that it reads: MLflow alone."""

import runpy
import sys
from pathlib import Path

import pytest

from tracer1.tracking.studies import Job, StudyStore

TOOL = Path(__file__).resolve().parents[2] / "tools" / "plot_ablation.py"
METRIC = "val/heldout/step_success"


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store with two studies; nobody changes it."""
    address = f"sqlite:///{tmp_path_factory.mktemp('studies')}/mlflow.db"
    store = StudyStore(address)
    for study in ("toy", "other"):
        about = {"metrics": METRIC, "expect": "2 > 1", "claim": "more is better", "labels": "{}"}
        parent = store.parent(study, "T", about)
        assert store.parent(study, "T", about) == parent
        for seed in (1, 2):
            for value in ("1", "2"):
                store.log(parent, Job(study, value, seed, {METRIC: 0.1}), {})
                store.log(parent, Job(study, value, seed, {METRIC: int(value) / 10}), {})  # over the first one
    return address


def plot(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", [str(TOOL), *arguments])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(TOOL), run_name="__main__")
    return stop.value.code


def test_a_job_that_is_logged_again_is_one_row(uri: str):
    runs = StudyStore(uri).read("toy")
    assert [(job.value, job.seed) for job in sorted(runs.jobs, key=lambda j: (j.value, j.seed))] == [
        ("1", 1), ("1", 2), ("2", 1), ("2", 2),
    ]  # fmt: skip
    assert {job.figures[METRIC] for job in runs.jobs if job.value == "2"} == {0.2}
    assert runs.variable == "T"


def test_the_store_takes_what_a_study_says_of_itself_anew(uri: str):
    store = StudyStore(uri, "another experiment")
    store.parent("toy", "T", {"claim": "old"})
    store.parent("toy", "T", {"claim": "new"})
    assert store.read("toy").about["claim"] == "new"
    assert store.names() == ["toy"]


def test_one_study(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "toy.png"
    assert plot(monkeypatch, "--study", "toy", "--tracking-uri", uri, "--out", str(out)) == 0
    shown = capsys.readouterr().out
    assert "more is better" in shown
    assert "| 2 | 0.200 ± 0.000 | 2 |" in shown
    assert out.read_bytes().startswith(b"\x89PNG")


def test_all_of_them_and_a_page(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    page = tmp_path / "page.md"
    page.write_text("<!-- study other -->\n<!-- end -->\n")
    asked = ["--study", "all", "--tracking-uri", uri, "--out", str(tmp_path), "--markdown", str(page)]
    assert plot(monkeypatch, *asked) == 0
    assert {path.name for path in tmp_path.glob("*.svg")} == {"ablation_other.svg", "ablation_toy.svg"}
    assert "| 1 | 0.100 ± 0.000 | 2 |" in page.read_text()


def test_mistakes_are_one_line(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    for arguments, said in (
        (["--study", "toy", "--tracking-uri", "sqlite:///nowhere/mlflow.db"], "There is no database"),
        (["--study", "tou"], "no study 'tou'. There are: other, toy. Run one: train.py +experiment=ablation_tou"),
        (["--study", "all", "--out", "a.png"], "give a folder"),
        (["--study", "toy", "--out", str(tmp_path), "--markdown", str(tmp_path / "no.md")], "no page"),
    ):
        assert plot(monkeypatch, "--tracking-uri", uri, *arguments) == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        assert said in lines[0]
