"""From a config to the numbers of a run: tokens, groups, updates, ranks, precision. Plain arithmetic, nothing is loaded.

It knows nothing of memory, time or how numbers are shown.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

from tracer1.errors import ConfigError
from tracer1.models.costs import Group, image_tokens
from tracer1.models.options import ModelOptions
from tracer1.models.shapes import ModelShape, read_shape
from tracer1.training.dry_run.devices import Assumed, find_device
from tracer1.training.round_size import RoundSize

# tokens of a prompt's text, history included, at four characters a token (the tests render one)
TEXT_TOKENS = {"full": 560, "brief": 80}
BYTES = {"float64": 8, "float32": 4, "bfloat16": 2}


@dataclass(frozen=True, slots=True)
class Precision:
    """How numbers are held while training."""

    weights: int  # bytes of a parameter
    compute: int  # bytes of an activation
    mixed: bool  # weights are cast for every product

    @property
    def bf16_weights(self) -> bool:
        return self.weights == 2

    @property
    def words(self) -> str:
        """For people."""
        names = {8: "float64", 4: "float32", 2: "bfloat16"}
        return f"{names[self.weights]} weights, {names[self.compute]} products" if self.mixed else names[self.weights]


def read_precision(trainer: Mapping[str, Any], dtype: str) -> Precision:
    """What Lightning makes of `trainer.precision` and `model.dtype`: `-true` casts the model, `-mixed` leaves it."""
    asked = str(trainer.get("precision", "32-true"))
    if asked.endswith("-mixed"):
        return Precision(BYTES[dtype], 2, True)
    cast = {"bf16": 2, "16": 2, "transformer-engine": 2, "64": 8}.get(asked.removesuffix("-true"))
    size = cast or BYTES[dtype]
    return Precision(size, size, False)


@dataclass(frozen=True, slots=True)
class Units:
    """What one round is made of, over all ranks."""

    prompts_per_round: int
    prompts_per_update: int
    group_size: int  # 1 in a warm start: the expert's answer
    groups_per_micro_batch: int  # of one rank
    ranks: int
    rounds: int

    @property
    def prompts_per_rank(self) -> int:
        """Of one round."""
        return self.prompts_per_round // self.ranks

    @property
    def updates_per_round(self) -> int:
        return self.prompts_per_round // self.prompts_per_update

    @property
    def micro_batches_per_update(self) -> int:
        """Of one rank."""
        return self.prompts_per_update // (self.groups_per_micro_batch * self.ranks)

    @property
    def updates(self) -> int:
        return self.rounds * self.updates_per_round

    @property
    def rollouts(self) -> int:
        return self.rounds * self.prompts_per_round * self.group_size


@dataclass(frozen=True, slots=True)
class Workload:
    """A run in numbers; one group is one prompt with its responses (one response each in a warm start)."""

    shape: ModelShape
    options: ModelOptions
    precision: Precision
    units: Units
    typical: Group
    worst: Group
    grpo: bool
    assumed: Assumed

    @property
    def shared(self) -> bool:
        """Whether a typical prompt is encoded once for its responses in the training passes."""
        return self.options.shared_prefix and self.typical.prompt >= self.options.min_shared_prefix

    @property
    def frozen_vision(self) -> bool:
        return self.options.freeze_vision_tower or self.options.lora is not None


def ranks_of(trainer: Mapping[str, Any]) -> int:
    """Processes: devices x nodes. `auto` and -1 count as one device: a dry run looks at none."""
    devices = trainer.get("devices", 1)
    if isinstance(devices, str) and "," in devices:
        devices = [name for name in devices.split(",") if name.strip()]
    named = isinstance(devices, list | tuple)
    count = len(devices) if named else int(devices) if str(devices).isdigit() else 1
    return max(1, count) * int(trainer.get("num_nodes") or 1)


def read_workload(config: Mapping[str, Any]) -> Workload:
    """The numbers of a checked, resolved config.

    Raises:
        ConfigError: a model whose sizes are not known, or sizes that do not divide each other.
    """
    model, grpo = config["model"], config["recipe"] != "warmstart"  # of a demo: its second stage
    shape, options, ranks = read_shape(model["path"]), ModelOptions.of(model), ranks_of(config["trainer"])
    sampling = config["algorithm" if grpo else "evaluation"]["sampling"]
    units = _grpo_units(config, ranks) if grpo else _warmstart_units(config, ranks)
    assumed = _assumed(config["assume"], model["prompt"], sampling)
    typical, worst = _groups(shape, model["prompt"], sampling["max_tokens"], units.group_size, assumed)
    precision = read_precision(config["trainer"], options.dtype)
    return Workload(shape, options, precision, units, typical, worst, grpo, assumed)


def _grpo_units(config: Mapping[str, Any], ranks: int) -> Units:
    names = ("prompts_per_round", "prompts_per_update", "group_size", "groups_per_micro_batch")
    sizes = [config["algorithm"][name] for name in names]
    RoundSize(*sizes, world_size=ranks)  # says what does not divide
    return Units(*sizes, ranks=ranks, rounds=config["rounds"])


def _warmstart_units(config: Mapping[str, Any], ranks: int) -> Units:
    """Every rank's batch is one micro-batch, and every update one of them."""
    settings = config.get("warmstart")
    if settings is None:
        raise ConfigError("recipe=warmstart needs the settings of a warm start: add +experiment=warmstart.")
    batch, updates = settings["batch_size"], settings["updates_per_round"]
    return Units(batch * ranks * updates, batch * ranks, 1, batch, ranks, rounds=settings["updates"] // updates)


def _assumed(assume: Mapping[str, Any], prompt: Mapping[str, Any], sampling: Mapping[str, Any]) -> Assumed:
    text = TEXT_TOKENS[prompt["style"]] if assume["text_tokens"] is None else assume["text_tokens"]
    response = ceil(sampling["max_tokens"] / 2) if assume["response_tokens"] is None else assume["response_tokens"]
    screenshot = assume["screenshot"]
    if not (
        isinstance(screenshot, list) and len(screenshot) == 2 and all(isinstance(s, int) and s > 0 for s in screenshot)
    ):
        raise ConfigError(f"assume.screenshot={screenshot} cannot work: it must be [width, height] in pixels.")
    return Assumed(
        find_device(assume["device"]),
        assume["mfu"],
        assume["bandwidth"],
        (screenshot[0], screenshot[1]),
        text,
        min(response, sampling["max_tokens"]),
        assume["network_gbit"] * 1e9 / 8,
        assume["link_share"],
        assume["price"],
    )


def _groups(
    shape: ModelShape, prompt: Mapping[str, Any], max_tokens: int, group_size: int, assumed: Assumed
) -> tuple[Group, Group]:
    """A typical group, and the largest that the limits let through."""
    pixels = tuple(prompt["pixels"] or shape.pixels)
    limit = prompt["max_prompt_tokens"]
    image = image_tokens(shape.vision, *assumed.screenshot, pixels)
    typical = Group(min(limit, assumed.text_tokens + image), min(limit, image), assumed.response_tokens, group_size)
    largest = min(limit, pixels[1] // shape.vision.side**2)
    return typical, Group(limit, largest, max_tokens, group_size)
