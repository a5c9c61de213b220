"""A whole GRPO step of tracer1 (draw, generate, score, update) on the benchmark's prompts, by the parts that a training is made of.

It is run in a process of its own by `children.Side`. It knows nothing of what it is compared with.
"""

import hashlib
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor

from tracer1.engines import ENGINES
from tracer1.interfaces import Sampling
from tracer1.models.reference import make_reference
from tracer1.schema import Prompt, Rollout, Step
from tracer1.training.bench.cases import HORIZON, Case, make_steps, never_ends
from tracer1.training.bench.children import Gate
from tracer1.training.entry import quiet_libraries
from tracer1.training.experience import ExperienceStream
from tracer1.training.overrides import check_overrides
from tracer1.training.recipes import build, make_policy
from tracer1.training.round_size import RoundSize

LEARNING_RATE = 1e-6
MODEL_LENGTH = 8192  # tokens of a prompt and its response that vLLM makes room for, on both sides
_SIZES = ("prompts_per_round", "prompts_per_update", "group_size", "groups_per_micro_batch")


class BenchSteps:
    """The same steps over and over, as a StepStream hands them out."""

    epoch = 0

    def __init__(self, steps: list[Step]) -> None:
        self.steps, self.at = steps, 0

    def __next__(self) -> Step:
        step = self.steps[self.at % len(self.steps)]
        self.at += 1
        return step

    def state_dict(self) -> dict[str, Any]:
        """Nothing: a benchmark is never gone on with."""
        return {}


class Turns(L.Callback):
    """Lets one round pass for each turn of the gate, closing it as RoundLog does."""

    def __init__(self, gate: Gate, stream: ExperienceStream) -> None:
        self.gate, self.stream = gate, stream

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Everything is loaded."""
        trainer.should_stop = not self.gate.turn()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """A Lightning epoch is a round."""
        figures = {**self.stream.end_round(), **pl_module.pop_figures()}
        self.gate.facts = {"figures": {name: float(value) for name, value in figures.items()}}
        trainer.should_stop = not self.gate.turn()


def variety(token_ids: Any) -> float:
    """The benchmark's reward, the same on both sides: the share of different tokens."""
    return len(set(token_ids)) / max(1, len(token_ids))


def overrides(case: Case, folder: Path) -> list[str]:
    """The config that the benchmark's training is made of, as a user would write it."""
    return [
        "algorithm=grpo",
        f"engine={case.engine}",
        *([f"engine.max_model_len={MODEL_LENGTH}"] if case.engine == "vllm" else []),
        f"model.path={folder}",
        f"model.dtype={case.dtype}",
        f"model.prompt.horizon={HORIZON}",
        "model.prompt.max_prompt_tokens=65536",
        f"algorithm.prompts_per_round={case.prompts}",
        f"algorithm.prompts_per_update={case.prompts}",
        f"algorithm.groups_per_micro_batch={case.prompts}",
        f"algorithm.group_size={case.group_size}",
        f"algorithm.sampling.max_tokens={case.response_tokens}",
        "algorithm.sampling.top_p=1.0",
    ]


def digest(prompts: list[Prompt]) -> str:
    """Of token ids and pixels: the other side must read the very same."""
    seen = hashlib.blake2b(digest_size=8)
    for prompt in prompts:
        seen.update(repr(prompt.token_ids).encode())
        seen.update(prompt.tensors["pixel_values"].numpy().tobytes())
    return seen.hexdigest()


def weights_digest(model: torch.nn.Module) -> str:
    """Of a few numbers of every weight."""
    seen = hashlib.blake2b(digest_size=8)
    for name, weight in sorted(model.named_parameters()):
        few: Tensor = weight.detach().flatten()[:8]
        seen.update(f"{name} {few.float().tolist()}".encode())
    return seen.hexdigest()


def run(gate: Gate, case: Case, folder: Path, screens: int, extra: list[str]) -> None:
    """Trains, one round for every turn of the gate."""
    quiet_libraries()
    config = check_overrides("train", [*overrides(case, folder), *extra])
    policy = make_policy(config["model"], config["algorithm"], partial(torch.optim.AdamW, lr=LEARNING_RATE))
    never_ends(policy.backbone)
    steps = make_steps(case, screens)
    stream = ExperienceStream(
        BenchSteps(steps),
        policy,
        make_reference(policy, config["model"]["reference"]),
        build(ENGINES, config["engine"]),
        score,
        size=RoundSize(*(config["algorithm"][name] for name in _SIZES)),
        sampling=Sampling(**config["algorithm"]["sampling"]),
    )
    gate.facts = {
        "prompts": digest([policy.encoder.encode(step) for step in steps]),
        "weights": weights_digest(policy.model),
        "settings": {"overrides": [*overrides(case, Path("POLICY")), *extra]},
    }
    settings = {key: value for key, value in config["trainer"].items() if key != "_target_"}
    settings["accelerator"] = "cpu" if case.device == "cpu" else "gpu"
    callbacks = [Turns(gate, stream)]
    trainer = L.Trainer(**settings, max_epochs=-1, logger=False, enable_progress_bar=False, callbacks=callbacks)
    trainer.fit(policy, train_dataloaders=stream)


def score(rollout: Rollout) -> tuple[float, dict[str, float]]:
    """`variety` as a reward of tracer1."""
    value = variety(rollout.response.token_ids)
    return value, {"variety": value}
