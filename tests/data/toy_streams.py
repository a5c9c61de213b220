"""A data module over toy shards, for the tests of order and position."""

from itertools import islice

from tracer1.data.datamodule import StepDataModule


def module(shards, **settings) -> StepDataModule:
    """One data set, loaded in this process, two shards shuffled together; settings replace these."""
    sets = settings.pop("sets", {"toy": {"train": shards}})
    return StepDataModule(sets, **{"num_workers": 0, "shuffle_shards": 2, "seed": 5} | settings)


def keys(stream, count: int) -> list[str]:
    return [step.key for step in islice(stream, count)]
