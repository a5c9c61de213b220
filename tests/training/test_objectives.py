"""Every objective through the whole program: composed, trained for a round or two, exported; and the dump replayed."""

from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tracer1.algorithms.objective import NAMES, Objective
from tracer1.engines.rollout_file import read_rollouts
from tracer1.tracking.journal import read_metrics
from tracer1.training.overrides import CONF
from tracer1.training.settings import SETTINGS

# nothing is validated, which torchmetrics finds odd
pytestmark = pytest.mark.filterwarnings("ignore:The ``compute`` method of metric PlanMean:UserWarning")
SHORT = ("rounds=1", "evaluation.every=9", "data.val_limit=0")
RUNS = {
    "dapo": ("algorithm.overlong.buffer=4", "algorithm.dynamic_sampling.max_draws=2"),
    "dr_grpo": (),
    "gspo": (),
    "rloo": (),
    "reinforce_pp": (),
    "reinforce_pp_baseline": (
        "algorithm=reinforce_pp",
        "algorithm.advantages=centred_round_z_score",
        "algorithm.kl_in=loss",
        "algorithm.kl_kind=k2",
    ),
    "first_update_on_policy": ("algorithm=grpo", "algorithm.old_logprobs=first_update_on_policy"),
    "engine": ("algorithm=grpo", "algorithm.old_logprobs=engine", "algorithm.kl_coef=0"),
}


def round_figures(run: Path) -> list[dict[str, float]]:
    return [line for line in read_metrics(run / "metrics.jsonl") if "reward/total" in line]


@pytest.mark.parametrize("name", RUNS)
def test_every_objective_trains(name: str, train: Callable[..., object], toy: Path, tmp_path: Path):
    own = RUNS[name]
    choice = () if own and own[0].startswith("algorithm=") else (f"algorithm={name}",)
    done = train(*choice, *own, *SHORT)
    assert done.code == 0, done.stderr
    [figures] = round_figures(tmp_path / "run")
    assert 0 < figures["rollout/logprob_error"] < 1e-3  # whoever measures it
    assert figures["optim/skipped"] == 0
    assert figures["optim/grad_norm"] > 0
    without_kl = name in ("dapo", "dr_grpo", "gspo", "engine")
    assert ("policy/kl" in figures) != without_kl
    before, after = (
        load_file(folder / "model.safetensors") for folder in (toy / "planner", tmp_path / "run" / "policy")
    )
    assert any(not before[key].equal(after[key]) for key in before)


def test_every_shipped_algorithm_is_tried():
    shipped = {path.stem for path in (CONF / "algorithm").glob("*.yaml")}
    assert shipped - set(RUNS) == {"grpo"}  # which all other tests train with


def test_the_config_knows_the_objectives_names_and_defaults(monkeypatch: pytest.MonkeyPatch):
    from tracer1.algorithms.objective import make_objective
    from tracer1.training.overrides import check_overrides

    monkeypatch.setenv("TRACER1_ROOT", str(CONF.parent))
    assert {name: SETTINGS[f"algorithm.{name}"].known for name in NAMES} == NAMES
    assert make_objective(check_overrides("train", [])["algorithm"]) == Objective()


def test_a_run_whose_engine_drifts_is_stopped_with_one_line(train: Callable[..., object], tmp_path: Path):
    for mode in ("recompute", "engine"):  # before the updates, and after them
        done = train("algorithm.logprob_error_stop=1e-12", f"algorithm.old_logprobs={mode}", "overwrite=true", *SHORT)
        assert done.error.startswith("rollout/logprob_error is ")
        assert "nats per token in round 1, above algorithm.logprob_error_stop=1e-12" in done.error


def test_a_dump_replays_to_the_same_weights(train: Callable[..., object], tmp_path: Path, one_thread: None):
    two = ("rounds=2", *SHORT[1:])
    assert train(f"rollout.dump={tmp_path}/dump", *two).code == 0
    records = list(read_rollouts(tmp_path / "dump"))
    assert len({record.seed for record in records}) == len(records) == 2 * 4 * 3
    assert train("engine=recorded", f"engine.folder={tmp_path}/dump", "run_name=again", *two).code == 0
    first, again = (tmp_path / run / "policy" / "model.safetensors" for run in ("run", "again"))
    assert first.read_bytes() == again.read_bytes()


def test_dynamic_sampling_goes_on_bit_for_bit(train: Callable[..., object], tmp_path: Path, one_thread: None):
    """Redrawn prompts move the stream's place and the noise; stopped after round 1 or not, rounds 2 and 3 are the same."""
    dapo = (
        *RUNS["dapo"],
        "algorithm=dapo",
        *SHORT[1:],
        "+reward.terms.rare.weight=1.0",
        "++reward.terms.letters.weight=0.0",
    )
    assert train(*dapo, "rounds=3").code == 0
    assert train(*dapo, "rounds=1", "run_name=parts").code == 0
    assert train(*dapo, "rounds=3", "run_name=parts", "ckpt_path=last").code == 0
    whole, parts = (round_figures(tmp_path / name) for name in ("run", "parts"))
    assert sum(line["rollout/dropped_groups"] for line in whole) > 0
    for name in ("reward/total", "rollout/dropped_groups", "policy/loss", "data/epoch", "optim/grad_norm"):
        assert [line[name] for line in parts] == [line[name] for line in whole]
    first, again = (tmp_path / run / "policy" / "model.safetensors" for run in ("run", "parts"))
    assert first.read_bytes() == again.read_bytes()
