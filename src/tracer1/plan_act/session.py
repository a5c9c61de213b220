"""A run of episodes with all that is kept of it: record, traces, view, table. It knows no config and no model."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from tracer1.errors import ConfigError
from tracer1.interfaces import Environment, Executor
from tracer1.plan_act.episode import Job, Result, Rules
from tracer1.plan_act.loop import Watcher
from tracer1.plan_act.planner import Planner
from tracer1.plan_act.record import EpisodeRecord
from tracer1.plan_act.replay import ReplayPlanner
from tracer1.plan_act.side_by_side import play_all
from tracer1.plan_act.traces import EpisodeTraces
from tracer1.plan_act.view import EpisodeView, show_results
from tracer1.registry import nearest
from tracer1.tracking.traces import TraceSender

log = logging.getLogger(__name__)

EXPERIMENT = "tracer1"
ALL = "all"  # instead of a task's name
ASKED = ("task", "seeds", "first_seed")


@dataclass(frozen=True)
class Session:
    """How and where episodes are played.

    Args:
        folder: The run's.
        settings: What the record says of the run.
        tracking_uri: Where MLflow keeps the traces; None keeps none.
        rules: Limits.
    """

    folder: Path
    settings: Mapping[str, Any]
    tracking_uri: str | None
    rules: Rules

    def play(
        self, jobs: Sequence[Job], environments: Sequence[Environment], planner: Planner, executor: Executor | None
    ) -> list[Result]:
        """Plays all jobs, keeps a record and shows how far it is.

        Raises:
            ConfigError: no executor.
            Tracer1Error: something else that is wrong for all of them.
            KeyboardInterrupt: Ctrl-C, with a line that says what was recorded.
        """
        if executor is None:
            raise ConfigError("Nobody executes: set an executor, e.g. executor=direct.")
        record = EpisodeRecord(self.folder, {**self.settings, "rules": asdict(self.rules)})
        view = EpisodeView(len(jobs), record.screenshot)
        watchers: list[Watcher] = [record, view]
        if isinstance(planner, ReplayPlanner):
            watchers.append(planner)
        sender = None if self.tracking_uri is None else TraceSender(self.tracking_uri, EXPERIMENT)
        if sender is not None:
            watchers.append(EpisodeTraces(sender, {"run": self.folder.name}))
        try:
            with closing(record), view:
                return play_all(jobs, environments, planner, executor, self.rules, watchers)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"Stopped: {record.path} has {record.turns} steps and {record.episodes} whole episodes of {len(jobs)}."
            ) from None
        finally:
            if sender is not None:
                sender.close()

    def replay(self, replay: ReplayPlanner, environments: Sequence[Environment]) -> list[Result]:
        """Plays a record's episodes again, by the rules that it was played by.

        Raises:
            ConfigError: it was recorded in another environment.
        """
        recorded, here = replay.recording.settings, self.settings["environment"]["name"]
        name = recorded.get("environment", {}).get("name", here)
        if name != here:
            raise ConfigError(
                f"{replay.recording.path} was recorded in {name}, not in {here}: use +environment={name}."
            )
        known = {f.name for f in fields(Rules)}
        rules = replace(self.rules, **{key: value for key, value in recorded.get("rules", {}).items() if key in known})
        return replace(self, rules=rules).play(replay.jobs, environments, replay, replay)

    def show(self, results: Sequence[Result], replay: ReplayPlanner | None = None) -> None:
        """The table at the end, and where to look next."""
        path = self.folder / "episodes.jsonl"
        notes = [
            f"record: {path}",
            f"  python tools/show_episode.py {path} --out {self.folder / 'episodes.html'}",
        ]
        if self.tracking_uri is not None:
            notes.append(f"  mlflow ui --backend-store-uri {self.tracking_uri}")
        if replay is not None:
            same = len(replay.jobs) - len(replay.partings)
            notes.insert(0, f"{same} of {len(replay.jobs)} episodes went as recorded in {replay.recording.path}")
            notes[1:1] = [f"  parted: {parting}" for parting in replay.partings]
        show_results(results, notes)


def asked_of(environment: Mapping[str, Any] | None, known: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What an environment's group asks for (task, seeds, first_seed), and what the environment is made of.

    Raises:
        ConfigError: there is no such group, or it asks for no task.
    """
    if environment is None or environment.get("name") is None:
        raise ConfigError(f"Say where to act: +environment=miniwob, or another of {', '.join(known)}.")
    if "task" not in environment:
        raise ConfigError("environment.task is missing: say what to play, e.g. +environment.task=login-user.")
    asked = {"tasks": environment["task"], "seeds": environment.get("seeds", 1)}
    asked["first_seed"] = environment.get("first_seed", 0)
    return asked, {name: value for name, value in environment.items() if name not in ASKED}


def rules_of(agent: Mapping[str, Any], data: Mapping[str, Any]) -> Rules:
    """The limits of the config's groups."""
    return Rules(
        max_steps=agent["max_steps"], max_lost=agent["max_lost"], restarts=agent["restarts"], history=data["history"]
    )


def jobs_of(tasks: str | Sequence[str], seeds: int | Sequence[int], first_seed: int, known: Sequence[str]) -> list[Job]:
    """The jobs of some tasks, task by task.

    Args:
        tasks: One task, several, or `all`.
        seeds: How many of each, or which.
        first_seed: Where counting begins.
        known: The environment's tasks.

    Raises:
        ConfigError: no such task, or seeds that are none.
    """
    names = list(known) if tasks == ALL else [tasks] if isinstance(tasks, str) else list(tasks)
    for name in names:
        if name not in known:
            raise ConfigError(
                f"environment.task: there is no task {name!r}.{nearest(str(name), list(known))} There are {len(known)}; "
                "environment.task=all plays them all."
            )
    if not names:
        raise ConfigError("environment.task is empty: there is no episode. Name tasks, or say environment.task=all.")
    return [Job(name, number) for name in names for number in seeds_of(seeds, first_seed)]


def seeds_of(seeds: int | Sequence[int], first_seed: int) -> Sequence[int]:
    """So many seeds from the first on, or those that are listed.

    Raises:
        ConfigError: they are none.
    """
    numbers = range(first_seed, first_seed + seeds) if _whole(seeds) and _whole(first_seed) else seeds
    wrong = not isinstance(numbers, Sequence) or isinstance(numbers, str)
    if wrong or not numbers or not (isinstance(numbers, range) or all(map(_whole, numbers))):
        raise ConfigError(
            f"environment.seeds={seeds!r:.60} and first_seed={first_seed!r:.60} give no episode: seeds is how many of each task, "
            "from first_seed on, or a list of whole numbers."
        )
    return numbers


def refused_by(environment: Environment, tasks: Iterable[str]) -> dict[str, str]:
    """Task -> why it cannot be played or scored here, in the order of the tasks; those that can are left out."""
    return {task: why for task in dict.fromkeys(tasks) if (why := environment.refuses(task))}


def without_refused(jobs: Sequence[Job], environment: Environment) -> list[Job]:
    """The jobs that can be played and scored here. A warning names the other tasks: they are no episodes with a score of 0.

    Raises:
        ConfigError: all of them are refused.
    """
    refused = refused_by(environment, (job.task for job in jobs))
    left = [job for job in jobs if job.task not in refused]
    if not left:
        reasons = "; ".join(f"{task}: {why}" for task, why in refused.items())
        raise ConfigError(f"Nothing can be played, every task is refused, not scored 0: {reasons}")
    for task, why in refused.items():
        log.warning("%s is refused and left out, not scored 0: %s", task, why)
    return left


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
