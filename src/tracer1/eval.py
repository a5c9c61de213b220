"""Scores a policy on held-out steps: `python src/tracer1/eval.py model.path=outputs/demo_stage1/policy`. Builds and wires only."""

import os
import sys

if (
    __name__ == "__main__"
):  # Python puts this file's folder on the path, where our names shadow libraries; put src/ there
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from tracer1.training.entry import launch, load_plugins, quiet_libraries


def main(cfg: DictConfig) -> None:
    """Reads the config, samples and scores, prints the figures."""
    import torch  # only now: a mistake in the config is answered before torch is loaded

    from tracer1.benchmarks import BENCHMARKS, run_benchmark
    from tracer1.engines import ENGINES
    from tracer1.executors import EXECUTORS
    from tracer1.models.options import ModelOptions
    from tracer1.models.policy import PolicyModule
    from tracer1.rewards import build_reward
    from tracer1.training import recipes
    from tracer1.training.progress import ProgressReporter
    from tracer1.training.round_rules import FaultLimit
    from tracer1.training.summary import EvaluationReport, write_report

    quiet_libraries()
    load_plugins(cfg.plugins)
    plain = OmegaConf.to_container(cfg, resolve=True)
    model = plain["model"]
    parts = {
        "engine": recipes.build(ENGINES, plain["engine"]),
        "executor": recipes.build(EXECUTORS, plain["executor"]),
        "reward": build_reward(plain["reward"]["terms"]),
    }
    benchmark = recipes.build(BENCHMARKS, plain.get("benchmark") or {})
    steps = recipes.make_steps(plain["data"], plain["reward"]).val_steps() if benchmark is None else []
    policy = PolicyModule(model["path"], prompt=model["prompt"], optimizer=None, options=ModelOptions.of(model))
    evaluator = recipes.make_evaluator(steps, plain["evaluation"], parts, cfg.seed)
    evaluator.faults = FaultLimit(cfg.rollout.max_faults)
    with ProgressReporter() as reporter:
        evaluator.report = reporter.stage
        policy.to("cuda" if torch.cuda.is_available() else "cpu")
        if benchmark is None:
            report = EvaluationReport(model["path"], *evaluator.run(policy))
        else:
            answers = evaluator.answers(policy, benchmark.batches(), benchmark.total, benchmark.point == "executor")
            report = run_benchmark(benchmark, answers, Path(cfg.paths.output_dir), {"policy": model["path"]})
    report.show(cfg.run_name)
    write_report(cfg.report, report.as_json())


if __name__ == "__main__":
    launch(main, "eval")
