"""AgentTrek's rows: what the text of one says, and which rows are the steps of one trajectory.

A row is one step and tells neither its trajectory nor its number; its prompt repeats the actions before it. So a row continues
another where both have the same goal and its history is the other's with the other's action added. It knows nothing about actions.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from tracer1.data.drafts import Unusable

# Plain searches for line ends: a page has tens of thousands of characters, and lazy patterns look at each of them
_NEXT_HEADING = re.compile(r"\n#{1,2} ")
_AFTER_HISTORY = re.compile(r"\n# (?:Action space|[A-Z][^\n]*:[ \t]*(?:\n|\Z))")
_AFTER_PAST = re.compile(r"\n(?:## step \d|### [A-Z])")  # an action may hold comments
_TAGS = re.compile(r"</?action>")


@dataclass(frozen=True, slots=True)
class Row:
    """What one row says."""

    goal: str
    tree: str  # the page before the action, as an accessibility tree
    history: tuple[str, ...]  # the actions before, oldest first
    think: str
    action: str

    @classmethod
    def read(cls, element: Any) -> Self:
        """The row that an element of the array holds. Raises Unusable."""
        messages = element.get("messages") if isinstance(element, dict) else None
        said = {
            message["role"]: message["content"]
            for message in (messages if isinstance(messages, list) else ())
            if isinstance(message, dict)
            and isinstance(message.get("content"), str)
            and isinstance(message.get("role"), str)
        }
        prompt, answer = f"\n{said.get('user', '')}", said.get("assistant", "")
        goal, action = _section(prompt, "\n## Goal:", _NEXT_HEADING).strip(), _tagged(answer, "action")
        if not goal:
            raise Unusable("no instruction", whole=True)
        if not action:
            raise Unusable("no action in the answer", f"{answer!r:.120}", whole=True)
        tree = _section(prompt, "\n## AXTree:", _NEXT_HEADING).strip("\n")
        _, *past = _section(prompt, "\n# History of interaction with the task:", _AFTER_HISTORY).split("\n### Action:")
        history = tuple(_TAGS.sub("", _AFTER_PAST.split(text, 1)[0]).strip() for text in past)
        return cls(goal, tree, history, _tagged(answer, "think"), action)


def _section(text: str, heading: str, after: re.Pattern[str]) -> str:
    """What stands under a heading, up to where `after` matches or the end; empty where there is none."""
    _, found, rest = text.partition(heading)
    end = after.search(rest) if found else None
    return rest[: end.start()] if end else rest


def _tagged(text: str, tag: str) -> str:
    """What stands between `<tag>` and `</tag>`; empty where it is not there or has no end."""
    inside, end, _ = text.partition(f"<{tag}>")[2].partition(f"</{tag}>")
    return inside.strip() if end else ""


@dataclass(slots=True)
class Place:
    """Where a row lies and what it continues; small, for all rows are held at once."""

    number: int  # of the row, from 0
    start: int  # bytes
    end: int
    length: int = 0  # actions of its history
    goal: bytes = b""  # hashes
    before: bytes = b""  # of goal and history
    after: bytes = b""  # the same with the row's own action


@dataclass(slots=True)
class Chain:
    """The rows of one trajectory in order."""

    rows: list[Place] = field(default_factory=list)
    broken: bool = False  # a later row of the same task is there, but its history differs


def place_of(element: Any, number: int, start: int, end: int) -> Place:
    """Where a row lies and what it continues; one that cannot be read continues nothing."""
    try:
        row = Row.read(element)
    except Unusable:
        return Place(number, start, end)
    goal = before = _hash(b"", row.goal)
    for action in row.history:
        before = _hash(before, action)
    return Place(number, start, end, len(row.history), goal, before, _hash(before, row.action))


def _hash(before: bytes, text: str) -> bytes:
    return hashlib.blake2b(" ".join(text.split()).encode("utf-8", "replace"), digest_size=16, key=before).digest()


def chains_of(places: Iterable[Place]) -> list[Chain]:
    """Puts the rows of each trajectory together, whatever their order in the file; in the order of their first rows.

    Of several trajectories that a row may continue it takes the one whose last row stands nearest before it. A chain that begins
    with a history lacks its beginning.
    """
    chains: list[Chain] = []
    ends: dict[tuple[int, bytes], list[Chain]] = {}  # by length and hash of what may follow
    for place in sorted(places, key=lambda place: (place.length, place.number)):
        waiting = ends.get((place.length, place.before), []) if place.length else []
        chain = _nearest(waiting, place)
        if chain is None:
            chain = Chain()
            chains.append(chain)
        else:
            waiting.remove(chain)
        chain.rows.append(place)
        if place.after:
            ends.setdefault((place.length + 1, place.after), []).append(chain)
    _mark_broken(chains)
    return sorted(chains, key=lambda chain: min(place.number for place in chain.rows))


def _nearest(chains: Sequence[Chain], place: Place) -> Chain | None:
    return min(
        chains,
        key=lambda chain: (chain.rows[-1].number > place.number, abs(place.number - chain.rows[-1].number)),
        default=None,
    )


def _mark_broken(chains: Sequence[Chain]) -> None:
    """Marks the chain that a chain without a beginning seems to go on from."""
    whole: dict[tuple[bytes, int], list[Chain]] = {}
    for chain in chains:
        if chain.rows[0].length == 0:
            whole.setdefault((chain.rows[0].goal, len(chain.rows)), []).append(chain)
    for chain in chains:
        first = chain.rows[0]
        before = _nearest(whole.get((first.goal, first.length), []), first) if first.length else None
        if before is not None:
            before.broken = True


def in_units(chains: Sequence[Chain], limit: int) -> Iterator[list[Chain]]:
    """Chains in order, together until their rows take `limit` bytes."""
    held: list[Chain] = []
    size = 0
    for chain in chains:
        held.append(chain)
        size += sum(place.end - place.start for place in chain.rows)
        if size >= limit:
            yield held
            held, size = [], 0
    if held:
        yield held
