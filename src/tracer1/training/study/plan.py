"""What one job of a study consists of: stages and evaluations, as command lines, each with a key of what determines its result.

Two jobs with the same key share the work. The key knows configs, the policy at the beginning and nothing of the code: after a change
of the code that matters, start with a fresh `paths.outputs`.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra

from tracer1.errors import ConfigError
from tracer1.registry import nearest
from tracer1.training.overrides import check_overrides

KEY_LENGTH = 12
# Top-level settings that say where results go or how a run starts, not what comes out
_WITHOUT_EFFECT = frozenset(
    ("paths", "logger", "run_name", "ckpt_path", "overwrite", "dry_run", "assume", "checkpoint", "ranks", "report")
)
_REQUIRED = ("name", "variable", "value", "start", "chain", "evaluations", "metrics")


@dataclass(frozen=True, slots=True)
class Piece:
    """One command: a stage or an evaluation."""

    name: str
    script: str  # train.py or eval.py
    overrides: tuple[str, ...]  # as a user would type them, the seed and the policy it starts from included
    key: str  # of all that determines its result
    folder: Path  # of its run: `policy/` or `report.json` is there when it is finished

    @property
    def policy(self) -> Path:
        """The exported policy of a stage."""
        return self.folder / "policy"

    @property
    def report(self) -> Path:
        """The figures of an evaluation."""
        return self.folder / "report.json"

    @property
    def finished(self) -> bool:
        """Whether it need not be run."""
        return self.policy.is_dir() if self.script == "train.py" else self.report.is_file()


@dataclass(frozen=True, slots=True)
class Study:
    """One job of a study.

    Args:
        name: Of the study.
        variable: What is varied, as plots label it.
        value: Of this job.
        start: Folder of the policy that the chain starts from.
        chain: Stage -> overrides of its training, in order; each stage starts from the policy of the one before.
        until: The last stage of the chain that this job has, `start` for none; None for all of them.
        evaluations: Name -> overrides of an evaluation of the last policy; null for one that is left out.
        metrics: Those of the evaluations' figures that tables and plots show, the most telling one first.
        expect: The paper's claims about pairs of values, e.g. `5 > 1` (of the first metric) or `off > on: val/heldout/repeating`.
        claim: The paper's claim in words.
        labels: What the values are called, where they do not speak for themselves.
    """

    name: str
    variable: str
    value: str
    start: str
    chain: Mapping[str, tuple[str, ...]]
    until: str | None
    evaluations: Mapping[str, tuple[str, ...]]
    metrics: tuple[str, ...]
    expect: tuple[str, ...] = ()
    claim: str = ""
    labels: Mapping[str, str] | None = None

    @classmethod
    def of(cls, group: Mapping[str, Any] | None) -> "Study":
        """Reads the config's `study`.

        Raises:
            ConfigError: something is missing or misspelt.
        """
        if group is None:
            raise ConfigError("recipe=study needs a study: choose one, e.g. +experiment=ablation_stage2.")
        for name in group:
            if name not in (*_REQUIRED, *cls._optional()):
                known = [*_REQUIRED, *cls._optional()]
                raise ConfigError(f"A study has no setting {name!r}.{nearest(name, known)} Known: {', '.join(known)}.")
        for name in _REQUIRED:
            if group.get(name) in (None, "", {}, []):
                raise ConfigError(f"study.{name} is not set; the studies in conf/experiment/ablation_*.yaml show how.")
        chain = {name: tuple(flat(overrides)) for name, overrides in group["chain"].items()}
        until = group.get("until")
        if until not in (None, "start", *chain):
            raise ConfigError(
                f"study.until={until} is no stage.{nearest(str(until), list(chain))} Known: start, {', '.join(chain)}."
            )
        return cls(
            **{name: str(group[name]) for name in ("name", "variable", "value", "start")},
            chain=chain,
            until=until,
            evaluations={name: tuple(flat(overrides)) for name, overrides in group["evaluations"].items() if overrides},
            metrics=tuple(group["metrics"]),
            expect=tuple(group.get("expect") or ()),
            claim=group.get("claim") or "",
            labels={str(value): str(label) for value, label in (group.get("labels") or {}).items()},
        )

    @staticmethod
    def _optional() -> tuple[str, ...]:
        return ("until", "expect", "claim", "labels", "cases")

    def stages(self, seed: int, outputs: Path) -> list[Piece]:
        """The trainings of this job, in order.

        Args:
            seed: Of all of them.
            outputs: Folder of all studies.

        Raises:
            ConfigError: a mistake in the overrides of a stage, or there is no policy to start from.
        """
        policy, key = Path(self.start), policy_key(Path(self.start))
        names = list(self.chain)
        if self.until is not None:
            names = names[: names.index(self.until) + 1] if self.until != "start" else []
        found = []
        for name in names:
            piece = _piece(name, "train.py", self.chain[name], (seed, policy, key), outputs)
            found.append(piece)
            policy, key = piece.policy, piece.key
        return found

    def scored(self, stages: Sequence[Piece], seed: int, outputs: Path) -> list[Piece]:
        """The evaluations of the policy at the end of `stages`.

        Raises:
            ConfigError: a mistake in the overrides of an evaluation.
        """
        policy = stages[-1].policy if stages else Path(self.start)
        key = stages[-1].key if stages else policy_key(policy)
        return [
            _piece(name, "eval.py", overrides, (seed, policy, key), outputs)
            for name, overrides in self.evaluations.items()
        ]


def _piece(name: str, script: str, overrides: Sequence[str], begin: tuple[int, Path, str], outputs: Path) -> Piece:
    seed, policy, before = begin
    said = (*overrides, f"seed={seed}", f"model.path={policy}")
    with _outside_hydra():
        config = check_overrides(script.removesuffix(".py"), list(said))
    config["model"] = {key: before if value == str(policy) else value for key, value in config["model"].items()}
    config = {key: value for key, value in config.items() if key not in _WITHOUT_EFFECT}
    key = hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode()).hexdigest()[:KEY_LENGTH]
    return Piece(name, script, said, key, outputs / f"{name}-{key}")


@contextmanager
def _outside_hydra() -> Iterator[None]:
    """A job of a sweep runs inside Hydra, which composes one config at a time."""
    shared = GlobalHydra.instance()
    held, shared.hydra = shared.hydra, None
    try:
        yield
    finally:
        shared.hydra = held


def policy_key(folder: Path) -> str:
    """The key of a policy that was made elsewhere: of its weights.

    Raises:
        ConfigError: there is no policy.
    """
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise ConfigError(f"study.start={folder} holds no policy (no *.safetensors).")
    digest = hashlib.sha256()
    for path in weights:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:KEY_LENGTH]


def flat(overrides: Any) -> Iterator[str]:
    """Overrides as texts; lists in the list, e.g. those of a case, are taken apart.

    Raises:
        ConfigError: it is no list.
    """
    if not isinstance(overrides, list | tuple):
        raise ConfigError(f"A study's overrides are a list of texts, not {overrides!r:.60}.")
    for override in overrides:
        if isinstance(override, list | tuple):
            yield from flat(override)
        else:
            yield str(override)
