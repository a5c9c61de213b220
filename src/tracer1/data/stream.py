"""An endless stream of training steps: shards loaded by workers, shuffled block by block, data sets mixed by weight.

The order is a function of seed and epoch; workers only load, so their number changes nothing. A position is a few numbers.
It knows nothing about prompts, batches or the trainer.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch.utils.data import DataLoader, Dataset, Sampler

from tracer1.data.ordering import held_out, permutation, pick, rank_shards, rank_takes
from tracer1.data.shards import read_trajectories
from tracer1.errors import DataError
from tracer1.schema import Step

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StepSet:
    """One data set's training shards and how they are read."""

    name: str
    urls: tuple[str, ...]
    weight: float = 1.0
    val_fraction: float = 0.0  # trajectories that `held_out` names are left out
    history: int = 4  # K
    horizon: int = 10  # T
    on_bad_step: str = "error"  # or "warn"
    verify_images: bool = True
    shuffle_shards: int = 8  # shards whose steps are shuffled together, and held in memory
    seed: int = 0


@dataclass(frozen=True, slots=True)
class LoadedShard:
    """What a worker sends back. An error travels as text: torch would wrap an exception into a page of traceback."""

    steps: list[Step]
    skipped: list[str]
    error: str = ""


class ShardLoader(Dataset):
    """Map-style: the item at index i is this rank's share of the steps of shard i, unshuffled."""

    def __init__(self, source: StepSet, share: tuple[int, int]) -> None:
        self.source, self.share = source, share

    def __getitem__(self, shard: int) -> LoadedShard:
        source, loaded, ordinal = self.source, LoadedShard([], []), 0
        try:
            for steps in read_trajectories(
                source.urls[shard],
                history=source.history,
                horizon=source.horizon,
                on_bad_step=loaded.skipped.append if source.on_bad_step == "warn" else source.on_bad_step,
                verify_images=source.verify_images,
            ):
                if not held_out(steps[0].dataset, steps[0].trajectory, source.val_fraction):
                    if rank_takes(shard, ordinal, len(source.urls), self.share):
                        loaded.steps.extend(steps)
                    ordinal += 1
        except DataError as error:
            return LoadedShard([], loaded.skipped, str(error))
        return loaded


@dataclass(slots=True)
class Position:
    """Where the next step comes from: the `offset`-th of the shuffled block `block` of epoch `epoch`."""

    epoch: int = 0
    block: int = 0
    offset: int = 0


def shards_of(source: StepSet, share: tuple[int, int], epoch: int) -> list[int]:
    """The shards that one rank reads in an epoch, in order, as indices into `source.urls`."""
    return rank_shards(len(source.urls), source.name, source.seed, epoch, share)


class _Shards(Sampler):
    """The shards to load, epoch after epoch without end, from a block on."""

    def __init__(self, source: StepSet, share: tuple[int, int], start: Position) -> None:
        self.source, self.share = source, share
        self.epoch, self.first = start.epoch, start.block * source.shuffle_shards

    def __iter__(self) -> Iterator[int]:
        epoch, first = self.epoch, self.first
        while True:
            yield from shards_of(self.source, self.share, epoch)[first:]
            epoch, first = epoch + 1, 0


def _as_it_is(loaded: LoadedShard) -> LoadedShard:
    return loaded


class SetStream:
    """The steps of one data set that one rank sees, without end.

    Args:
        source: The data set.
        share: The rank and the number of ranks.
        num_workers: Processes that load shards ahead; 0 loads in this one.
    """

    def __init__(self, source: StepSet, share: tuple[int, int] = (0, 1), num_workers: int = 0) -> None:
        self.source, self.share, self.num_workers = source, share, num_workers
        self.position = Position()
        self.skipped: set[str] = set()  # one line for each bad step that was met
        self._block: list[Step] | None = None  # what is left of the current block, the next step last
        self._loads: Iterator[LoadedShard] | None = None
        if len(source.urls) < share[1]:
            log.debug("%s: %d shards for %d ranks: splitting by trajectory.", source.name, len(source.urls), share[1])

    def __iter__(self) -> Iterator[Step]:
        return self

    def __next__(self) -> Step:
        barren = 0  # epochs that ended without a step
        while True:
            if self._block is None:
                self._block = self._load_block()
            if self._block:
                self.position.offset += 1
                return self._block.pop()
            self._block, here = None, self.position
            blocks = -(-len(shards_of(self.source, self.share, here.epoch)) // self.source.shuffle_shards)
            if here.block + 1 < blocks:
                self.position = Position(here.epoch, here.block + 1)
                continue
            self._report_skipped()
            self.position, barren = Position(here.epoch + 1), barren + 1
            if barren == 2:  # the first may have been the end of one that had steps
                self._raise_empty()

    def _load_block(self) -> list[Step]:
        here, size = self.position, self.source.shuffle_shards
        if self._loads is None:
            self._loads = self._start_loading()
        steps: list[Step] = []
        for _ in shards_of(self.source, self.share, here.epoch)[here.block * size : (here.block + 1) * size]:
            loaded = self._next_load(self._loads)
            for line in loaded.skipped:
                if line not in self.skipped:  # once, not in every epoch
                    log.warning(line)
                    self.skipped.add(line)
            if loaded.error:
                self.close()
                raise DataError(loaded.error)
            steps.extend(loaded.steps)
        # without the rank: when ranks share shards, their steps differ anyway
        shuffled = permutation(len(steps), self.source.name, self.source.seed, here.epoch, here.block + 1)
        return [steps[i] for i in reversed(shuffled[here.offset :])]

    def _next_load(self, loads: Iterator[LoadedShard]) -> LoadedShard:
        try:
            return next(loads)
        except RuntimeError as error:  # torch's word for a worker that was killed
            self.close()
            if "exited unexpectedly" not in str(error) and "killed by signal" not in str(error):
                raise
            raise DataError(
                f"{self.source.name}: a loading process died ({error}). If memory ran out, lower data.num_workers or "
                "data.shuffle_shards, or write smaller shards."
            ) from error

    def _start_loading(self) -> Iterator[LoadedShard]:
        # a DataLoader gives the results in the order of the sampler, however many workers there are
        return iter(
            DataLoader(
                ShardLoader(self.source, self.share),
                batch_size=None,
                sampler=_Shards(self.source, self.share, self.position),
                num_workers=self.num_workers,
                prefetch_factor=1 if self.num_workers else None,  # whole shards: more would only cost memory
                collate_fn=_as_it_is,
            )
        )

    def _report_skipped(self) -> None:
        if self.skipped:
            epoch, count = self.position.epoch, len(self.skipped)
            log.warning("%s: epoch %d ends, %d bad steps so far (logged above).", self.source.name, epoch, count)

    def _raise_empty(self) -> None:
        rank, ranks = self.share
        raise DataError(
            f"Data set {self.source.name!r} has no training step for rank {rank} of {ranks} in its {len(self.source.urls)} "
            "shards. Write more trajectories, lower data.val_fraction, or use fewer ranks."
        )

    def seek(self, position: Position) -> None:
        """Goes on from a position; nothing is loaded before the next step is asked for."""
        self.close()
        self.position = position

    def close(self) -> None:
        """Stops the workers; the stream can be used again."""
        self._loads, self._block = None, None


class StepStream:
    """Endless steps for one rank: for each the data set is drawn by weight, then the next step of that set is given.

    Args:
        sets: The data sets; those of weight 0 are never drawn.
        rank: This process, from 0.
        world_size: All processes over all nodes.
        num_workers: Loading processes, shared among the data sets (at least one each, unless it is 0).
    """

    def __init__(self, sets: Sequence[StepSet], rank: int = 0, world_size: int = 1, num_workers: int = 0) -> None:
        self.sets = [source for source in sets if source.weight > 0]
        self.rank, self.world_size, self.draws = rank, world_size, 0
        workers = max(1, num_workers // len(self.sets)) if num_workers else 0
        self.streams = {source.name: SetStream(source, (rank, world_size), workers) for source in self.sets}

    def __iter__(self) -> Iterator[Step]:
        return self

    def __next__(self) -> Step:
        source = self.sets[pick([s.weight for s in self.sets], self.sets[0].seed, self.rank, self.draws)]
        step = next(self.streams[source.name])
        self.draws += 1
        return step

    @property
    def epoch(self) -> int:
        """The epoch of the data set that is furthest behind."""
        return min(stream.position.epoch for stream in self.streams.values())

    @property
    def skipped(self) -> int:
        """How many different bad steps were skipped so far."""
        return sum(len(stream.skipped) for stream in self.streams.values())

    def state_dict(self) -> dict[str, Any]:
        """This rank's position, as plain numbers."""
        return {
            "draws": self.draws,
            "rank": self.rank,
            "world_size": self.world_size,
            "sets": {
                name: {**asdict(stream.position), "shards": len(stream.source.urls)}
                for name, stream in self.streams.items()
            },
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on exactly from a position that this rank saved.

        Where that cannot be, because the number of ranks or of shards changed or a data set is new, that data set starts
        at the beginning of the epoch it had reached (a new one at 0), and a warning says so.
        """
        same_ranks = (state["rank"], state["world_size"]) == (self.rank, self.world_size)
        self.draws = state["draws"]
        for name, stream in self.streams.items():
            saved = dict(state["sets"].get(name, {"epoch": 0, "block": 0, "offset": 0, "shards": -1}))
            if saved.pop("shards") == len(stream.source.urls) and same_ranks:
                stream.seek(Position(**saved))
                continue
            why = "its shards" if same_ranks else "the ranks"
            log.warning(
                "%s: %s changed since the checkpoint; going on from the start of epoch %d.", name, why, saved["epoch"]
            )
            stream.seek(Position(saved["epoch"]))

    def close(self) -> None:
        """Stops the loading processes."""
        for stream in self.streams.values():
            stream.close()
