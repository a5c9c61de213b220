"""A job of a Hydra sweep (`train.py -m seed=1,2,3 +experiment=...`): a folder of its own, and one MLflow parent for all of them.

It knows Hydra's config of the job, nothing of what is trained. Studies and demos have folders of their own and are left alone.
"""

from pathlib import Path
from typing import Any

import yaml
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from tracer1.training.overrides import sweeps

TRAININGS = ("grpo", "warmstart", "online")  # recipes
HOW_IT_STARTS = ("ckpt_path", "overwrite")  # not what the jobs are made of
_PLACE = "paths.output_dir="


def in_sweep(cfg: DictConfig) -> DictConfig:
    """The config of a job of a sweep, its run in the job's folder and below the sweep's parent; any other config as it is."""
    if cfg.get("recipe") not in TRAININGS or not HydraConfig.initialized():
        return cfg
    hydra = HydraConfig.get()
    if OmegaConf.is_missing(hydra.job, "num"):
        return cfg
    said = list(hydra.overrides.task)
    folder = Path(hydra.runtime.cwd, hydra.sweep.dir)
    keys = _swept_keys(folder)
    swept = [text for text in said if _key(text) in keys]
    common = [text for text in said if _key(text) not in (*keys, *HOW_IT_STARTS)]
    with open_dict(cfg):
        if not any(text.startswith(_PLACE) for text in said):
            cfg.paths.output_dir = hydra.runtime.output_dir
        name = cfg.run_name
        cfg.logger.run_name = " ".join([name, *(swept or [f"job {hydra.job.num}"])])
        cfg.logger.sweep = {"folder": str(folder), "name": name, "common": common, "swept": swept}
    return cfg


def _swept_keys(folder: Path) -> set[str]:
    """The settings that have several values, as Hydra keeps the sweep's command line in its folder; empty for another sweeper's."""
    try:
        hydra: Any = yaml.safe_load((folder / "multirun.yaml").read_text(encoding="utf-8"))["hydra"]
        said, params = list(hydra["overrides"]["task"]), dict(hydra["sweeper"].get("params") or {})
    except (OSError, ValueError, yaml.YAMLError, LookupError, TypeError, AttributeError):
        return set()
    return {_key(text) for text in said if sweeps(text)} | {_key(name) for name in params}


def _key(text: str) -> str:
    return text.lstrip("+~").partition("=")[0]
