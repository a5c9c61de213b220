"""What differs between trainings: in their settings, their data and code, and their figures. Plain values; it knows no page.

Runs that differ by the seed alone are one side of the comparison. What belongs to a machine and not to an experiment (paths, hosts,
ids of runs) is left out or cut down to what two machines have in common.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from tracer1.report.groups import Group, settings_of, tell_apart
from tracer1.report.trainings import Training
from tracer1.tracking.over_seeds import t_95

NAMES = ("run_name",)  # of runs: they say nothing about what was computed
PLACES = (
    "endpoints",
    "url",
    "host",
    "port",
    "cache",
    "folder",
    "dirpath",
    "output_dir",
)  # last parts of settings of a machine
MISSING = "–"
BESIDE = ("checkpoint.", "trainer.profiler")  # settings that change nothing of what is computed
COMMIT = "mlflow.source.git.commit"
LOW_ENDS = (
    "repeating",
    "repeating_more",
    "infra_errors",
    "bad_actions",
    "lost",
    "loss",
    "truncated",
    "skipped",
    "dropped_groups",
)
HIGH = ("reward/", "reward_by_tool/", "val/", "episode/success", "episode/score")
NEITHER = ("plan_length", "steps", "episodes", "faults")  # ends of names that say what was done, not how well
_PATH = re.compile(r"(?<![\w.:/])/(?:[^\s'\",\[\]/]+/)*([^\s'\",\[\]/]+/[^\s'\",\[\]/]+)")
_HOST = re.compile(r"(\w+://)[^/\s'\",]+")


@dataclass(frozen=True, slots=True)
class Value:
    """A figure of one side."""

    by_seed: Mapping[str, float]  # seed, or the run's number where seeds are not told apart

    @property
    def mean(self) -> float:
        """NaN where nobody has it."""
        return fmean(self.by_seed.values()) if self.by_seed else math.nan

    @property
    def sd(self) -> float:
        """Sample standard deviation; NaN of fewer than two."""
        return stdev(self.by_seed.values()) if len(self.by_seed) > 1 else math.nan


@dataclass(frozen=True, slots=True)
class Difference:
    """Between a side and the first one."""

    value: float
    half_width: float  # of its 95 % interval; NaN where there are too few seeds for one

    @property
    def beyond(self) -> bool | None:
        """Whether the interval leaves out zero; None where there is none."""
        return None if math.isnan(self.half_width) else abs(self.value) > self.half_width


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of all sides."""

    metric: str
    kind: str  # `last` or `best`
    values: Sequence[Value]
    differences: Sequence[Difference | None]  # of each side from the first, whose own is None


@dataclass(frozen=True, slots=True)
class Comparison:
    """What there is to say."""

    sides: Sequence[Group]
    settings: Mapping[str, Sequence[str]]  # only those that differ: name -> value of each side
    data: Mapping[str, Sequence[str]]
    code: Mapping[str, Sequence[str]]
    rows: Sequence[Row]


def compare(trainings: Sequence[Training]) -> Comparison:
    """Compares trainings; the first one's side is what the others are measured against."""
    sides = sides_of(trainings)
    firsts = [side.trainings[0] for side in sides]
    used = [name for training in firsts for name in training.data]
    return Comparison(
        sides,
        differing([comparable(training) for training in firsts]),
        differing([training.data or dict.fromkeys(used, "not recorded") for training in firsts]),
        differing([_code(training) for training in firsts]),
        [row for metric in _metrics(trainings) for row in _rows(metric, sides)],
    )


def sides_of(trainings: Sequence[Training]) -> list[Group]:
    """Runs with the same settings but for the seed, together, in the order in which they were named."""
    found: list[tuple[Mapping[str, str], list[Training]]] = []
    for training in trainings:
        settings = comparable(training)
        side = next(
            (runs for known, runs in found if settings == known and settings and _same_data(training, runs)), None
        )
        if side is None:  # a run without a config is nobody's seed
            found.append((settings, [training]))
        else:
            side.append(training)
    sides = [Group(_name(runs), runs) for _, runs in found]
    for label in {side.label for side in sides}:
        same = [side for side in sides if side.label == label]
        if len(same) > 1:
            tell_apart(same, comparable)
    return sides


def comparable(training: Training) -> dict[str, str]:
    """The settings that make an experiment of it, in words that do not depend on the machine."""
    roots = [training.config.get(name, "") for name in ("paths.outputs", "paths.root")]
    left_out = {k for k in training.config if k in NAMES or k.rpartition(".")[2] in PLACES or k.startswith(BESIDE)}
    return {k: _anywhere(v, roots) for k, v in settings_of(training).items() if k not in left_out}


def differing(sides: Sequence[Mapping[str, str]]) -> dict[str, list[str]]:
    """The names whose values are not the same everywhere."""
    names = dict.fromkeys(name for side in sides for name in side)
    rows = {name: [side.get(name, MISSING) for side in sides] for name in names}
    return {name: values for name, values in rows.items() if len({MISSING if v == "None" else v for v in values}) > 1}


def direction(metric: str) -> int:
    """1 where more is better, -1 where less is, 0 where neither is said."""
    end = metric.rpartition("/")[2].rpartition(".")[2]
    if end.endswith(LOW_ENDS) and not metric.startswith("policy/"):  # the loss of a surrogate says nothing
        return -1
    return 1 if metric.startswith(HIGH) and end not in NEITHER else 0


def difference(first: Value, other: Value) -> Difference:
    """Other less first, with a 95 % interval by Student's t.

    Of the same seeds the differences of equal seeds are judged; of others Welch's interval; of one run beside several seeds, whether
    it could be one more of them.
    """
    a, b = list(first.by_seed.values()), list(other.by_seed.values())
    value = other.mean - first.mean
    if len(a) > 1 and first.by_seed.keys() == other.by_seed.keys():
        pairs = [other.by_seed[seed] - first.by_seed[seed] for seed in first.by_seed]
        return Difference(value, t_95(len(pairs) - 1) * stdev(pairs) / math.sqrt(len(pairs)))
    if len(a) > 1 and len(b) > 1:
        va, vb = stdev(a) ** 2 / len(a), stdev(b) ** 2 / len(b)
        if va + vb == 0:
            return Difference(value, 0.0)
        freedom = (va + vb) ** 2 / (va**2 / (len(a) - 1) + vb**2 / (len(b) - 1))
        return Difference(value, t_95(freedom) * math.sqrt(va + vb))
    several = a if len(a) > 1 else b
    if a and b and len(several) > 1:
        return Difference(value, t_95(len(several) - 1) * stdev(several) * math.sqrt(1 + 1 / len(several)))
    return Difference(value, math.nan)


def _code(training: Training) -> dict[str, str]:
    commit = training.origin.get(COMMIT, "")[:10] + " + changes" * (training.origin.get("git.dirty") == "true")
    versions = {name.removeprefix("version."): v for name, v in training.origin.items() if name.startswith("version.")}
    return {**({"git commit": commit} if commit else {}), **versions}


def _same_data(training: Training, runs: Sequence[Training]) -> bool:
    """The same shards, as far as both have recorded them."""
    return all(run.data.get(name, digest) == digest for run in runs for name, digest in training.data.items())


def _name(runs: Sequence[Training]) -> str:
    """What the runs are called, or what their names begin with."""
    names = list(dict.fromkeys(run.name for run in runs))
    if len(names) == 1:
        return names[0]
    start = names[0][: next((k for k, letters in enumerate(zip(*names, strict=False)) if len(set(letters)) > 1), 0)]
    return f"{start}*" if len(start) > 2 else f"{names[0]} and {len(names) - 1} more"


def _anywhere(value: str, roots: Sequence[str]) -> str:
    """A value without the folders of one machine and the names of hosts."""
    for root in roots:
        if root not in ("", ".", "/"):
            value = value.replace(f"{root.rstrip('/')}/", "")
    value = value.replace("//", "/", 1) if value.startswith("//") else value
    return _PATH.sub(r"\1", _HOST.sub(r"\1", value)).replace("./", "")


def _metrics(trainings: Sequence[Training]) -> list[str]:
    names = dict.fromkeys(name for training in trainings for name in training.series if name != "round")
    order = ("val/", "reward/", "reward_by_tool/", "episode/", "sft/", "policy/", "rollout/", "executor/", "optim/")
    return sorted(
        names, key=lambda name: (next((k for k, start in enumerate(order) if name.startswith(start)), 99), name)
    )


def _rows(metric: str, sides: Sequence[Group]) -> list[Row]:
    kinds = ["last"] if direction(metric) == 0 else ["last", "best"]
    rows = []
    for kind in kinds:
        values = [_value(metric, kind, side.trainings) for side in sides]
        if kind == "best" and all(
            value.by_seed == row.by_seed for value, row in zip(values, rows[0].values, strict=True)
        ):
            continue  # the last is the best
        against = [
            None if not (k and values[0].by_seed and v.by_seed) else difference(values[0], v)
            for k, v in enumerate(values)
        ]
        rows.append(Row(metric, kind, values, against))
    return rows


def _value(metric: str, kind: str, trainings: Sequence[Training]) -> Value:
    seeds = [training.seed for training in trainings]
    found = {}
    for number, training in enumerate(trainings):
        points = training.points(metric, by_round=False)
        if points:
            ys = [y for _, y in points]
            key = seeds[number] if seeds.count(seeds[number]) == 1 and seeds[number] else f"run {number}"
            found[key] = ys[-1] if kind == "last" else (max(ys) if direction(metric) > 0 else min(ys))
    return Value(found)
