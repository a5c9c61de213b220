"""Checkpoints: whole or not there, known by a manifest, and free of the number of ranks that wrote them. See docs/checkpoints.md.

`folders` finds them, `manifest` says what is in one and whether it still is, `state_file` is Lightning's file in it, `keeping` writes
and deletes them, `elastic` brings them to another number of ranks, `export` takes the policy out of one.
"""

from tracer1.training.checkpoints.card import run_card
from tracer1.training.checkpoints.elastic import check_kind, for_ranks, kind_of
from tracer1.training.checkpoints.folders import checkpoints, find_checkpoint, how_to_go_on
from tracer1.training.checkpoints.keeping import Best, KeepCheckpoints, RunFacts, best_checkpoint, best_row
from tracer1.training.checkpoints.manifest import Manifest, describe
from tracer1.training.checkpoints.policy_folder import write_policy
from tracer1.training.checkpoints.state_file import FolderCheckpointIO

__all__ = [
    "Best",
    "FolderCheckpointIO",
    "KeepCheckpoints",
    "Manifest",
    "RunFacts",
    "best_checkpoint",
    "best_row",
    "check_kind",
    "checkpoints",
    "describe",
    "find_checkpoint",
    "for_ranks",
    "how_to_go_on",
    "kind_of",
    "run_card",
    "write_policy",
]
