"""`manifest.json`: what a checkpoint is, and the size and hash of every file in it. It is written last.

A folder is a whole checkpoint when it has one and its files are as it says. It knows nothing of models or strategies.
"""

import hashlib
import json
import pickle
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

from tracer1.errors import CheckpointError
from tracer1.tracking.config_text import to_plain, without_passwords
from tracer1.training.checkpoints.disk import flush, hashes

MANIFEST = "manifest.json"
STATE = "state.ckpt"  # of a checkpoint of the kind `file`
FORMAT = 1
HASH_UP_TO = 16 * 10**9  # bytes of a checkpoint; beyond, going on only compares sizes: docs/checkpoints.md has the cost
_HOW_IT_STARTS = ("ckpt_path", "overwrite", "dry_run", "assume")  # not what a run is made of
Files = dict[str, dict[str, Any]]  # by path below the folder: bytes, sha256


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a checkpoint says about itself."""

    round: int
    global_step: int
    kind: str  # file | deepspeed | torch: who reads it
    architecture: str | None
    world_size: int = 1
    strategy: str = ""
    run_id: str | None = None
    version: str = ""  # of tracer1
    config: Mapping[str, Any] = field(default_factory=dict)
    config_digest: str = ""
    validation: Mapping[str, float] = field(default_factory=dict)  # of this very round; empty where there was none
    best_by: Mapping[str, str] | None = None  # metric and mode that the run keeps its best checkpoints by
    files: Files = field(default_factory=dict)
    format: int = FORMAT

    @property
    def bytes(self) -> int:
        """Of all files."""
        return sum(entry["bytes"] for entry in self.files.values())

    def write(self, folder: Path) -> None:
        """Writes it beside the files, to the disk itself."""
        path = folder / MANIFEST
        path.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False), encoding="utf-8")
        flush(path)
        flush(folder)

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """The manifest of a checkpoint's folder.

        Raises:
            CheckpointError: there is none, it is cut off, or a later version wrote it.
        """
        try:
            read = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            why = "it has no manifest.json" if isinstance(error, FileNotFoundError) else f"its manifest.json: {error}"
            raise CheckpointError(
                f"{folder} is not a whole checkpoint ({why}). Give an earlier one as ckpt_path."
            ) from error
        known = {each.name for each in fields(cls)}
        if not isinstance(read, dict) or read.get("format") != FORMAT or not {"round", "kind", "files"} <= read.keys():
            raise CheckpointError(
                f"{folder}/{MANIFEST} is of format {read.get('format') if isinstance(read, dict) else None}, this version "
                f"reads format {FORMAT}. Go on with the version of tracer1 that wrote it."
            )
        return cls(**{name: value for name, value in read.items() if name in known})


def about_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest's fields about a run's config: without secrets, and a digest of what the run is made of."""
    plain = json.loads(without_passwords(json.dumps(to_plain(config))))
    made_of = {name: value for name, value in plain.items() if name not in _HOW_IT_STARTS}
    return {"config": plain, "config_digest": hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()}


def files_of(folder: Path) -> list[Path]:
    """All files below a checkpoint's folder but the manifest, in order of their names."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST)


def entries(folder: Path, paths: list[Path]) -> Files:
    """The manifest's lines for some files, which are on the disk itself then."""
    for path in paths:
        flush(path)
    found = zip(paths, hashes(paths), strict=True)
    return {str(path.relative_to(folder)): {"bytes": path.stat().st_size, "sha256": sha} for path, sha in found}


def damage(folder: Path, hashed: bool | None = None) -> str | None:
    """What is wrong with a checkpoint, in a few words; None for a whole one.

    Args:
        folder: The checkpoint.
        hashed: Whether the contents count, too; by default up to `HASH_UP_TO`.
    """
    try:
        manifest = Manifest.read(folder)
    except CheckpointError as error:
        return str(error).removeprefix(f"{folder} ").removesuffix(" Give an earlier one as ckpt_path.")
    for name, entry in manifest.files.items():
        path = folder / name
        size = path.stat().st_size if path.is_file() else None
        if size is None:
            return f"{name} is missing"
        if size != entry["bytes"]:
            return f"{name} has {size} of {entry['bytes']} bytes"
    if hashed if hashed is not None else manifest.bytes <= HASH_UP_TO:
        paths = [folder / name for name in manifest.files]
        for name, found in zip(manifest.files, hashes(paths), strict=True):
            if found != manifest.files[name]["sha256"]:
                return f"{name} is not what was written"
    return None


def read_state(path: Path, mapped: bool = True) -> dict[str, Any]:
    """What Lightning saved in a file.

    Args:
        path: The file.
        mapped: Leave tensors where they are until they are looked at. Who keeps them keeps the file's space on the disk, too.

    Raises:
        CheckpointError: the file is not a whole checkpoint.
    """
    try:
        saved = torch.load(path, map_location="cpu", weights_only=False, mmap=mapped)
    except (RuntimeError, EOFError, OSError, ValueError, pickle.UnpicklingError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise CheckpointError(
            f"{path} is not a whole checkpoint ({reason}). Give an earlier one as ckpt_path."
        ) from error
    if not (isinstance(saved, dict) and {"state_dict", "callbacks", "global_step"} <= saved.keys()):
        raise CheckpointError(f"{path} is not a checkpoint of a training. Give one that `round-*.ckpt` names.")
    return saved


def describe(path: Path) -> Manifest:
    """What a checkpoint says about itself; for the single files that versions before 0.6 wrote, what can be told from one.

    Raises:
        CheckpointError: it is not a whole checkpoint.
    """
    if not path.is_file():
        return Manifest.read(path)
    saved = read_state(path)
    position = saved["callbacks"].get("RunPosition", {})
    return Manifest(
        round=saved.get("epoch", -1) + 1,
        global_step=saved["global_step"],
        kind="file",
        architecture=saved.get("architecture"),
        world_size=len(position.get("positions", (None,))),
        run_id=position.get("run_id"),
    )
