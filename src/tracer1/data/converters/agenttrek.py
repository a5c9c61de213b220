"""AgentTrek (Xu et al. 2024, arXiv 2412.09605): some 10,000 web trajectories made from tutorials, as its owners release them.

One JSON array of steps in text: the page is an accessibility tree, and an action names an element, no place (GUI data, section
A.5). So a step has neither screenshot nor box; the target's text goes into its instruction. What a row says and which rows belong
together stands in `_agenttrek_rows.py`, what the calls mean in `_browsergym.py`.
"""

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tracer1.data.converters import CONVERTERS
from tracer1.data.converters._agenttrek_rows import Chain, Row, chains_of, in_units, place_of
from tracer1.data.converters._browsergym import read_operations, target_text
from tracer1.data.converters._code import Operation
from tracer1.data.converters._json_spans import json_spans
from tracer1.data.converters._text import first_sentence, load_json, shortened
from tracer1.data.drafts import Draft, Unusable, finish
from tracer1.errors import DataError
from tracer1.interfaces import Converted, Note, Task, Unit

log = logging.getLogger(__name__)

RELEASED = "agenttrek_1207.json"
UNIT_BYTES = 64_000_000  # some 1,800 rows, whose text makes a shard of 3 MB
EXCERPT = 2_000  # characters of a page that an abstraction is made of
_BID = re.compile(r"^\s*(?:\[\w+\] )?", re.MULTILINE)


class AgentTrek:
    """Reads rows by their bytes: one pass over the file finds which belong together, then trajectories are read side by side."""

    licence = "not stated by the owners (their 32B model: Apache-2.0)"
    release = f"https://huggingface.co/datasets/xlangai/AgentTrek: {RELEASED}"
    platform = "web"

    def units(self, source: Path) -> Sequence[Unit]:
        """Groups of trajectories of the file, found by reading it once.

        Raises:
            DataError: It is not there, or damaged; with the byte.
        """
        source = Path(source)
        path = source / RELEASED if source.is_dir() else source
        if not path.is_file():
            raise DataError(
                f"{path} is missing. Fetch xlangai/AgentTrek from Hugging Face and name its folder, or this file."
            )
        log.info("Reading %s once to find which rows belong together (%.0f MB).", path, path.stat().st_size / 1e6)
        places = (place_of(row, number, a, b) for number, (row, a, b) in enumerate(json_spans(path)))
        units = []
        for chains in in_units(chains_of(places), UNIT_BYTES):
            first = chains[0].rows[0].number
            units.append(Unit(f"{path.name}#{first}", str(path), first, more={"chains": [_plain(c) for c in chains]}))
        return units

    def read(self, unit: Unit) -> Iterator[Converted]:
        """The trajectories of one group. Raises DataError where the file is not the one that `units` read."""
        for chain in unit.more["chains"]:
            yield self._convert(chain, _elements(unit.path, chain["rows"]), Path(unit.path).name)

    def _convert(self, chain: Mapping[str, Any], elements: Sequence[Any], file: str) -> Converted:
        first = chain["first"]
        name = f"{first:06d}"
        meta = {"licence": self.licence, "source_ref": f"{file}#{first}"}
        try:
            rows = [Row.read(element) for element in elements]
        except Unusable as problem:
            note = Note("dropped", name, problem.reason, problem.detail)
            return Converted(Task("agenttrek", name, "", self.platform, meta=meta), (), (note,))
        task = Task("agenttrek", name, rows[0].goal, self.platform, meta=meta)
        return finish(task, _drafts(rows, chain["broken"]))


CONVERTERS.register("agenttrek")(AgentTrek())


def _elements(path: str, spans: Sequence[Sequence[int]]) -> list[Any]:
    """The elements of the array that take these bytes."""
    elements, start = [], 0
    try:
        with open(path, "rb") as stream:
            for start, end in spans:
                stream.seek(start)
                elements.append(load_json(stream.read(end - start)))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read at byte {start}, or is not what it was when it was looked through ({error}). Start again."
        ) from error
    return elements


def _plain(chain: Chain) -> dict[str, Any]:
    rows = [[place.start, place.end] for place in chain.rows]
    return {"first": chain.rows[0].number, "rows": rows, "broken": chain.broken}


def _drafts(rows: Sequence[Row], broken: bool) -> Iterator[Draft]:
    """The operations of a trajectory's rows, one draft each. Raises Unusable."""
    if rows[0].history:
        raise Unusable("earlier steps missing", f"its first row has a history of {len(rows[0].history)}", whole=True)
    for index, row in enumerate(rows):
        operations = read_operations(row.action)
        seen = shortened("; ".join(line for line in _BID.sub("", row.tree[:EXCERPT]).splitlines() if line))
        for number, operation in enumerate(operations):
            more: dict[str, Any] = {}
            if len(operations) > 1:  # only the first was seen: the page may have changed since
                more = {"operation": number, "operations": len(operations), "real_observation": number == 0}
            yield _draft(row, operation, seen if number == 0 else "", {"source_index": index} | more)
    if broken:
        raise Unusable("history is not what was done before", f"row {len(rows)} of the task")


def _draft(row: Row, operation: Operation, seen: str, meta: Mapping[str, Any]) -> Draft:
    """One step: its instruction is the thought's first sentence, with the target where it does not name it."""
    said = operation.meta
    bids = [str(said[name]) for name in ("bid", "from_bid", "to_bid") if name in said]
    targets = [text for bid in bids if (text := target_text(row.tree, bid))]
    instruction, source = first_sentence(row.think), "think"
    if not instruction:
        instruction, source = operation.code, "code"
    if targets and not all(target.partition(" ")[2].strip("'\"") in instruction for target in targets):
        instruction = f"{instruction} ({' to '.join(targets)})"
    more = {"instruction_source": source, "code": operation.code, **said}
    if targets:
        more["target"] = " to ".join(targets)
    action = replace(operation.action, step_instruction=instruction)
    return Draft(action, abstraction=seen, abstraction_source="axtree" if seen else "none", meta={**meta, **more})
