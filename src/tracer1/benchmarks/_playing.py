"""Plays a benchmark to the end: environments side by side, a record, a row for each episode, the figures. It knows no model and no config.

What is left in the folder: `<name>.json` (the figures), `<name>.episodes.jsonl` (a row for each episode), and plan_act's own record with
every step and screenshot, which `tools/show_episode.py` draws and `agent.py replay=` plays again.
"""

import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tracer1.benchmarks._played import PlayedBenchmark
from tracer1.benchmarks._result import BenchmarkResult
from tracer1.errors import ConfigError, EnvironmentFault
from tracer1.interfaces import Environment, Executor, Observation
from tracer1.plan_act.episode import FAULT, Episode, Job, Turn
from tracer1.plan_act.planner import Planner
from tracer1.plan_act.record import EpisodeRecord
from tracer1.plan_act.session import ALL, refused_by
from tracer1.plan_act.side_by_side import play_all
from tracer1.plan_act.view import EpisodeView

log = logging.getLogger(__name__)
SAY_S = 15.0  # between two lines of progress where nothing can be redrawn


def play_benchmark(
    benchmark: PlayedBenchmark,
    make_planner: Callable[[], Planner],
    executor: Executor | None,
    folder: Path,
    about: Mapping[str, Any],
) -> BenchmarkResult:
    """Plays all of it.

    Args:
        benchmark: What, and what counts as a success.
        make_planner: Gives who plans for all episodes; called once it is clear that there is something to play.
        executor: Executes the first step of each plan.
        folder: Where the files go; made where it does not exist.
        about: Goes into the figures' file and the record: whose plans these are.

    Returns:
        What `benchmark.result` gives.

    Raises:
        ConfigError: no executor, no such task, or nothing that can be played.
        EnvironmentFault: too many episodes met a fault: what is left is no fair sample.
        KeyboardInterrupt: Ctrl-C, with a line that says what is there.
    """
    if executor is None:
        raise ConfigError("Nobody executes: set an executor, e.g. executor=direct.")
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        environments = [stack.enter_context(closing(benchmark.make_environment()))]
        jobs, beside = _agenda(benchmark, environments[0])
        planner = make_planner()
        for _ in range(min(benchmark.parallel, len(jobs)) - 1):
            environments.append(stack.enter_context(closing(benchmark.make_environment())))
        settings = {**about, "environment": {"name": benchmark.name}, "rules": asdict(benchmark.rules)}
        record = stack.enter_context(closing(EpisodeRecord(folder, settings)))
        kept = stack.enter_context(closing(_Rows(benchmark, len(jobs), folder)))
        began = time.monotonic()
        _play(jobs, environments, (planner, executor), record, kept)
        beside["wall_s"] = round(time.monotonic() - began, 1)
    rows = kept.finish()
    _check_faults(rows, benchmark.max_faults, kept.path)
    result = benchmark.result(rows, beside)
    report = {**about, **result.as_json(), "episodes_file": str(kept.path), "record": str(record.path)}
    (folder / f"{benchmark.name}.json").write_text(json.dumps(report, indent=1, ensure_ascii=False), encoding="utf-8")
    return result


def _agenda(benchmark: PlayedBenchmark, environment: Environment) -> tuple[list[Job], dict[str, Any]]:
    """What is played, and what is not, with the reasons."""
    known = environment.tasks()
    excluded = dict(benchmark.excluded(environment)) if benchmark.tasks == ALL else {}
    jobs = benchmark.jobs([task for task in known if task not in excluded])
    refused = refused_by(environment, (job.task for job in jobs))
    for task, reason in refused.items():
        log.warning("%s is refused, not scored 0: %s", task, reason)
    jobs = [job for job in jobs if job.task not in refused]
    if not jobs:
        task, reason = next(iter(refused.items()))
        raise ConfigError(f"All tasks of benchmark.tasks are refused, e.g. {task}: {reason}")
    return jobs, {"environment": dict(benchmark.about(environment)), "excluded": excluded, "refused": refused}


def _play(
    jobs: Sequence[Job],
    environments: Sequence[Environment],
    who: tuple[Planner, Executor],
    record: EpisodeRecord,
    kept: "_Rows",
) -> None:
    """Plays all jobs while it shows how far it is."""
    view = EpisodeView(len(jobs), record.screenshot)
    redrawn = view.console.is_terminal
    watchers = [record, kept, view if redrawn else _Lines(kept)]
    try:
        with view if redrawn else nullcontext():
            play_all(jobs, environments, *who, kept.benchmark.rules, watchers)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"Stopped after {len(kept.rows):,} of {len(jobs):,} episodes of {kept.benchmark.name}: there are no figures. Their rows "
            f"are in {kept.part}, all steps in {record.path}; the same command starts from the beginning."
        ) from None


class _Rows:
    """A watcher that keeps a row of every attempt that counts, in a file at once."""

    def __init__(self, benchmark: PlayedBenchmark, total: int, folder: Path) -> None:
        self.benchmark, self.total = benchmark, total
        self.path = folder / f"{benchmark.name}.episodes.jsonl"
        self.part = self.path.with_name(f"{self.path.name}.part")
        self.rows: dict[int, dict[str, Any]] = {}  # number of the job -> row
        self._file = self.part.open("w", encoding="utf-8")

    def looked(self, episode: Episode, number: int, seen: Observation) -> None: ...

    def turned(self, episode: Episode, turn: Turn) -> None: ...

    def ended(self, episode: Episode) -> None:
        """An attempt that met a fault counts only where none follows."""
        if episode.end == FAULT and episode.attempt < self.benchmark.restarts:
            return
        row = self.rows[episode.number] = self.benchmark.row(episode)
        self._file.write(f"{json.dumps(row, ensure_ascii=False)}\n")
        self._file.flush()

    def finish(self) -> list[dict[str, Any]]:
        """All rows in the order of the jobs; the file is put into that order, too."""
        rows = [self.rows[number] for number in sorted(self.rows)]
        self.path.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows), encoding="utf-8")
        self.part.unlink()
        return rows

    def close(self) -> None:
        """Closes the file; what was written stays."""
        self._file.close()


class _Lines:
    """A watcher for where nothing can be redrawn: now and then a line."""

    def __init__(self, kept: _Rows) -> None:
        self._kept, self._said = kept, time.monotonic()

    def looked(self, episode: Episode, number: int, seen: Observation) -> None: ...

    def turned(self, episode: Episode, turn: Turn) -> None: ...

    def ended(self, episode: Episode) -> None:
        """Says how far it is; `kept` has been told before."""
        if time.monotonic() - self._said >= SAY_S:
            self._said = time.monotonic()
            name, rows = self._kept.benchmark.averaged, self._kept.rows.values()
            values = [float(row[name]) for row in rows if row["score"] is not None]
            mean = f", {name} {sum(values) / len(values):.3f}" if values else ""
            log.info("%s: %d of %d episodes%s", self._kept.benchmark.name, len(rows), self._kept.total, mean)


def _check_faults(rows: Sequence[Mapping[str, Any]], share: float, path: Path) -> None:
    faults = Counter(row["fault"] for row in rows if row["score"] is None)
    if faults.total() > share * len(rows) or faults.total() == len(rows):
        fault, times = faults.most_common(1)[0]
        raise EnvironmentFault(
            f"{faults.total():,} of {len(rows):,} episodes met a fault, more than {share:.0%}: there are no figures, what is left is no "
            f"fair sample. {times:,} times: {fault.rstrip('.')}. The rows are in {path}; mend it, or raise rollout.max_faults."
        )
