"""One training, as its folder tells it: config, origin, time, how far it came, and every figure as a curve.

`metrics.jsonl` may be huge, half written or from another version: it is read line by line into plain arrays, and what cannot be read is
counted. It knows nothing of pages.
"""

import json
import math
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tracer1.report.found import METRICS
from tracer1.tracking.config_text import flatten, to_plain, without_passwords
from tracer1.tracking.journal import NOT_METRICS, read_lines

Point = tuple[float, float]  # x, y


@dataclass
class Series:
    """One figure over a training."""

    steps: array = field(default_factory=lambda: array("d"))  # optimizer updates, never falling
    rounds: array = field(default_factory=lambda: array("d"))  # NaN where the line said none
    values: array = field(default_factory=lambda: array("d"))

    def cut(self, step: float) -> None:
        """Forgets what a resumed training does again, from `step` on."""
        length = bisect_left(self.steps, step)
        for column in (self.steps, self.rounds, self.values):
            del column[length:]


@dataclass(eq=False)
class Training:
    """What is known of one run of train.py; fields are empty where nothing was recorded."""

    folder: Path
    config: Mapping[str, Any] = field(default_factory=dict)  # flat: dotted name -> text
    overrides: tuple[str, ...] = ()  # as they were said
    choices: Mapping[str, str] = field(default_factory=dict)  # config group -> what was chosen
    origin: Mapping[str, str] = field(default_factory=dict)  # git commit, versions
    series: dict[str, Series] = field(default_factory=dict)
    data: dict[str, str] = field(default_factory=dict)  # `training gui_odyssey` -> digest of its shards
    began: float | None = None  # seconds since 1970
    seconds: float = 0.0  # while it ran; pauses before it was resumed do not count
    resumed: int = 0  # times
    ended: bool | None = None  # what a store says; None: the folder tells
    problems: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The run's."""
        return self.config.get("run_name") or self.folder.name

    @property
    def seed(self) -> str:
        """As the config says it; empty where it does not."""
        return self.config.get("seed", "")

    @property
    def rounds_done(self) -> int | None:
        """The last round with figures; None where none was counted."""
        every = [
            max(values) for s in self.series.values() if (values := [r for r in s.rounds[-1:] if not math.isnan(r)])
        ]
        return int(max(every)) if every else None

    @property
    def updates_done(self) -> int | None:
        """The last optimizer update with figures."""
        every = [s.steps[-1] for s in self.series.values() if s.steps]
        return int(max(every)) if every else None

    @property
    def finished(self) -> bool:
        """It has written its policy, or a store says that it is over."""
        return (self.folder / "policy").is_dir() if self.ended is None else self.ended

    def points(self, name: str, by_round: bool) -> list[Point]:
        """A figure's finite points along rounds or optimizer updates; of several at one x the last counts."""
        series = self.series.get(name)
        if series is None:
            return []
        along = series.rounds if by_round else series.steps
        return list(
            {
                x: (x, y) for x, y in zip(along, series.values, strict=True) if math.isfinite(x) and math.isfinite(y)
            }.values()
        )


def read_training(folder: Path) -> Training:
    """Reads a run's folder; never raises for what is damaged or missing in it."""
    training = Training(folder)
    config = _yaml(folder / "config.yaml", training) or _yaml(folder / "hydra" / "config.yaml", training)
    training.config = flatten(to_plain(config)) if isinstance(config, dict) else {}
    said = _yaml(folder / "hydra" / "overrides.yaml", training)
    training.overrides = tuple(map(_without_secrets, said)) if isinstance(said, list) else ()
    hydra = _yaml(folder / "hydra" / "hydra.yaml", training)
    training.choices = _choices(hydra)
    training.origin = _origin(folder / "run.json", training)
    _read_metrics(training)
    if not training.config:
        training.problems.append("Its config.yaml is missing: what was set is not known.")
    if list(folder.glob("metrics-*.jsonl")):
        training.problems.append(
            "The folder also holds figures of earlier runs (metrics-*.jsonl), which are not shown."
        )
    return training


def _read_metrics(training: Training) -> None:
    path = training.folder / METRICS
    damaged = odd = 0
    last: float | None = None
    try:
        for line, _ in _lines(path):
            time, step = _number(line.get("time")), _number(line.get("step"))
            again = _number(line.get("resumed_at_step"))
            if again is not None:
                training.resumed += 1
                for series in training.series.values():
                    series.cut(again)
                last = None
            if time is not None:
                training.began = time if training.began is None else training.began
                training.seconds += max(0.0, time - last) if last is not None else 0.0
                last = time
            damaged += not line
            if isinstance(line.get("dataset"), dict):
                training.data |= data_of(line["dataset"])
            if step is not None:
                odd += add_line(training.series, line, step)
        if path.stat().st_size and not _ends(path):
            training.problems.append(f"The last line of {METRICS} is cut off: the run is still going, or was killed.")
    except OSError as error:
        training.problems.append(f"{METRICS} cannot be read ({error.strerror}).")
    if damaged:
        training.problems.append(f"{damaged:,} lines of {METRICS} cannot be read.")
    if odd:
        training.problems.append(f"{odd:,} figures of {METRICS} are no finite numbers and are not drawn.")


def _lines(path: Path) -> Iterator[tuple[dict[str, Any], int]]:
    """Lines as the journal reads them; one that is nested without end ends them."""
    try:
        yield from read_lines(path)
    except RecursionError:
        yield {}, 0


def add_line(found: dict[str, Series], line: Mapping[str, Any], step: float) -> int:
    """Takes one log call; returns how many of its figures are no finite numbers."""
    odd, round_ = 0, _number(line.get("round"))
    for name, value in line.items():
        if name in NOT_METRICS:
            continue
        number = _number(value)
        if number is None or not math.isfinite(number):
            odd += 1
            continue
        series = found.setdefault(name, Series())
        if series.steps and step < series.steps[-1]:
            series.cut(step)  # begun again without a word
        series.steps.append(step)
        series.rounds.append(math.nan if round_ is None else round_)
        series.values.append(number)
    return odd


def data_of(facts: Mapping[str, Any]) -> dict[str, str]:
    """What a run says of a data set, as a setting and its value."""
    return {f"{facts.get('context', '?')} {facts.get('name', '?')}": str(facts.get("digest", "?"))}


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _ends(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) == b"\n"


def _yaml(path: Path, training: Training) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        training.problems.append(f"{path.relative_to(training.folder)} cannot be read.")
        return None


def _without_secrets(override: Any) -> str:
    key, sign, value = str(override).partition("=")
    return without_passwords(f"{key}{sign}{to_plain(value, key.rpartition('.')[2])}")


def _choices(hydra: Any) -> dict[str, str]:
    try:
        chosen = hydra["hydra"]["runtime"]["choices"]
        return {str(group): str(name) for group, name in chosen.items() if not str(group).startswith("hydra/")}
    except (TypeError, LookupError, AttributeError):
        return {}


def _origin(path: Path, training: Training) -> dict[str, str]:
    """What `run.json` says of the code that ran; earlier versions did not say it."""
    try:
        origin = json.loads(path.read_bytes()).get("origin")
        return {str(name): str(value) for name, value in origin.items()} if isinstance(origin, dict) else {}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, RecursionError):
        training.problems.append("run.json cannot be read.")
        return {}
