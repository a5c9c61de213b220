"""An endless stream of training steps: shards loaded by workers, shuffled block by block, data sets mixed by weight.

The order is a function of seed and epoch; workers only load, so their number changes nothing. A position is a few numbers.
It knows nothing about prompts, batches or the trainer.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch.utils.data import DataLoader, Sampler

from tracer1.data.loading import LoadedShard, ShardLoader, StepSet
from tracer1.data.ordering import permutation, pick, rank_shards
from tracer1.errors import DataError
from tracer1.needs import left_out_text
from tracer1.schema import Step

log = logging.getLogger(__name__)


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
        self._lacking: dict[int, Counter[str]] = {}  # by shard: its steps that were left out, by what they lack
        self._told: set[str] = set()  # of what is said once
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
            self._report_epoch()
            self.position, barren = Position(here.epoch + 1), barren + 1
            if barren == 2:  # the first may have been the end of one that had steps
                self._raise_empty()

    def _load_block(self) -> list[Step]:
        here, size = self.position, self.source.shuffle_shards
        if self._loads is None:
            self._loads = self._start_loading()
        steps: list[Step] = []
        for shard in shards_of(self.source, self.share, here.epoch)[here.block * size : (here.block + 1) * size]:
            loaded = self._next_load(self._loads)
            for line in loaded.skipped:
                if line not in self.skipped:  # once, not in every epoch
                    log.warning(line)
                    self.skipped.add(line)
            if loaded.error:
                self.close()
                raise DataError(loaded.error)
            steps.extend(loaded.steps)
            self._lacking[shard] = loaded.left_out
        self._tell_left_out("so far")
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
                # whole shards: one waits to be taken while another is loaded; more would only cost memory
                prefetch_factor=2 if self.num_workers else None,
                collate_fn=_as_it_is,
            )
        )

    @property
    def left_out(self) -> Counter[str]:
        """How many different steps were left out so far, by what they lack."""
        return sum(self._lacking.values(), Counter())

    def _tell_left_out(self, when: str) -> None:
        if when not in self._told and self.left_out:
            text = left_out_text(self.left_out)
            log.info("%s: steps left out because of data.needs, %s: %s.", self.source.name, when, text)
            self._told.add(when)

    def _report_epoch(self) -> None:
        if self.skipped:
            epoch, count = self.position.epoch, len(self.skipped)
            log.warning("%s: epoch %d ends, %d bad steps so far (logged above).", self.source.name, epoch, count)
        self._tell_left_out("in a whole epoch")

    def _raise_empty(self) -> None:
        rank, ranks = self.share
        where = f"{self.source.name!r} has no training step for rank {rank} of {ranks} in its {len(self.source.urls)} shards"
        if self.left_out:
            raise DataError(
                f"Data set {where}: what it has is left out because of data.needs, {left_out_text(self.left_out)}. Train on "
                "it with a reward that needs less, give it the weight 0, or set data.needs=[]."
            )
        raise DataError(f"Data set {where}. Write more trajectories, lower data.val_fraction, or use fewer ranks.")

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
                name: {**asdict(stream.position), "shards": len(stream.source.urls), "needs": list(stream.source.needs)}
                for name, stream in self.streams.items()
            },
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on exactly from a position that this rank saved.

        Where that cannot be, because the number of ranks or of shards or `needs` changed or a data set is new, that data set
        starts at the beginning of the epoch it had reached (a new one at 0), and a warning says so.
        """
        same_ranks = (state["rank"], state["world_size"]) == (self.rank, self.world_size)
        self.draws = state["draws"]
        for name, stream in self.streams.items():
            saved = dict(state["sets"].get(name, {"epoch": 0, "block": 0, "offset": 0, "shards": -1}))
            same_shards = saved.pop("shards") == len(stream.source.urls)
            same_needs = saved.pop("needs", []) == list(stream.source.needs)
            if same_ranks and same_shards and same_needs:
                stream.seek(Position(**saved))
                continue
            why = "the ranks" if not same_ranks else "its shards" if not same_shards else "data.needs"
            log.warning(
                "%s: %s changed since the checkpoint; going on from the start of epoch %d.", name, why, saved["epoch"]
            )
            stream.seek(Position(saved["epoch"]))

    def close(self) -> None:
        """Stops the loading processes."""
        for stream in self.streams.values():
            stream.close()
