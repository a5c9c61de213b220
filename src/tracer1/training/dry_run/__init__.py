"""`dry_run=true`: what a run would do, hold and cost, before anything is loaded: no weights, no data, no hub, no folders.

It knows every group of the config, and runs none of them.
"""

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from tracer1.engines import ENGINES
from tracer1.errors import ConfigError, UnknownName
from tracer1.executors import EXECUTORS
from tracer1.registry import Registry, nearest
from tracer1.rewards import build_reward
from tracer1.training.dry_run.cluster import estimates
from tracer1.training.dry_run.cluster_table import show_cluster
from tracer1.training.dry_run.dead_keys import dead_keys
from tracer1.training.dry_run.memory import plan_memory
from tracer1.training.dry_run.remedies import remedy
from tracer1.training.dry_run.table import WIDTH, show
from tracer1.training.dry_run.work import plan_hours, plan_work
from tracer1.training.dry_run.workload import read_workload


def rehearse(config: Mapping[str, Any], console: Console | None = None) -> None:
    """Writes what a checked, resolved config amounts to on one screen.

    Args:
        config: Plain values.
        console: Where to write; stdout by default, as wide as the screen is made for.

    Raises:
        ConfigError: what a run would raise too, where it can be known already.
    """
    if config["recipe"] == "study":
        raise ConfigError(
            "A study is many trainings, and a dry run is about one: rehearse a stage, with the overrides of study.chain."
        )
    load = read_workload(config)
    build_reward(config["reward"]["terms"])
    _check_objective(config["algorithm"])
    for registry, group in ((ENGINES, "engine"), (EXECUTORS, "executor")):
        _check_name(registry, config[group].get("name"))
    memory, passes = plan_memory(load, config), plan_work(load, config)
    hours = plan_hours(load, config, passes)
    remarks = dead_keys(config, load)
    if memory.peak > load.assumed.device.memory:
        fits = remedy(config)
        remarks.insert(
            0, f"It would fit with {fits}" if fits else "No setting alone makes it fit: take more or larger devices"
        )
    console = console or Console(width=WIDTH)
    show(config["run_name"], load, memory, (passes, hours), remarks, console)
    if config["assume"]["strategies"]:
        console.print()
        show_cluster(estimates(config), int(config["trainer"].get("num_nodes") or 1), console)


def _check_objective(algorithm: Mapping[str, Any]) -> None:
    """Only settings off the beaten path can clash, and only for them the second is spent that loading torch takes."""
    if algorithm["surrogate"] != "token" or algorithm["kl_in"] != "loss":
        from tracer1.algorithms.objective import make_objective

        make_objective(algorithm)


def _check_name(registry: Registry, name: str | None) -> None:
    """Known by its file: importing it could load an engine's library."""
    if name is not None and name not in registry.names():
        raise UnknownName(
            f"No {registry.kind} {name!r}.{nearest(name, registry.names())} Known: {', '.join(registry.names())}."
        )
