"""An endless stream of training steps: shards loaded by workers, shuffled block by block, data sets mixed by weight.

The order is a function of seed and epoch; workers only load, so their number changes nothing. A position is a few numbers.
It knows nothing about prompts, batches or the trainer.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch.utils.data import DataLoader, Sampler

from tracer1.data.loading import LoadedShard, ShardLoader, StepSet
from tracer1.data.ordering import pick
from tracer1.data.schedule import Block, Plan, Unit, read_plan, redistributed, saved_plan, usual
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


class _Units(Sampler):
    """What is to load, epoch after epoch without end, from a block on."""

    def __init__(self, stream: "SetStream") -> None:
        self.blocks_of, self.start = stream.blocks, stream.position

    def __iter__(self) -> Iterator[Unit]:
        epoch, first = self.start.epoch, self.start.block
        while True:
            for block in self.blocks_of(epoch)[first:]:
                yield from block.units
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
        self.plan: Plan = {}  # of the epochs that another number of ranks had begun
        self.skipped: set[str] = set()  # one line for each bad step that was met
        self._lacking: dict[Unit, Counter[str]] = {}  # by shard: its steps that were left out, by what they lack
        self._told: set[str] = set()  # of what is said once
        self._block: list[Step] | None = None  # what is left of the current block, the next step last
        self._loads: Iterator[LoadedShard] | None = None
        if len(source.urls) < share[1]:
            log.debug("%s: %d shards for %d ranks: splitting by trajectory.", source.name, len(source.urls), share[1])

    def blocks(self, epoch: int) -> list[Block]:
        """What this rank reads in an epoch."""
        return self.plan[epoch] if epoch in self.plan else usual(self.source, self.share, epoch)

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
            if here.block + 1 < len(self.blocks(here.epoch)):
                self.position = Position(here.epoch, here.block + 1)
                continue
            self._report_epoch()
            self.position, barren = Position(here.epoch + 1), barren + (here.epoch not in self.plan)
            if barren == 2:  # the first may have been the end of one that had steps
                self._raise_empty()

    def _load_block(self) -> list[Step]:
        here = self.position
        if self._loads is None:
            self._loads = self._start_loading()
        steps: list[Step] = []
        blocks = self.blocks(here.epoch)
        if here.block >= len(blocks):  # of a former number of ranks nothing is left for this one
            return []
        block = blocks[here.block]
        for unit in block.units:
            loaded = self._next_load(self._loads)
            for line in loaded.skipped:
                if line not in self.skipped:  # once, not in every epoch
                    log.warning(line)
                    self.skipped.add(line)
            if loaded.error:
                self.close()
                raise DataError(loaded.error)
            steps.extend(loaded.steps)
            self._lacking[unit] = loaded.left_out
        self._tell_left_out("so far")
        return [steps[i] for i in reversed(block.order(self.source, len(steps))[here.offset :])]

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
                ShardLoader(self.source),
                batch_size=None,
                sampler=_Units(self),
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

    def seek(self, position: Position, plan: Plan | None = None) -> None:
        """Goes on from a position; nothing is loaded before the next step is asked for."""
        self.close()
        self.position, self.plan = position, plan or {}

    def place(self) -> dict[str, Any]:
        """Where it stands, as plain numbers."""
        plan = {epoch: blocks for epoch, blocks in self.plan.items() if epoch >= self.position.epoch}
        return asdict(self.position) | ({"plan": saved_plan(plan)} if plan else {})

    def close(self) -> None:
        """Stops the workers; the stream can be used again."""
        self._loads, self._block = None, None


_NEW = {"epoch": 0, "block": 0, "offset": 0, "shards": -1}  # the place of a data set that a checkpoint does not know


def _position(saved: Mapping[str, Any]) -> Position:
    return Position(saved["epoch"], saved["block"], saved["offset"])


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
                name: {**stream.place(), "shards": len(stream.source.urls), "needs": list(stream.source.needs)}
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
            saved = state["sets"].get(name, _NEW)
            if same_ranks and self._same_steps(stream, saved):
                stream.seek(_position(saved), read_plan(saved.get("plan", {})))
            else:
                self._start_again(stream, saved, "" if same_ranks else "the ranks")

    def take_over(self, states: Sequence[dict[str, Any]]) -> None:
        """Goes on from the positions of all of another number of ranks: together the new ranks read what the epoch still has.

        Args:
            states: What each of them saved, in any order.
        """
        states = sorted(states, key=lambda state: state["rank"])
        self.draws = max(state["draws"] for state in states)
        for name, stream in self.streams.items():
            saved = [state["sets"].get(name, _NEW) for state in states]
            if all(self._same_steps(stream, place) for place in saved):
                plan = redistributed(stream.source, saved, (self.rank, self.world_size))
                stream.seek(Position(min(plan)), plan)
            else:
                self._start_again(stream, min(saved, key=lambda place: place["epoch"]))

    @staticmethod
    def _same_steps(stream: SetStream, saved: Mapping[str, Any]) -> bool:
        source = stream.source
        return saved["shards"] == len(source.urls) and list(saved.get("needs", [])) == list(source.needs)

    @staticmethod
    def _start_again(stream: SetStream, saved: Mapping[str, Any], why: str = "") -> None:
        why = why or ("its shards" if saved["shards"] != len(stream.source.urls) else "data.needs")
        epoch, name = saved["epoch"], stream.source.name
        log.warning("%s: %s changed since the checkpoint; going on from the start of epoch %d.", name, why, epoch)
        stream.seek(Position(epoch))

    def close(self) -> None:
        """Stops the loading processes."""
        for stream in self.streams.values():
            stream.close()
