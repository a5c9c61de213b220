"""Every experiment composes, and the paper's resolve to the paper's values (method, section 4)."""

from typing import Any

import pytest

from tracer1.training.overrides import CONF, check_overrides

EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))

PAPER = {
    "model.path": "Qwen/Qwen3-VL-8B-Thinking",
    "model.reference": "Qwen/Qwen3-VL-8B-Thinking",
    "model.dtype": "bfloat16",
    "trainer.precision": "bf16-true",
    "trainer.gradient_clip_val": 1.0,
    "optimizer._target_": "optimi.AdamW",
    "optimizer.lr": 1e-6,
    "optimizer.betas": [0.9, 0.999],
    "optimizer.weight_decay": 0.01,
    "algorithm.prompts_per_round": 512,
    "algorithm.prompts_per_update": 128,
    "algorithm.group_size": 5,
    "algorithm.clip_low": 0.2,
    "algorithm.clip_high": 0.3,
    "algorithm.clip_dual": 3.0,
    "algorithm.kl_coef": 0.01,
    "algorithm.sampling.temperature": 1.0,
    "algorithm.sampling.top_p": 0.99,
    "algorithm.sampling.max_tokens": 2048,
    "rounds": 143,
    "evaluation.sampling.temperature": 0.5,
    "evaluation.sampling.max_tokens": 2048,
    "model.prompt.max_prompt_tokens": 6144,
    "model.prompt.pixels": [262_144, 4_194_304],
    "model.prompt.horizon": 10,
    "model.prompt.style": "full",
    "data.horizon": 10,
}
STAGE_1 = {
    "trajectory_alignment": {
        "weight": 0.9,
        "gamma": 0.8,
        "position_penalty": 0.1,
        "acceptance": 0.5,
        "done_bonus": 0.2,
        "unmatched_penalty": 0.15,
        "repetition_penalty": 0.1,
        "ignore_reference_repetition": False,
    },
    "format": {"weight": 0.1, "require_step_instruction": False},
}
STAGE_2 = {
    "coordinate_match": {"weight": 0.9, "distance": 140.0, "distances": {}},
    "format": {"weight": 0.1, "require_step_instruction": False},
}


@pytest.fixture(autouse=True)
def root(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TRACER1_ROOT", str(CONF.parent))


def compose(experiment: str) -> dict[str, Any]:
    return check_overrides("eval" if experiment.endswith("_eval") else "train", [f"+experiment={experiment}"])


def value(config: dict[str, Any], name: str) -> Any:
    for part in name.split("."):
        config = config[part]
    return config


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_composes(experiment: str):
    config = compose(experiment)
    assert config["model"]["prompt"]["horizon"] == config["data"]["horizon"]


@pytest.mark.parametrize(
    "group", sorted(path.name for path in CONF.iterdir() if path.is_dir() and path.name != "experiment")
)
def test_every_choice_composes(group: str):
    added = {
        "benchmark": ("eval", "+"),
        "environment": ("agent", "+"),
        "study": ("train", "+"),
        "cluster": ("train", "+"),
    }
    entry, plus = added.get(group, ("train", ""))
    for path in (CONF / group).glob("*.yaml"):
        check_overrides(entry, [f"{plus}{group}={path.stem}"])


@pytest.mark.parametrize("experiment", ["stage1_gui", "stage2_gui"])
def test_both_stages_have_the_papers_values(experiment: str):
    config = compose(experiment)
    paper = dict(PAPER)
    if experiment == "stage2_gui":  # from stage 1's policy, which is also the reference
        paper |= {"model.path": "outputs/stage1_gui/policy", "model.reference": "outputs/stage1_gui/policy"}
    assert {name: value(config, name) for name in paper} == paper
    assert "lr_scheduler" not in config["optimizer"]  # constant, no warm-up


def test_the_stages_differ_in_reward_and_executor_alone():
    one, two = compose("stage1_gui"), compose("stage2_gui")
    assert one["reward"]["terms"] == STAGE_1
    assert two["reward"]["terms"] == STAGE_2
    assert one["executor"]["name"] is None
    assert two["executor"]["name"] == "ui_tars"  # the paper's frozen tool agent
    assert {name for name in one if one[name] != two[name]} == {
        "reward",
        "executor",
        "run_name",
        "paths",
        "model",
        "logger",
    }
    assert {name for name in one["model"] if one["model"][name] != two["model"][name]} == {"path", "reference"}


@pytest.mark.parametrize("executor", sorted(path.stem for path in (CONF / "executor").glob("*.yaml")))
def test_stage_2_composes_with_each_executor(executor: str):
    check_overrides("train", ["+experiment=stage2_gui", f"executor={executor}"])


@pytest.mark.parametrize(("demo", "executor"), [("demo", "direct"), ("demo_tool", "t3")])
def test_a_demo_chains_its_stages(demo: str, executor: str):
    one, two, evaluation = (compose(f"{demo}_{part}") for part in ("stage1", "stage2", "eval"))
    assert two["model"]["path"] == one["paths"]["output_dir"] + "/policy"
    assert (one["executor"]["name"], two["executor"]["name"]) == (None, executor)
    assert one["data"] == two["data"] == evaluation["data"] | {"val_limit": one["data"]["val_limit"]}


def test_the_tool_demo_is_judged_as_it_is_trained():
    two, evaluation = compose("demo_tool_stage2"), compose("demo_tool_eval")
    assert two["reward"] == evaluation["reward"] == compose("warmstart_tool")["reward"]
    assert two["executor"] == evaluation["executor"]
