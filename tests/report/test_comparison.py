"""What differs between runs: folders and MLflow, machines, seeds; and what is said where a name is wrong."""

import math
from pathlib import Path

import pytest
from run_folders import tool_main, write_training

from tracer1.report.comparison import Value, compare, difference, direction
from tracer1.report.trainings import Training, read_training
from tracer1.tracking.delivery import Pace
from tracer1.tracking.mlflow_logger import RunLogger


@pytest.fixture(scope="module")
def main():
    return tool_main("compare_runs")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A sweep of two seeds, a run that was resumed, and one of another rate; nobody changes it."""
    folder = tmp_path_factory.mktemp("store")
    uri = f"sqlite:///{folder}/mlflow.db"
    sweep = {"folder": str(folder / "sweep"), "name": "slow", "common": [], "swept": []}
    for name, seed, rate, more in (
        ("slow 1", 1, 1e-4, {"sweep": sweep}),
        ("slow 2", 2, 1e-4, {"sweep": sweep}),
        ("fast", 1, 2e-4, {}),
    ):
        logger = RunLogger(str(folder / name), tracking_uri=uri, run_name=name, system_metrics=False, **more)
        logger.pace = Pace(between_s=0.0)
        logger.log_hyperparams({"run_name": name, "seed": seed, "optimizer": {"lr": rate}})
        for round_ in range(1, 4):
            logger.log_metrics(
                {"val/heldout/step_success": rate * 1000 * round_ + seed / 100, "round": round_}, 2 * round_
            )
        if name == "fast":  # killed after round 3, resumed after round 2
            for round_ in (3, 4):
                logger.log_metrics({"val/heldout/step_success": 0.9, "round": round_}, 2 * round_)
        logger.finalize("success")
    return uri


def folders(tmp_path: Path) -> list[Training]:
    """Two seeds on one machine, two of a higher rate on another."""
    made = []
    for machine, rate in (("home/ada/outputs", 1e-4), ("scratch/bob/outputs", 2e-4)):
        for seed in (1, 2):
            settings = {
                "optimizer": {"lr": rate},
                "executor": {"url": f"http://{machine[:4]}:8001"},
                "logger": {"tracking_uri": machine},
            }
            made.append(read_training(write_training(tmp_path / machine / f"s{seed}", "run", seed, settings=settings)))
    return made


def test_runs_of_two_machines_differ_in_what_was_set_alone(tmp_path: Path):
    found = compare(folders(tmp_path))
    assert [side.seeds for side in found.sides] == [["1", "2"], ["1", "2"]]
    assert dict(found.settings) == {"optimizer.lr": ["0.0001", "0.0002"]}
    assert not found.code
    assert [side.label for side in found.sides] == ["run, lr=0.0001", "run, lr=0.0002"]
    (last,) = [row for row in found.rows if row.metric == "reward/total"]
    assert last.kind == "last"  # the last is the best, and is said once
    assert last.values[0].by_seed == pytest.approx({"1": 0.5, "2": 0.6})
    assert (last.differences[0], last.differences[1].value) == (None, pytest.approx(0))


def test_data_with_another_digest_is_another_side(tmp_path: Path):
    one, two, *_ = folders(tmp_path)
    one.data, two.data = {"training toy": "aaaa"}, {}
    assert len(compare([one, two]).sides) == 1  # an earlier version did not record it
    two.data = {"training toy": "bbbb"}
    assert dict(compare([one, two]).data) == {"training toy": ["aaaa", "bbbb"]}


def test_what_is_beyond_the_spread_of_seeds():
    assert difference(Value({"1": 0.1, "2": 0.3}), Value({"1": 0.2, "2": 0.4})).beyond  # 0.1 in every pair
    apart = difference(Value({"1": 0.1, "2": 0.3}), Value({"3": 0.2, "4": 0.4}))  # Welch: the seeds tell nothing
    assert (apart.value, apart.beyond) == (pytest.approx(0.1), False)
    assert apart.half_width == pytest.approx(4.303 * math.sqrt(0.02 / 2 + 0.02 / 2))
    alone = difference(Value({"1": 0.1, "2": 0.3}), Value({"1": 0.9}))
    assert alone.half_width == pytest.approx(12.706 * math.sqrt(0.02) * math.sqrt(1.5))
    assert difference(Value({"1": 0.1}), Value({"1": 0.2})).beyond is None


@pytest.mark.parametrize(
    ("metric", "better"),
    [("val/heldout/step_success", 1), ("val/heldout/repeating", -1), ("val/heldout/plan_length", 0), ("sft/loss", -1),
     ("policy/loss", 0), ("rollout/truncated", -1), ("policy/kl", 0), ("reward/total", 1), ("val/x/success.click-test", 1)],
)  # fmt: skip
def test_which_way_is_better(metric: str, better: int):
    assert direction(metric) == better


def test_the_command_compares_a_sweep_with_a_run_of_another_place(main, store: str, tmp_path: Path, capsys):
    folder = write_training(tmp_path / "elsewhere", "other", 1)
    out = tmp_path / "out"
    assert main(["sweep slow", "fast", str(folder), "--tracking-uri", store, "--out", str(out)]) == 0
    said = capsys.readouterr().out
    (line,) = [line for line in said.splitlines() if line.startswith("val/heldout/step_success ")]
    assert line.split()[1:4] == ["0.315", "±", "0.0071"]  # 0.31 and 0.32
    assert "0.9  +0.585 *" in line
    (rates,) = [line.split() for line in said.splitlines() if line.startswith("optimizer.lr")]
    assert rates == ["optimizer.lr", "0.0001", "0.0002", "0.0001"]
    page = (out / "comparison.html").read_text()
    assert "<script" not in page
    assert page.count("<h2>") == 4
    assert (out / "curves" / "val.heldout.step_success.svg").read_text().startswith("<?xml")


def test_a_resumed_run_of_a_store_leaves_out_what_it_did_again(store: str):
    from tracer1.report.chosen import runs_named

    (training,) = runs_named(["fast"], [store])
    points = training.points("val/heldout/step_success", by_round=True)
    assert dict(points) == pytest.approx({1.0: 0.21, 2.0: 0.41, 3.0: 0.9, 4.0: 0.9})
    assert (training.seed, training.finished) == ("1", True)


def test_the_best_of_an_experiment_and_the_beginning_of_an_id(main, store: str, tmp_path: Path, capsys):
    from tracer1.report.chosen import runs_named, runs_of_experiment

    best = runs_of_experiment("tracer1", [store], "val/heldout/step_success", 2)
    assert [name.partition(" (")[0] for name in best.values()] == ["fast", "slow 2"]
    identity = next(iter(best.values())).partition(" (")[2][:8]
    assert next(iter(runs_named([identity], [store]).values())).startswith("fast (")
    asked = ["--experiment", "tracer1", "--best-by", "val/heldout/step_sucess", "--tracking-uri", store]
    assert main([*asked, "--out", str(tmp_path)]) == 2
    assert "Near it: val/heldout/step_success" in capsys.readouterr().err


def test_a_mistyped_run_is_one_line_with_the_nearest_names(main, store: str, tmp_path: Path, capsys):
    for asked, said in (
        ("fsat", "There is no run or folder 'fsat'"),
        ("slow 3", "Near it: slow 2, slow 1"),
    ):
        assert main([asked, "--tracking-uri", store, "--out", str(tmp_path)]) == 2
        err = capsys.readouterr().err
        assert said in err
        assert err.count("\n") == 1
    assert main(["fast", "--tracking-uri", f"sqlite:///{tmp_path}/none.db"]) == 2
    assert "There is no database" in capsys.readouterr().err
    assert not (tmp_path / "none.db").exists()
    with pytest.raises(SystemExit) as stop:
        main([])
    assert stop.value.code == 2
