"""What a loading process does: reads one shard and hands over this rank's training steps of it.

It knows nothing about order, epochs or mixtures.
"""

from collections import Counter
from dataclasses import dataclass, field

from torch.utils.data import Dataset

from tracer1.data.ordering import held_out, rank_takes
from tracer1.data.records import to_steps
from tracer1.data.shards import read_stored
from tracer1.data.splits import refuse_test
from tracer1.errors import Tracer1Error
from tracer1.needs import lacking
from tracer1.schema import Step


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
    needs: tuple[str, ...] = ()  # steps that lack one of these are left out (see `tracer1.needs`)
    cache: str | None = None  # a folder for copies of shards that have a URL
    shuffle_shards: int = 8  # shards whose steps are shuffled together, and held in memory
    seed: int = 0


@dataclass(frozen=True, slots=True)
class LoadedShard:
    """What a worker sends back. An error travels as text: torch would wrap an exception into a page of traceback."""

    steps: list[Step] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)  # a line for each bad step
    left_out: Counter[str] = field(default_factory=Counter)  # steps of this rank by what they lack
    error: str = ""


class ShardLoader(Dataset):
    """Map-style: the item at index (shard, rank, ranks) is that rank's share of the shard's steps, unshuffled."""

    def __init__(self, source: StepSet) -> None:
        self.source = source

    def __getitem__(self, unit: tuple[int, int, int]) -> LoadedShard:
        source, loaded, ordinal = self.source, LoadedShard(), 0
        shard, *share = unit
        try:
            for stored in read_stored(
                source.urls[shard],
                on_bad_step=loaded.skipped.append if source.on_bad_step == "warn" else source.on_bad_step,
                verify_images=source.verify_images,
                cache=source.cache,
            ):
                refuse_test(stored[0].record, source.urls[shard], source.name)
                steps = to_steps(stored, source.history, source.horizon)
                if held_out(steps[0].dataset, steps[0].trajectory, source.val_fraction):
                    continue
                lacks = [lacking(step, source.needs) for step in steps]
                if rank_takes(shard, ordinal, len(source.urls), tuple(share)):
                    loaded.steps.extend(step for step, lack in zip(steps, lacks, strict=True) if lack is None)
                    loaded.left_out.update(lack for lack in lacks if lack is not None)
                if None in lacks:  # a trajectory without a usable step is nobody's share
                    ordinal += 1
        except Tracer1Error as error:
            return LoadedShard(skipped=loaded.skipped, error=str(error))
        return loaded
