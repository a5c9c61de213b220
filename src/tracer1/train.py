"""Trains a planner: `python src/tracer1/train.py +experiment=stage1_gui`. Builds and wires; nothing is computed here."""

import os
import sys
import time

if __name__ == "__main__":  # Python puts this folder on the path, where our names shadow libraries; put src/ there
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from tracer1.training.demo import demonstrate
from tracer1.training.dry_run import rehearse
from tracer1.training.entry import launch, load_plugins, quiet_libraries
from tracer1.training.study import run_job

GROUPS = ("data", "model", "reward", "algorithm", "rollout", "evaluation", "environment", "online", "warmstart")


def main(cfg: DictConfig) -> None:
    """Reads the config, builds the parts, runs the recipe, prints the summary."""
    import lightning as L  # only now: a mistake in the config is answered before torch is loaded
    from hydra.utils import instantiate
    from lightning.pytorch.utilities import rank_zero_only

    from tracer1.engines import ENGINES
    from tracer1.executors import EXECUTORS
    from tracer1.training import recipes
    from tracer1.training.checkpoints import Best
    from tracer1.training.online_recipe import online
    from tracer1.training.stopping import TimeLimit
    from tracer1.training.summary import report

    began = time.monotonic()
    quiet_libraries()
    load_plugins(cfg.plugins)
    L.seed_everything(cfg.seed, workers=True, verbose=False)
    plain = OmegaConf.to_container(cfg, resolve=True)
    run = recipes.Run(
        output_dir=Path(cfg.paths.output_dir),
        seed=cfg.seed,
        optimizer=instantiate(cfg.optimizer),
        trainer=lambda **given: instantiate(cfg.trainer, _partial_=True)(**given),  # a strategy serves one trainer
        logger=instantiate(cfg.logger),
        config=plain,
        ckpt_path=cfg.ckpt_path,
        overwrite=cfg.overwrite,
        checkpoint_every=cfg.checkpoint.every,
        checkpoint_keep=cfg.checkpoint.keep,
        checkpoint_best=Best(cfg.checkpoint.keep_best, cfg.checkpoint.best_by, cfg.checkpoint.best_mode),
        time_limit=TimeLimit(cfg.checkpoint.max_hours, cfg.checkpoint.before_time_limit_s),
        ranks_timeout_s=cfg.ranks.timeout_s,
        rounds=cfg.rounds,
    )
    groups = {name: plain.get(name) for name in GROUPS}
    parts = {"engine": recipes.build(ENGINES, plain["engine"]), "executor": recipes.build(EXECUTORS, plain["executor"])}
    train = {"grpo": recipes.grpo, "online": online, "warmstart": recipes.warmstart}[cfg.recipe]
    train(run, groups=groups, parts=parts)
    rank_zero_only(report)(run.output_dir, time.monotonic() - began, plain["logger"])


if __name__ == "__main__":
    launch(main, "train", rehearse, demonstrate, run_job)
