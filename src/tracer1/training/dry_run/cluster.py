"""What each strategy would need and take on a cluster: memory, bytes between GPUs, seconds of a round, GPU-hours.

Counted from sizes and from what the strategies exchange; links and shares are what `assume` says. Nothing that is exchanged is taken
to be hidden behind operations: the times are upper bounds of what exchanging adds. It knows nothing of how numbers are shown.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tracer1.errors import ConfigError
from tracer1.models.costs import FLOAT32, count_parameters
from tracer1.training.dry_run.memory import Memory, plan_memory, trained_parameters
from tracer1.training.dry_run.sharding import STRATEGIES, Sharding, read_sharding
from tracer1.training.dry_run.work import Hours, old_share, plan_hours, plan_work
from tracer1.training.dry_run.workload import BYTES, Workload, read_workload

HOST_BANDWIDTH = 400e9  # bytes per second of one machine's main memory, where an offloaded optimizer works
_ADAM_BYTES = 7 * FLOAT32  # it reads a weight, its gradient and two moments, and writes all but the gradient


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes of one round."""

    between: float  # that each GPU sends to others
    host: float = 0.0  # that pass between each GPU and main memory
    adam: float = 0.0  # that the optimizer moves in one machine's main memory


@dataclass(frozen=True, slots=True)
class Estimate:
    """One strategy on one cluster."""

    strategy: str
    gpus: int
    load: Workload
    memory: Memory
    hours: Hours
    traffic: Traffic
    exchanging: float  # seconds of a round

    @property
    def fits(self) -> bool:
        return self.memory.peak <= self.load.assumed.device.memory

    @property
    def round(self) -> float:
        """Seconds."""
        return self.hours.total + self.exchanging

    @property
    def gpu_hours(self) -> float:
        """Of the whole run."""
        return self.round * self.load.units.rounds * self.gpus / 3600

    @property
    def cost(self) -> float | None:
        return None if self.load.assumed.price is None else self.gpu_hours * self.load.assumed.price


def estimates(config: Mapping[str, Any]) -> dict[str, Estimate | str]:
    """Every strategy on the GPUs of a checked, resolved config (`single` on one of them): an estimate, or why there is none."""
    found: dict[str, Estimate | str] = {}
    for name, strategy in STRATEGIES.items():
        changed = copy.deepcopy(dict(config))
        changed["trainer"]["strategy"] = strategy
        if name == "single":
            changed["trainer"] |= {"devices": 1, "num_nodes": 1}
            if changed["engine"].get("tensor_parallel_size", 1) > 1:
                found[name] = "engine.tensor_parallel_size needs several processes"
                continue
        try:
            found[name] = estimate(name, changed)
        except ConfigError as error:
            found[name] = str(error)
    return found


def estimate(name: str, config: Mapping[str, Any]) -> Estimate:
    """Of the config's own strategy, under that name."""
    load = read_workload(config)
    nodes = int(config["trainer"].get("num_nodes") or 1)
    sharding = read_sharding(config["trainer"], load.units.ranks)
    traffic = plan_traffic(load, config, sharding, nodes)
    hours = plan_hours(load, config, plan_work(load, config))
    seconds = exchange_seconds(load, traffic, nodes)
    return Estimate(name, load.units.ranks, load, plan_memory(load, config), hours, traffic, seconds)


def plan_traffic(load: Workload, config: Mapping[str, Any], sharding: Sharding, nodes: int) -> Traffic:
    """Bytes of one round.

    A ring of N GPUs sends (N - 1)/N of a tensor from each to reduce it and to leave everyone a part, and as much to bring parts together.
    """
    units, compute = load.units, load.precision.compute
    ring = (units.ranks - 1) / units.ranks
    trained, total = trained_parameters(load), count_parameters(load.shape).total
    updates, micro_batches = units.updates_per_round, units.updates_per_round * units.micro_batches_per_update
    gradients = ring * trained * (compute if sharding.states > 1 else load.precision.weights)
    if sharding.weights > 1:  # forward and backward bring the weights together in every micro-batch
        gathers = 2 * micro_batches + _passes(load, config)
        between = gathers * ring * total * compute + micro_batches * gradients
    elif sharding.gradients > 1:
        between = micro_batches * gradients + updates * ring * trained * compute
    elif sharding.states > 1:
        between = updates * (gradients + ring * trained * compute)
    else:
        between = updates * 2 * gradients
    reference = _moved_reference(load, config)
    if not sharding.offload:
        return Traffic(between, reference)
    own, weights = trained / sharding.states, total * compute / sharding.weights
    up = (2 * micro_batches + _passes(load, config)) * weights if sharding.weights > 1 else updates * own * compute
    host = reference + up + micro_batches * own * FLOAT32
    return Traffic(between, host, updates * trained / nodes * _ADAM_BYTES)


def _moved_reference(load: Workload, config: Mapping[str, Any]) -> float:
    """Bytes of a reference that comes for its pass and goes back."""
    if not (load.grpo and load.options.reference_offload and config["algorithm"]["kl_coef"]) or load.options.lora:
        return 0.0
    return 2.0 * count_parameters(load.shape).total * BYTES[load.options.dtype]


def _passes(load: Workload, config: Mapping[str, Any]) -> float:
    """How often a round brings the weights together without gradients: for old log-probs, and for whoever samples."""
    if not load.grpo:
        return 0.0
    micro_batches = load.units.updates_per_round * load.units.micro_batches_per_update
    share, _ = old_share(config["algorithm"].get("old_logprobs", "recompute"), load.units.updates_per_round)
    return 1 + share * micro_batches


def exchange_seconds(load: Workload, traffic: Traffic, nodes: int) -> float:
    """What the bytes of a round take. All network cards of a machine work at once: one for each GPU."""
    assumed, gpus = load.assumed, load.units.ranks // nodes
    link = assumed.device.link if nodes == 1 else min(assumed.device.link, gpus * assumed.network)
    seconds = traffic.between / link + traffic.host / assumed.device.host
    return seconds / assumed.link_share + traffic.adam / HOST_BANDWIDTH
