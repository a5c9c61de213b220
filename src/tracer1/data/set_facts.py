"""What a data set is, told by the manifests beside its shards: counts, and a digest that is equal where the shards are.

The same shards have the same digest on every machine, whatever their folder is called. It opens no shard, and knows nothing of who asks.
"""

import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tracer1.data.remote import filesystem
from tracer1.data.shard_writer import MANIFEST, read_manifest
from tracer1.data.shards import expand_urls

log = logging.getLogger(__name__)

DIGEST = 16  # hexadecimal digits of it that are kept


@dataclass(frozen=True, slots=True)
class Shard:
    """One shard; what no manifest says is None."""

    name: str
    sha256: str | None = None
    bytes: int | None = None
    steps: int | None = None
    trajectories: int | None = None


@dataclass(frozen=True, slots=True)
class SetFacts:
    """One data set as a run uses it."""

    name: str
    context: str  # training or validation
    source: str  # the folder or URL of the first shards
    share: float | None  # of the trajectories that are held out; None where no share is
    shards: tuple[Shard, ...]

    @property
    def digest(self) -> str:
        """Of names and contents; of sizes where a shard stands in no manifest."""
        lines = sorted(f"{shard.name} {shard.sha256 or f'{shard.bytes} bytes'}" for shard in self.shards)
        used = [self.context, str(self.share)] if self.share else []
        return hashlib.sha256("\n".join([*lines, *used]).encode()).hexdigest()[:DIGEST]

    @property
    def profile(self) -> dict[str, Any]:
        """Counts over all shards; those of shards in no manifest are missing and counted."""
        sums = {key: sum(getattr(s, key) or 0 for s in self.shards) for key in ("trajectories", "steps", "bytes")}
        unlisted = sum(shard.sha256 is None for shard in self.shards)
        held_out = {} if self.share is None else {"held_out_share": self.share}
        return {"shards": len(self.shards), **sums, **held_out, **({"not_in_a_manifest": unlisted} if unlisted else {})}

    def as_json(self) -> dict[str, Any]:
        """Everything, shard by shard."""
        about = {"name": self.name, "context": self.context, "digest": self.digest, "source": self.source}
        return {**about, "profile": self.profile, "shards": [asdict(shard) for shard in self.shards]}


def facts_of_sets(sets: Mapping[str, Mapping[str, Any]], val_fraction: float) -> list[SetFacts]:
    """The sets of a data module, those of the validation after those of the training.

    Args:
        sets: Name -> `train`, `val` (patterns of shards) and `weight`.
        val_fraction: Share of the trajectories in `train` that are held out where there is no `val`.
    """
    found = []
    for context in ("training", "validation"):
        for name, spec in sets.items():
            own = bool(spec["val"])
            if context == "training":
                patterns, share = (spec["train"] if spec["weight"] > 0 else []), 0.0 if own else val_fraction
            else:
                patterns, share = (spec["val"] or (spec["train"] if val_fraction else [])), 0.0 if own else val_fraction
            if patterns:
                shards = _shards(expand_urls(patterns))
                source = os.path.dirname(str(patterns[0])) or "."
                found.append(SetFacts(name, context, _absolute(source), share or None, shards))
    return found


def _shards(urls: Sequence[str]) -> tuple[Shard, ...]:
    listed: dict[str, Mapping[str, Any]] = {}
    found = []
    for url in urls:
        folder, _, name = url.rpartition("/")
        if folder not in listed:
            listed[folder] = _manifest(folder)
        entry = listed[folder].get(name)
        if entry is None:
            size = os.path.getsize(url) if "://" not in url else None
            found.append(Shard(name, bytes=size))
        else:
            found.append(Shard(name, *(entry.get(key) for key in ("sha256", "bytes", "steps", "trajectories"))))
    return tuple(found)


def _manifest(folder: str) -> Mapping[str, Any]:
    """What the manifest says of each shard; empty where there is none that can be read."""
    try:
        if "://" not in folder:
            return read_manifest(Path(folder or "."))
        store, path = filesystem(f"{folder}/{MANIFEST}")
        return json.loads(store.cat_file(path))["shards"]
    except FileNotFoundError:
        return {}
    except Exception as error:  # stores raise whatever their libraries do, and a training can do without this
        log.warning(
            "The manifest of %s cannot be read (%s): the run does not say which shards these were.", folder, error
        )
        return {}


def _absolute(source: str) -> str:
    return source if "://" in source else os.path.abspath(source)
