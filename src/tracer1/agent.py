"""Plays tasks with a planner: `python src/tracer1/agent.py +environment=miniwob environment.task=login-user`. Builds and wires only."""

import os
import sys

if (
    __name__ == "__main__"
):  # Python puts this file's folder on the path, where our names shadow libraries; put src/ there
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

from contextlib import ExitStack, closing
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from tracer1.training.entry import launch, load_plugins, quiet_libraries


def main(cfg: DictConfig) -> None:
    """Reads the config, plays the episodes, prints the table."""
    from tracer1.engines import ENGINES
    from tracer1.environments import ENVIRONMENTS
    from tracer1.executors import EXECUTORS
    from tracer1.interfaces import Sampling
    from tracer1.plan_act.planner import load_planner
    from tracer1.plan_act.replay import ReplayPlanner
    from tracer1.plan_act.session import Session, asked_of, jobs_of, rules_of, without_refused
    from tracer1.training import recipes

    load_plugins(cfg.plugins)
    plain = OmegaConf.to_container(cfg, resolve=True)
    asked, place = asked_of(plain.get("environment"), ENVIRONMENTS.names())
    replay = None if cfg.replay is None else ReplayPlanner(Path(cfg.replay))
    rules = rules_of(plain["agent"], plain["data"])
    settings = {"environment": place, "policy": plain["model"]["path"], "seed": cfg.seed}
    session = Session(Path(cfg.paths.output_dir), settings, plain["agent"]["tracking_uri"], rules)
    with ExitStack() as stack:
        environments = [stack.enter_context(closing(recipes.build(ENVIRONMENTS, place)))]
        first = environments[0]
        jobs = replay.jobs if replay else without_refused(jobs_of(known=first.tasks(), **asked), first)
        for _ in range(min(cfg.agent.parallel, len(jobs)) - 1):
            environments.append(stack.enter_context(closing(recipes.build(ENVIRONMENTS, place))))
        if replay is not None:
            results = session.replay(replay, environments)
        else:
            quiet_libraries()
            engine, executor = recipes.build(ENGINES, plain["engine"]), recipes.build(EXECUTORS, plain["executor"])
            sampling = Sampling(**plain["agent"]["sampling"])
            planner = load_planner(plain["model"], engine, sampling, seed=cfg.seed, at_most=cfg.agent.batch)
            results = session.play(jobs, environments, planner, executor)
    session.show(results, replay)


if __name__ == "__main__":
    launch(main, "agent")
