"""What a report reads: which files it finds, what it takes from metrics, which trainings belong together."""

import json
import math
import os

import pytest
from run_folders import write_evaluation, write_lines, write_played, write_training

from tracer1.errors import DataError
from tracer1.report.found import find
from tracer1.report.groups import chain, grouped, parent
from tracer1.report.trainings import read_training


def test_a_folder_without_a_run_says_what_was_looked_for(tmp_path):
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy" / "config.json").write_text("{}")
    (tmp_path / "half.json").write_text('{"benchmark": ')
    with pytest.raises(
        DataError, match=r"No run in .*metrics\.jsonl.*episodes\.jsonl.*report=FILE.*half\.json is no whole JSON"
    ):
        find([tmp_path])


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match=r"typo is not there\. Name a run's folder"):
        find([tmp_path / "typo"])


def test_files_can_be_named_themselves_and_nothing_counts_twice(tmp_path):
    training = write_training(tmp_path, "stage1")
    played = write_played(tmp_path / "play", "p")
    found = find([tmp_path, training, training / "metrics.jsonl", played])
    assert found.trainings == [training]
    assert [report.path for report in found.benchmarks] == [played]
    assert find([played]).benchmarks[0].content["benchmark"] == "miniwob"


def test_other_json_files_are_nobodys_result(tmp_path):
    write_evaluation(tmp_path / "eval.json", "p", format=1.0)
    (tmp_path / "manifest.json").write_text('{"policy": "x", "shards": 3}')
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "deep.json").write_text("[" * 100_000)
    (tmp_path / "screens-1").mkdir()
    (tmp_path / "screens-1" / "x.json").write_text("{")
    found = find([tmp_path])
    assert len(found.evaluations) == 1
    assert not found.benchmarks
    assert found.problems == ["deep.json is no whole JSON: it was cut off, or is still being written."]


def test_a_benchmark_that_is_not_finished_is_named(tmp_path):
    write_training(tmp_path, "stage1")
    (tmp_path / "miniwob.episodes.jsonl.part").write_text('{"task": 1}\n{"task": 2}\n{"ta')
    said = "miniwob.episodes.jsonl.part: miniwob is still running or was stopped after 2 episodes: no figures."
    assert find([tmp_path]).problems == [said]


def test_a_folder_that_may_not_be_read_is_a_problem_and_no_end(tmp_path, monkeypatch):
    write_training(tmp_path, "stage1")
    (tmp_path / "closed").mkdir()
    scan = os.scandir

    def refuse(place):
        if str(place).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(place))
        return scan(place)

    monkeypatch.setattr(os, "scandir", refuse)
    assert "closed cannot be read (Permission denied)" in find([tmp_path]).problems[0]


def test_what_a_resumed_training_did_again_is_superseded_and_the_pause_does_not_count(tmp_path):
    training = write_training(tmp_path, "stage1", rounds=3)
    lines = [json.loads(line) for line in (training / "metrics.jsonl").read_text().splitlines()]
    again = [{"time": 2e9, "resumed_at_step": 4}, {"time": 2e9 + 10, "round": 2, "step": 4, "reward/total": 0.9}]
    write_lines(training / "metrics.jsonl", [*lines, *again])
    read = read_training(training)
    assert read.points("reward/total", by_round=True) == [(1.0, 0.2), (2.0, 0.9)]
    assert read.seconds == 90 + 10
    assert read.resumed == 1


def test_what_a_resumed_training_has_yet_to_do_again_is_not_shown(tmp_path):
    training = write_training(tmp_path, "stage1", rounds=3)
    with (training / "metrics.jsonl").open("a") as file:
        file.write('{"time": 2e9, "resumed_at_step": 4}\n')
    assert read_training(training).points("reward/total", by_round=True) == [(1.0, 0.2)]


def test_values_that_are_no_finite_numbers_are_counted_not_drawn(tmp_path):
    training = write_training(tmp_path, "stage1", rounds=1)
    odd = ["nan", "inf", None, "text", True, [1], {}, 0.7]
    lines = [{"time": None, "round": r, "step": r, "reward/total": value} for r, value in enumerate(odd, 3)]
    write_lines(training / "metrics.jsonl", lines)
    with (training / "metrics.jsonl").open("ab") as file:
        file.write(b'\xff\xfe\n[1, 2]\n{"step": "x", "reward/total": 1}\n{"half\n')
    read = read_training(training)
    assert read.points("reward/total", by_round=True) == [(10.0, 0.7)]
    assert any(problem.startswith("7 figures") for problem in read.problems)
    assert any(problem.startswith("3 lines") for problem in read.problems)


def test_figures_of_a_million_rounds_do_not_fill_the_memory(tmp_path):
    training = write_training(tmp_path, "long")
    lines = [{"time": 1e9 + r, "round": r, "step": r, "reward/total": math.sin(r)} for r in range(20_000)]
    write_lines(training / "metrics.jsonl", lines)
    series = read_training(training).series["reward/total"]
    assert len(series.values) == 20_000
    assert series.values.itemsize == 8


def test_secrets_are_not_shown(tmp_path):
    training = write_training(tmp_path, "stage1", settings={"executor": {"api_key": "sk-1"}})
    (training / "hydra" / "overrides.yaml").write_text("- executor.api_key=sk-1\n- engine.url=http://me:word@host\n")
    read = read_training(training)
    assert "sk-1" not in str(read.config) + str(read.overrides)
    assert read.overrides == ("executor.api_key=***", "engine.url=http://me:***@host")


def test_seeds_belong_together_and_values_of_a_sweep_are_told_apart(tmp_path):
    for number, (horizon, seed) in enumerate([(1, 1), (1, 2), (5, 1), (5, 2)]):
        settings = {"data": {"horizon": horizon, "seed": seed}}
        write_training(tmp_path / str(number), "sweep", seed, settings=settings, began=1e9 + number)
    groups = grouped([read_training(folder) for folder in find([tmp_path]).trainings])
    assert [(group.label, group.seeds) for group in groups] == [
        ("sweep, horizon=1", ["1", "2"]),
        ("sweep, horizon=5", ["1", "2"]),
    ]


def test_trainings_without_a_config_are_nobodys_seed(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_lines(tmp_path / name / "metrics.jsonl", [{"step": 0, "reward/total": 0.5}])
    assert len(grouped([read_training(tmp_path / name) for name in ("a", "b")])) == 2


def test_the_chain_is_found_after_the_folders_were_moved(tmp_path):
    place = tmp_path / "before" / "seed1"
    warm = write_training(place, "warmstart", began=3e9)  # clocks may differ
    one = write_training(place, "stage1", start=f"{warm}/policy", began=2e9)
    write_training(place, "stage2", start=f"{one}/policy", began=1e9)
    (tmp_path / "before").rename(tmp_path / "after")
    groups = grouped([read_training(folder) for folder in find([tmp_path / "after"]).trainings])
    assert [group.label for group in groups] == ["warmstart", "stage1", "stage2"]
    every = [training for group in groups for training in group.trainings]
    assert chain(every[-1], every) == ["demo/tiny_planner", "warmstart", "stage1", "stage2"]


def test_a_policy_is_known_by_the_end_of_its_path_if_only_one_has_it(tmp_path):
    for seed in (1, 2):
        write_training(tmp_path / f"seed{seed}", "stage1", seed)
    every = [read_training(folder) for folder in find([tmp_path]).trainings]
    assert parent("outputs/seed2/stage1/policy", every) is every[1]
    assert parent("stage1/policy", every) is None
    assert parent("outputs/seed2/stage1", every) is None
    assert parent("Qwen/Qwen3-VL-8B-Thinking", every) is None
    assert parent("", every) is None


def test_a_circle_of_policies_ends(tmp_path):
    one = write_training(tmp_path, "one", start=str(tmp_path / "two" / "policy"))
    write_training(tmp_path, "two", start=str(one / "policy"))
    groups = grouped([read_training(folder) for folder in find([tmp_path]).trainings])
    every = [training for group in groups for training in group.trainings]
    assert len(every) == 2
    assert len(chain(every[0], every)) <= 3
