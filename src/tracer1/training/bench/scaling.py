"""Weak scaling: rounds of the same size per rank on one rank and on several, in turns in one run.

Every rank is a process with threads of its own. It knows nothing of what is trained or of clusters.
"""

import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import lightning as L
import torch

from tracer1.engines import ENGINES
from tracer1.interfaces import Sampling
from tracer1.models.reference import make_reference
from tracer1.training.bench import ours
from tracer1.training.bench.cases import Case, make_steps, never_ends
from tracer1.training.bench.children import Gate, Side
from tracer1.training.entry import quiet_libraries
from tracer1.training.experience import ExperienceStream
from tracer1.training.overrides import check_overrides
from tracer1.training.recipes import SIZES, build, make_policy
from tracer1.training.round_size import RoundSize

SCREENS = 8
_HERE = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Place:
    """Which rank of how many, and where they meet."""

    rank: int
    ranks: int
    port: int

    def enter(self) -> None:
        """Tells the libraries."""
        meeting = {"MASTER_ADDR": _HERE, "MASTER_PORT": self.port, "WORLD_SIZE": self.ranks, "LOCAL_RANK": self.rank}
        os.environ.update({name: str(value) for name, value in meeting.items()})


class _CpuSeconds(L.Callback):
    """Adds to the gate's facts how long this process has computed in the round."""

    def __init__(self, gate: Gate) -> None:
        self.gate, self.began = gate, 0.0

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """A Lightning epoch is a round."""
        self.began = time.process_time()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Before the turn is over."""
        self.gate.facts["cpu_s"] = time.process_time() - self.began


class _Turns(ours.Turns):
    """Keeps what is in the facts already."""

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """A Lightning epoch is a round."""
        told = self.gate.facts
        self.stream.end_round()
        pl_module.pop_figures()
        self.gate.facts = told
        trainer.should_stop = not self.gate.turn()


def rank_rounds(gate: Gate, place: Place, case: Case, folder: Path, strategy: str) -> None:
    """Trains as one rank, one round for every turn of the gate. `case.prompts` are those of one rank."""
    from hydra.utils import instantiate

    quiet_libraries()
    if place.ranks > 1:
        place.enter()
    whole = Case(**{name: getattr(case, name) for name in case.__slots__} | {"prompts": case.prompts * place.ranks})
    chosen = strategy if place.ranks > 1 else "single"
    extra = [f"strategy={chosen}", f"trainer.devices={place.ranks}", "trainer.accelerator=cpu"]
    extra += [f"algorithm.groups_per_micro_batch={case.prompts}"]
    config = check_overrides("train", [*ours.overrides(whole, folder), *extra])
    algorithm = config["algorithm"]
    policy = make_policy(config["model"], algorithm, partial(torch.optim.AdamW, lr=ours.LEARNING_RATE))
    never_ends(policy.backbone)
    size = RoundSize(*(algorithm[name] for name in SIZES), world_size=place.ranks)
    stream = ExperienceStream(
        ours.BenchSteps(make_steps(case, SCREENS)),
        policy,
        make_reference(policy, config["model"]["reference"]),
        build(ENGINES, config["engine"]),
        ours.score,
        size=size,
        sampling=Sampling(**algorithm["sampling"]),
        seed=place.rank,
    )
    trainer = instantiate(config["trainer"], _partial_=True)(
        max_epochs=-1, logger=False, enable_progress_bar=False, callbacks=[_CpuSeconds(gate), _Turns(gate, stream)]
    )
    trainer.accumulate_grad_batches = size.micro_batches_per_update
    trainer.fit(policy, train_dataloaders=stream)


def weak_scaling(
    case: Case, folder: Path, strategy: str, ranks: Sequence[int], repetitions: int, say: Callable[[str], None]
) -> dict[int, dict[str, float]]:
    """Measures rounds on each number of ranks in turns.

    Args:
        case: What one rank does in a round, and its threads.
        folder: The planner.
        strategy: Of conf/strategy, on more than one rank.
        ranks: Numbers of ranks.
        repetitions: Rounds of each that count, after one that does not.
        say: Told what happens.

    Returns:
        By ranks the medians of seconds, tokens_per_s and cpu_s (of all ranks together), and the efficiencies beside the first
        number: `efficiency`, tokens per second and rank, and `cpu_efficiency`, tokens per second of computing.
    """
    teams = {count: _team(case, folder, strategy, count) for count in ranks}
    rounds: dict[int, list[dict[str, float]]] = {count: [] for count in ranks}
    try:
        for team in teams.values():
            for side in team:
                side.start()
        for team in teams.values():
            for side in team:
                side.wait()
        for number in range(repetitions + 1):
            for count, team in teams.items():
                with ThreadPoolExecutor(count) as together:
                    told = list(together.map(lambda side: side.step(keep=False), team))
                found = {"seconds": max(t["seconds"] for t in told), "cpu_s": sum(t["cpu_s"] for t in told)}
                if number:
                    rounds[count].append(found)
                kind = f"{number}/{repetitions}" if number else "warm-up"
                say(f"  {kind}: {count} rank(s) {found['seconds']:.2f} s, of computing {found['cpu_s']:.2f} s")
    finally:
        for team in teams.values():
            for side in team:
                side.stop()
    return _efficiencies(case, rounds)


def _team(case: Case, folder: Path, strategy: str, count: int) -> list[Side]:
    with socket.socket() as free:
        free.bind((_HERE, 0))
        port = free.getsockname()[1]
    run = f"{__name__}:{rank_rounds.__name__}"
    places = [Place(rank, count, port) for rank in range(count)]
    return [Side(f"rank {p.rank} of {count}", run, (p, case, folder, strategy), threads=case.threads) for p in places]


def _efficiencies(case: Case, rounds: Mapping[int, Sequence[Mapping[str, float]]]) -> dict[int, dict[str, float]]:
    own = case.prompts * case.group_size * case.response_tokens
    found: dict[int, dict[str, float]] = {}
    for count, seen in rounds.items():
        seconds, cpu_s = (median(one[name] for one in seen) for name in ("seconds", "cpu_s"))
        found[count] = {"seconds": seconds, "cpu_s": cpu_s, "tokens_per_s": own * count / seconds}
    first = next(iter(rounds))
    for count, seen in rounds.items():
        pairs = list(
            zip(rounds[first], seen, strict=True)
        )  # neighbours in time: what else the machine does falls on both
        found[count]["efficiency"] = median(a["seconds"] / b["seconds"] for a, b in pairs)
        found[count]["cpu_efficiency"] = median(a["cpu_s"] / first / (b["cpu_s"] / count) for a, b in pairs)
        found[count]["least"] = min(a["seconds"] / b["seconds"] for a, b in pairs)
        found[count]["most"] = max(a["seconds"] / b["seconds"] for a, b in pairs)
    return found


def scaling_table(found: Mapping[int, Mapping[str, float]]) -> str:
    """Markdown."""
    head = "| ranks | a round | response tokens/s | efficiency (range) | seconds of computing | efficiency by those |"
    lines = [head, "|---|---|---|---|---|---|"]
    for count, f in found.items():
        spread = f"{f['efficiency']:.2f} ({f['least']:.2f}–{f['most']:.2f})"
        lines.append(
            f"| {count} | {f['seconds']:.2f} s | {f['tokens_per_s']:,.0f} | {spread} | {f['cpu_s']:.2f} | "
            f"{f['cpu_efficiency']:.2f} |"
        )
    return "\n".join(lines)
