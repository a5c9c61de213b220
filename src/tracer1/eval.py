"""Scores a policy on held-out steps, or on a benchmark: `python src/tracer1/eval.py +benchmark=miniwob_trained`. Builds and wires only."""

import os
import sys

if (
    __name__ == "__main__"
):  # Python puts this file's folder on the path, where our names shadow libraries; put src/ there
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

from functools import partial
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from tracer1.training.entry import launch, load_plugins, quiet_libraries


def main(cfg: DictConfig) -> None:
    """Reads the config, samples and scores or plays, prints the figures."""
    from tracer1.benchmarks import BENCHMARKS, run_benchmark
    from tracer1.benchmarks._played import PlayedBenchmark
    from tracer1.benchmarks._playing import play_benchmark
    from tracer1.engines import ENGINES
    from tracer1.executors import EXECUTORS
    from tracer1.interfaces import Sampling
    from tracer1.plan_act.planner import load_planner
    from tracer1.rewards import build_reward
    from tracer1.training import recipes
    from tracer1.training.evaluation import evaluating
    from tracer1.training.summary import EvaluationReport, write_report

    quiet_libraries()
    load_plugins(cfg.plugins)
    plain = OmegaConf.to_container(cfg, resolve=True)
    model, folder = plain["model"], Path(cfg.paths.output_dir)
    engine, executor = recipes.build(ENGINES, plain["engine"]), recipes.build(EXECUTORS, plain["executor"])
    benchmark = recipes.build(BENCHMARKS, plain.get("benchmark") or {})
    if isinstance(benchmark, PlayedBenchmark):
        sampling = plain["evaluation"]["sampling"]
        planner = partial(load_planner, model, engine, Sampling(**sampling), seed=cfg.seed, at_most=benchmark.parallel)
        whose = {"policy": model["path"], "executor": plain["executor"]["name"], "horizon": model["prompt"]["horizon"]}
        whose |= {"sampling": sampling, "run_seed": cfg.seed}
        report = play_benchmark(benchmark, planner, executor, folder, whose)
    else:
        parts = {"engine": engine, "executor": executor, "reward": build_reward(plain["reward"]["terms"])}
        steps = recipes.make_steps(plain["data"], plain["reward"]).val_steps() if benchmark is None else []
        evaluator = recipes.make_evaluator(steps, plain["evaluation"], parts, cfg.seed)
        with evaluating(evaluator, model, cfg.rollout.max_faults) as policy:
            if benchmark is None:
                report = EvaluationReport(model["path"], *evaluator.run(policy))
            else:
                answers = evaluator.answers(policy, benchmark.batches(), benchmark.total, benchmark.point == "executor")
                report = run_benchmark(benchmark, answers, folder, {"policy": model["path"]})
    report.show(cfg.run_name)
    write_report(cfg.report, report.as_json())


if __name__ == "__main__":
    launch(main, "eval")
