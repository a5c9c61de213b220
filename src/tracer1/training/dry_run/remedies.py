"""What to change when a run does not fit: the first of a few combinations that does. It only asks `memory.py` again."""

import copy
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from tracer1.training.dry_run.memory import Memory, plan_memory
from tracer1.training.dry_run.workload import read_workload

_LORA = {"rank": 32, "alpha": 64}
# from what costs time to what changes the training; each is tried with those before it
_STEPS: tuple[tuple[str, str, Any], ...] = (
    ("model", "gradient_checkpointing", True),
    ("algorithm", "groups_per_micro_batch", 1),
    ("model", "reference_offload", True),
    ("model", "lora", _LORA),
)


def remedy(config: Mapping[str, Any]) -> str:
    """Overrides with which a run fits into the assumed device, as on a command line, and how large it is then; or that none do."""
    room = read_workload(config).assumed.device.memory
    changed, overrides = copy.deepcopy(dict(config)), []
    for override in chain([""], _applied(changed)):  # one at a time: asking for the next applies it
        if "model.lora" in override:  # then there is no second copy that could be offloaded
            overrides = [one for one in overrides if "reference_offload" not in one]
        overrides += [override] if override else []
        memory = plan_memory(read_workload(changed), changed)
        batch = _batch_that_fits(changed, memory, room)
        if max(memory.at("updating"), memory.at("referring")) <= room and (batch or memory.at("sampling") <= room):
            return " ".join([*overrides, batch] if batch else overrides)
    return ""


def _applied(config: dict[str, Any]) -> Iterator[str]:
    """Changes `config` step by step; a step that is taken already is none."""
    for group, name, value in _STEPS:
        if config[group].get(name) == value or (name == "lora" and config[group][name] is not None):
            continue
        if group == "algorithm" and config["recipe"] == "warmstart":
            group, name, value = "warmstart", "batch_size", 1
        if name == "reference_offload" and (config["recipe"] == "warmstart" or not config["algorithm"]["kl_coef"]):
            continue
        if name == "lora":
            config["model"]["reference_offload"] = False
        config[group][name] = value
        yield f"{group}.{name}={_written(value)}"


def _written(value: Any) -> str:
    if isinstance(value, dict):
        return "'{" + ", ".join(f"{key}: {entry}" for key, entry in value.items()) + "}'"
    return str(value).lower()


def _batch_that_fits(config: dict[str, Any], memory: Memory, room: float) -> str:
    """A smaller engine.prompts_per_batch, when sampling is what is too large; empty when there is none or none is needed."""
    engine = config["engine"]
    if engine.get("name") != "transformers" or memory.at("sampling") <= room:
        return ""
    asked, size = engine["prompts_per_batch"], engine["prompts_per_batch"]
    try:
        while size > 1:
            size //= 2
            engine["prompts_per_batch"] = size
            if plan_memory(read_workload(config), config).at("sampling") <= room:
                return f"engine.prompts_per_batch={size}"
    finally:
        engine["prompts_per_batch"] = asked
    return ""
