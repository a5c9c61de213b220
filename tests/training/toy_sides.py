"""Sides of a comparison that are quick to load: their processes import this file."""

from typing import Any

from tracer1.training.bench.children import Gate


def holding(gate: Gate, facts: dict[str, Any], bytes_held: int) -> None:
    """Holds so much memory during a step."""
    gate.facts = facts
    while gate.turn():
        block = bytearray(b"x") * bytes_held
        gate.facts = {"held": len(block)}


def broken(gate: Gate) -> None:
    """Fails in its first step."""
    gate.turn()
    raise ValueError("the side's own trouble")
