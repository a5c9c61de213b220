"""Answers from a dump of rollouts instead of a model: `rollout.dump=DIR` writes one, `engine=recorded engine.folder=DIR` replays it.

A response is found by its seed, so the same run gets the same responses back, token for token: two trainers can be timed on the
same work, and a bug report can carry what was sampled. It knows nothing of policies, rewards or plans.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

from tracer1.engines import ENGINES
from tracer1.engines.rollout_file import PATTERN, RolloutRecord, read_rollouts
from tracer1.errors import EngineError
from tracer1.interfaces import Sampling
from tracer1.schema import Prompt, Response


@ENGINES.register("recorded")
class RecordedEngine:
    """Replays recorded responses; one round of the dump is held in memory at a time.

    Args:
        folder: What `rollout.dump` wrote, of all ranks: a replay may run on another number of them.

    Raises:
        EngineError: the folder holds no recorded rollouts.
    """

    apart = True

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        paths = sorted(self.folder.glob(PATTERN))
        self._rounds = [list(files) for _, files in groupby(paths, key=lambda path: path.name.split("-rank")[0])]
        if not self._rounds:
            raise EngineError(
                f"engine.folder={folder} holds no recorded rollouts ({PATTERN}). A training writes them with rollout.dump=DIR."
            )
        self._at = -1  # which round of the dump is in memory
        self._records: dict[int, RolloutRecord] = {}  # its responses by seed

    @contextmanager
    def serving(self, policy: Any) -> Iterator[None]:
        """Takes nothing of `policy`: what it would have said is known."""
        yield

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[Sequence[int]]) -> list[Response]:
        """The recorded responses of these seeds, group-adjacent; `sampling` was settled when they were recorded.

        Raises:
            EngineError: one of them was not recorded.
        """
        return [
            self._find(prompt, seed, i)
            for prompt, group in zip(prompts, seeds, strict=True)
            for i, seed in enumerate(group)
        ]

    def _find(self, prompt: Prompt, seed: int, i: int) -> Response:
        for _ in range(len(self._rounds) + 1):  # the round in memory, then the ones after it, and around
            if (record := self._records.get(seed)) is not None and record.key == prompt.key:
                return record.response
            self._at = (self._at + 1) % len(self._rounds)
            self._records = {record.seed: record for path in self._rounds[self._at] for record in read_rollouts(path)}
        raise EngineError(self._missing(prompt, seed, i))

    def _missing(self, prompt: Prompt, seed: int, i: int) -> str:
        """What is not there, and what of it is."""
        key = prompt.key
        of_step = [r for files in self._rounds for path in files for r in read_rollouts(path) if r.key == key]
        asked = (
            f"Response {i} to step {key!r} (seed {seed}) is not among the {len(self._rounds)} rounds in {self.folder}"
        )
        if of_step:
            rounds = sorted({record.round for record in of_step})
            return (
                f"{asked}: rounds {rounds} answered that step under other seeds. Replay with the seed, data, "
                "algorithm.group_size and round of the recorded run (a resumed run replays from its checkpoint on)."
            )
        return (
            f"{asked}, and no round answered that step. Replay with the recorded run's seed and data, ask for no more rounds "
            "than it had, and skip the validation, which is not recorded: data.val_limit=0."
        )
