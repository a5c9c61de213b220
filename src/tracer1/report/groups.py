"""Which trainings are seeds of one another, and which follows from which. It knows configs as flat texts, nothing of pages."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tracer1.report.trainings import Training

# Settings in which seeds of one experiment differ, and those that change nothing of what is computed
_OF_A_SEED = (
    "seed",
    "data.seed",
    "ckpt_path",
    "overwrite",
    "rollout.dump",
    "report",
    "model.path",
    "model.reference",
    "demo",
)
_OF_A_PLACE = ("paths.", "logger.", "hydra.", "plugins")
_SEED_PART = re.compile(r"^seed[-_=]?\d+$")
MOST_DIFFERENCES = 4  # settings named in a label
ARROW = " → "


@dataclass
class Group:
    """Seeds of one experiment."""

    label: str
    trainings: list[Training]

    @property
    def seeds(self) -> list[str]:
        """In order; "?" where it is not known."""
        return [training.seed or "?" for training in self.trainings]


def without_seed(path: Path) -> str:
    """A path without its part that is called after a seed: what is equal belongs together."""
    return "/".join(part for part in path.parts if not _SEED_PART.match(part))


def seed_part(path: Path) -> str:
    """The part of a path that is called after a seed; empty where there is none."""
    return next((part for part in path.parts if _SEED_PART.match(part)), "")


def grouped(trainings: Sequence[Training]) -> list[Group]:
    """Trainings with the same name and the same settings, but for the seed, together; in the order in which they followed.

    Groups of the same name are told apart in their labels by the settings in which they differ.
    """
    found: dict[tuple[str, ...], list[Training]] = {}
    for training in trainings:
        settings = settings_of(training)
        # a run without a config is nobody's seed
        key = (training.name, *(f"{k}={v}" for k, v in settings.items())) if settings else (str(training.folder),)
        found.setdefault(key, []).append(training)
    groups = [Group(runs[0].name, sorted(runs, key=_seed_order)) for runs in found.values()]
    for label in {group.label for group in groups}:
        same = [group for group in groups if group.label == label]
        if len(same) > 1:
            tell_apart(same)
    return _in_order(groups)


def settings_of(training: Training) -> dict[str, str]:
    """What makes an experiment of it."""
    kept = {k: v for k, v in sorted(training.config.items()) if k not in _OF_A_SEED and not k.startswith(_OF_A_PLACE)}
    return kept | ({"from": _kind_of_start(training)} if kept else {})


def _kind_of_start(training: Training) -> str:
    """Where its weights came from, the same for all seeds: runs of one name may start from different ones."""
    start = Path(training.config.get("model.path", ""))
    outputs = Path(training.config.get("paths.outputs", "") or "/nowhere")
    return without_seed(start.relative_to(outputs) if start.is_relative_to(outputs) else start)


def _seed_order(training: Training) -> tuple[float, str]:
    return (float(training.seed) if training.seed.isdigit() else float("inf"), str(training.folder))


def tell_apart(groups: Sequence[Group], settings_by: Callable[[Training], Mapping[str, str]] = settings_of) -> None:
    """By the settings in which they differ; where those are many, by their folders."""
    settings = [settings_by(group.trainings[0]) for group in groups]
    names = dict.fromkeys(name for each in settings for name in each)
    differing = [name for name in names if len({each.get(name) for each in settings}) > 1]
    places = [Path(without_seed(group.trainings[0].folder.parent)).name for group in groups]
    for number, (group, each) in enumerate(zip(groups, settings, strict=True)):
        said = [f"{name.rpartition('.')[2]}={each[name]}" for name in differing if name in each]
        if not said or len(differing) > MOST_DIFFERENCES:
            said = [places[number] if len(set(places)) == len(places) else f"no. {number + 1}"]
        group.label = f"{group.label}, {', '.join(said)}"


def _in_order(groups: Sequence[Group]) -> list[Group]:
    """Each after the one whose policy it starts from, else by the time at which they began."""
    groups = sorted(groups, key=lambda group: min((t.began or float("inf") for t in group.trainings), default=0.0))
    every = [training for group in groups for training in group.trainings]
    placed: list[Group] = []
    while len(placed) < len(groups):
        waiting = [group for group in groups if group not in placed]
        free = [g for g in waiting if not any(_before(t, every) in _members(waiting, g) for t in g.trainings)]
        placed.append((free or waiting)[0])  # a circle can only be a mistake of the paths
    return placed


def _members(groups: Iterable[Group], but: Group) -> list[Training]:
    return [training for group in groups if group is not but for training in group.trainings]


def _before(training: Training, every: Sequence[Training]) -> Training | None:
    return parent(training.config.get("model.path", ""), every)


def parent(policy: str, every: Sequence[Training]) -> Training | None:
    """The training whose policy lies at a path; folders may have been moved as a whole since.

    Args:
        policy: As a config or a report names it, e.g. `outputs/demo/seed1/demo_stage1/policy`.
        every: All trainings at hand.
    """
    place = Path(policy)
    if place.name != "policy":
        return None
    exact = [t for t in every if t.folder == place.parent or t.config.get("paths.output_dir") == str(place.parent)]
    if exact:
        return exact[0]
    ends = [t for t in every if _same_end(t.folder, place.parent)]
    return ends[0] if len(ends) == 1 else None


def _same_end(folder: Path, other: Path) -> bool:
    """The same last two names, e.g. `seed1/demo_stage1`, or the same relative path."""
    return folder.parts[-2:] == other.parts[-2:] if len(other.parts) >= 2 else folder.name == str(other)


def chain(training: Training, every: Sequence[Training]) -> list[str]:
    """What it follows from, first the weights that no training at hand has made, last its own name."""
    names, seen, here = [training.name], {training.folder}, training
    while True:
        start = here.config.get("model.path", "")
        before = parent(start, every)
        if before is None or before.folder in seen:
            return [*([_planner(start)] if start else []), *names]
        names.insert(0, before.name)
        seen.add(before.folder)
        here = before


def _planner(path: str) -> str:
    """`demo/tiny_planner` for a folder, the name itself for a hub's."""
    parts = [part for part in Path(path).parts if part != "/"]
    return "/".join(parts[-3:] if parts[-1:] == ["policy"] else parts[-2:])


def parameters(groups: Sequence[Group], names: Mapping[str, str]) -> dict[str, list[str]]:
    """Rows of a table: what a setting is called -> its value in each group; rows in which nothing is set are left out."""
    rows = {said: [group.trainings[0].config.get(name, "") for group in groups] for name, said in names.items()}
    return {said: values for said, values in rows.items() if any(value not in ("", "None") for value in values)}
