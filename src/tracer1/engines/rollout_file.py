"""The file of a round's rollouts: what a run writes with `rollout.dump=DIR`, and what `engine=recorded` answers from.

One file per round and rank, `DIR/round-000001-rank0.jsonl.gz` (rounds count from 1), gzipped UTF-8, one JSON object per
response and line: the n responses of one prompt are adjacent, and groups that dynamic sampling dropped come last. The fields
are those of `RolloutRecord`. Numbers are written with all their digits, and the same rollouts give the same bytes.

A response is found again by its `seed`: 63 bits made of the run's seed, the round, the step's key and i, so no two responses
of a run share one. Validation is not in these files: replay with `data.val_limit=0`.

It knows nothing of engines, policies or rewards.
"""

import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from tracer1.errors import DataError
from tracer1.schema import Response

PATTERN = "round-*.jsonl.gz"


@dataclass(frozen=True, slots=True)
class RolloutRecord:
    """One line: a response with what became of it."""

    round: int  # 1-based
    key: str  # of the step whose prompt was answered
    i: int  # which of the prompt's n responses, 0-based
    seed: int  # of the sampling noise, 63 bits
    token_ids: tuple[int, ...]  # R sampled ids, the end token included
    logprobs: tuple[float, ...]  # R, the sampler's, as in `Response`
    text: str
    truncated: bool
    reward: float | None  # None: masked, see `fault`
    terms: Mapping[str, float] = field(default_factory=dict)
    advantage: float | None = None  # None: its group was dropped by dynamic sampling and nothing was trained on it
    fault: str = ""  # of the infrastructure, which masked it

    @property
    def response(self) -> Response:
        """The response as the engine gave it."""
        return Response(self.text, self.token_ids, self.logprobs, self.truncated)


_FIELDS = frozenset(f.name for f in fields(RolloutRecord))


def rollout_seed(*parts: int | str) -> int:
    """A 63-bit seed from (seed, round, key, i): every response has its own noise, and the same one in every repetition."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def rollout_path(folder: Path, round_number: int, rank: int = 0) -> Path:
    """Where the rollouts of this round (from 1) and rank belong."""
    return folder / f"round-{round_number:06d}-rank{rank}.jsonl.gz"


def write_rollouts(path: Path, records: Iterable[RolloutRecord]) -> None:
    """Writes one round's file: whole or not at all, over a file of that name (a round that is repeated after a resume).

    Raises:
        DataError: the file cannot be written.
    """
    lines = "".join(json.dumps(asdict(record), ensure_ascii=False) + "\n" for record in records)
    temporary = path.with_name(f"{path.name}.tmp")  # no reader's pattern matches it
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # no time in the header; a quick level, because a round waits for it
        temporary.write_bytes(gzip.compress(lines.encode(), compresslevel=3, mtime=0))
        os.replace(temporary, path)
    except OSError as error:
        raise DataError(
            f"{path} cannot be written: {error.strerror or error}. Free some space or choose another rollout.dump."
        ) from error


def read_rollouts(folder: Path) -> Iterator[RolloutRecord]:
    """Every record of a folder of such files, round by round; `folder` may also be one file.

    Raises:
        DataError: no such file in the folder, or a file or line that cannot be read.
    """
    paths = [folder] if folder.is_file() else sorted(folder.glob(PATTERN))
    if not paths:
        raise DataError(
            f"{folder} holds no recorded rollouts ({PATTERN}). A training writes them with rollout.dump=DIR."
        )
    for path in paths:
        yield from _read_file(path)


def _read_file(path: Path) -> Iterator[RolloutRecord]:
    read = 0
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                yield _record(json.loads(line))
                read += 1
    except (OSError, EOFError, LookupError, TypeError, ValueError, zlib.error) as error:
        raise DataError(
            f"{path} cannot be read after line {read}: {error}. Record it again with rollout.dump=DIR."
        ) from error


def _record(values: Any) -> RolloutRecord:
    if not isinstance(values, dict):
        raise ValueError("a line is not an object")
    known = {name: value for name, value in values.items() if name in _FIELDS}  # a later version may write more
    known["token_ids"], known["logprobs"] = tuple(known["token_ids"]), tuple(known["logprobs"])
    return RolloutRecord(**known)
