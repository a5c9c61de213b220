"""The data module: names the data sets, gives each rank its training stream and its validation steps, keeps the position.

Plain arguments in, steps out. It knows nothing about prompts, rollouts or models.
"""

import logging
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import lightning as L
import torch.distributed as dist

from tracer1.data.loading import StepSet
from tracer1.data.ordering import held_out, uniform
from tracer1.data.shards import OnBadStep, expand_urls, read_trajectories
from tracer1.data.stream import StepStream
from tracer1.errors import ConfigError
from tracer1.needs import checked_needs, lacking, left_out_text
from tracer1.registry import nearest
from tracer1.schema import Step

log = logging.getLogger(__name__)

SET_KEYS = ["train", "val", "weight"]


class StepDataModule(L.LightningDataModule):
    """Steps for training and validation from any number of data sets.

    Args:
        sets: Data set name -> `{train: [paths, globs or URLs], val: [...] or None, weight: float}`. Where `val` is not
            given, `val_fraction` of the trajectories in `train` are held out for validation. `weight` (1) is the share
            of training steps; 0 keeps a data set for validation only.
        horizon: Expert steps that each step holds from its own on (T).
        history: Earlier steps that each step shows (K).
        seed: Of the order. Order and mixture depend on it, the epoch, the rank and the number of ranks, on nothing else.
        num_workers: Processes per rank that load shards ahead; 0 loads in the training process.
        val_fraction: Share of trajectories held out, by a hash of (dataset, trajectory) that no seed changes.
        val_limit: At most this many validation steps over all ranks, spread over all tasks; None for all.
        on_bad_step: `error` stops at a step that cannot be used; `warn` logs it once and skips the rest of its trajectory.
        verify_images: Decode every screenshot while loading.
        needs: What every step given must have, some of `tracer1.needs.NEEDS`. Steps that lack one are left out of training
            and validation and counted; they stay in the history and future of the others. None leaves nothing out.
        cache: A folder for local copies of shards that have a URL (`data/cache.py`); None reads them anew in each epoch.
        shuffle_shards: How many shards are shuffled together. They lie in memory: shards of 512 MB want a smaller number.

    Raises:
        ConfigError: An argument that cannot work.
    """

    def __init__(
        self,
        sets: Mapping[str, Mapping[str, Any]],
        *,
        horizon: int = 10,
        history: int = 4,
        seed: int = 0,
        num_workers: int = 2,
        val_fraction: float = 0.0,
        val_limit: int | None = None,
        on_bad_step: str = "error",
        verify_images: bool = True,
        needs: Iterable[str] | None = None,
        cache: str | None = None,
        shuffle_shards: int = 8,
    ) -> None:
        super().__init__()
        _require("horizon", horizon, 1)
        _require("history", history, 0)
        _require("seed", seed, 0)
        _require("num_workers", num_workers, 0)
        _require("shuffle_shards", shuffle_shards, 1)
        if not 0 <= val_fraction < 1:
            raise ConfigError(f"data.val_fraction is {val_fraction}; give a share from 0 to below 1, e.g. 0.02.")
        if on_bad_step not in ("error", "warn"):
            raise ConfigError(f"data.on_bad_step is {on_bad_step!r}; choose 'error' or 'warn'.")
        self.sets = {name: _checked_set(name, spec) for name, spec in sets.items()}
        if not self.sets:
            raise ConfigError("data.sets is empty; name at least one data set, e.g. data=miniwob.")
        self.num_workers, self.val_fraction, self.val_limit, self.seed = num_workers, val_fraction, val_limit, seed
        self.reading = {
            "horizon": horizon,
            "history": history,
            "verify_images": verify_images,
            "on_bad_step": on_bad_step,
            "cache": cache,
        }
        self.needs = checked_needs(needs or (), "data.needs")
        self.shuffle_shards = shuffle_shards
        self._stream: StepStream | None = None
        self._restored: dict[str, Any] | None = None

    def train_stream(self, rank: int = 0, world_size: int = 1) -> StepStream:
        """One rank's endless training steps; goes on from a position given to `load_state_dict` before.

        Raises:
            ConfigError: No data set has training shards and a weight above 0.
            DataError: A pattern that matches no shard.
        """
        sources = [
            StepSet(
                name,
                tuple(expand_urls(spec["train"])),
                weight=spec["weight"],
                val_fraction=0.0 if spec["val"] else self.val_fraction,
                seed=self.seed,
                shuffle_shards=self.shuffle_shards,
                needs=self.needs,
                **self.reading,
            )
            for name, spec in self.sets.items()
            if spec["train"] and spec["weight"] > 0
        ]
        if not sources:
            raise ConfigError(
                "No data set in data.sets has `train` shards and a weight above 0: there is nothing to train on."
            )
        self._stream = StepStream(sources, rank, world_size, self.num_workers)
        if self._restored:
            self._restore(self._stream, self._restored)
        return self._stream

    def val_steps(self, rank: int = 0, world_size: int = 1) -> list[Step]:
        """One rank's share of the validation steps, in an order that depends on the seed and the keys only.

        Two passes, so that only the chosen screenshots are held in memory.
        """
        keys: list[str] = []
        left_out: dict[str, Counter[str]] = {}
        for name, steps in self._val_trajectories(self.reading["on_bad_step"]):
            for step in steps:
                if (lack := lacking(step, self.needs)) is None:
                    keys.append(step.key)
                else:
                    left_out.setdefault(name, Counter())[lack] += 1
        for name, counts in left_out.items():
            log.info("%s: validation steps left out because of data.needs: %s.", name, left_out_text(counts))
        chosen = sorted(keys, key=lambda key: uniform("val", self.seed, key))[: self.val_limit]
        if not chosen:
            log.warning("There is no validation step: name `val` shards in data.sets, or raise data.val_fraction.")
        mine = {key: place for place, key in enumerate(chosen[rank::world_size])}
        again = (step for _, steps in self._val_trajectories(_said_already) for step in steps)
        return sorted((step for step in again if step.key in mine), key=lambda step: mine[step.key])

    def _val_trajectories(self, on_bad_step: OnBadStep) -> Iterator[tuple[str, list[Step]]]:
        """Each trajectory that is held out, with its data set's name in `sets`."""
        for name, spec in self.sets.items():
            if not spec["val"] and self.val_fraction == 0:
                continue
            for url in expand_urls(spec["val"] or spec["train"]):
                for steps in read_trajectories(url, **{**self.reading, "on_bad_step": on_bad_step}):
                    if spec["val"] or held_out(steps[0].dataset, steps[0].trajectory, self.val_fraction):
                        yield name, steps

    def state_dict(self) -> dict[str, Any]:
        """The positions of all ranks' streams. With several ranks every rank must call it, as Lightning does."""
        if self._stream is None:
            return self._restored or {}
        state = self._stream.state_dict()
        states: list[Any] = [state]
        if (
            dist.is_available() and dist.is_initialized()
        ):  # only rank 0 writes the checkpoint, but each has its own place
            states = [None] * dist.get_world_size()
            dist.all_gather_object(states, state)
        return {"streams": states}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes the positions that `state_dict` gave; the running stream, or else the next one, goes on from its own."""
        self._restored = state_dict
        if self._stream is not None and state_dict:
            self._restore(self._stream, state_dict)

    @staticmethod
    def _restore(stream: StepStream, state_dict: dict[str, Any]) -> None:
        states = {state["rank"]: state for state in state_dict["streams"]}
        if len(states) == stream.world_size and stream.rank in states:
            stream.load_state_dict(states[stream.rank])
        else:
            stream.take_over(list(states.values()))

    def teardown(self, stage: str | None = None) -> None:
        """Stops the loading processes."""
        if self._stream is not None:
            self._stream.close()


def _said_already(line: str) -> None:
    """The first pass over the validation shards has raised or logged it."""


def _require(name: str, value: int, least: int) -> None:
    if value < least:
        raise ConfigError(f"data.{name} is {value}; it must be at least {least}.")


def _checked_set(name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    for key in spec:
        if key not in SET_KEYS:
            raise ConfigError(
                f"data.sets.{name} has no setting {key!r}.{nearest(str(key), SET_KEYS)} Known: train, val, weight."
            )
    weight = float(spec.get("weight", 1.0))
    if not (weight >= 0 and math.isfinite(weight)):
        raise ConfigError(f"data.sets.{name}.weight is {weight}; it must be 0 or more.")
    train, val = (_listed(spec.get(key)) for key in ("train", "val"))
    if not train and not val:
        raise ConfigError(f"data.sets.{name} names no shards; give `train` or `val` paths.")
    return {"train": train, "val": val, "weight": weight}


def _listed(patterns: str | Iterable[str] | None) -> list[str]:
    return [patterns] if isinstance(patterns, str) else [str(pattern) for pattern in patterns or ()]
