"""Scores a policy on held-out steps: `python src/tracer1/eval.py model.path=outputs/demo_stage1/policy`. Builds and wires only."""

import os
import sys

if (
    __name__ == "__main__"
):  # Python puts this file's folder on the path, where our names shadow libraries; put src/ there
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import json
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from tracer1.training.entry import launch, load_plugins, quiet_libraries


def main(cfg: DictConfig) -> None:
    """Reads the config, samples and scores, prints the figures."""
    import torch  # only now: a mistake in the config is answered before torch is loaded

    from tracer1.data.datamodule import StepDataModule
    from tracer1.engines import ENGINES
    from tracer1.executors import EXECUTORS
    from tracer1.models.options import ModelOptions
    from tracer1.models.policy import PolicyModule
    from tracer1.rewards import build_reward
    from tracer1.training import recipes
    from tracer1.training.progress import ProgressReporter
    from tracer1.training.summary import final_summary

    quiet_libraries()
    load_plugins(cfg.plugins)
    plain = OmegaConf.to_container(cfg, resolve=True)
    model, reporter = plain["model"], ProgressReporter()
    parts = {
        "engine": recipes.build(ENGINES, plain["engine"]),
        "executor": recipes.build(EXECUTORS, plain["executor"]),
        "reward": build_reward(plain["reward"]["terms"]),
    }
    steps = StepDataModule(**plain["data"]).val_steps()
    policy = PolicyModule(model["path"], prompt=model["prompt"], optimizer=None, options=ModelOptions.of(model))
    evaluator = recipes.make_evaluator(steps, plain["evaluation"], parts, cfg.seed)
    evaluator.report = reporter.stage
    reporter.start(None)
    figures, rollouts = evaluator.run(policy.to("cuda" if torch.cuda.is_available() else "cpu"))
    reporter.stop()
    rows = {"policy": model["path"], "held-out steps": len(rollouts), **{k: f"{v:.3f}" for k, v in figures.items()}}
    final_summary(rows, cfg.run_name)
    if cfg.report:
        Path(cfg.report).parent.mkdir(parents=True, exist_ok=True)
        Path(cfg.report).write_text(json.dumps({"policy": model["path"], "steps": len(rollouts), **figures}, indent=1))


if __name__ == "__main__":
    launch(main, "eval")
