"""Recorded JSON and prose to clean text: what data sets that describe their steps in sentences have in common."""

import json
import re
import textwrap
from typing import Any

ABSTRACTION_LENGTH = 160  # characters
SENTENCE_LENGTH = 240  # characters of an instruction that was written as a thought
_FAR = 8  # times that length are looked at: a page may be long, and white space is left out
_SENTENCE_END = re.compile(r"(?<=[.!?。！？])\s+")


def load_json(data: bytes) -> Any:
    """JSON -> values; NaN and Infinity, which JSON does not have, come back as None, half a surrogate pair as U+FFFD.

    Raises:
        ValueError: It is no JSON.
    """
    value = json.loads(data, parse_constant=lambda _: None)
    if b"\\ud" in data or b"\\uD" in data:  # only then can there be half a pair
        whole = (
            json.dumps(value, ensure_ascii=False).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        )
        value = json.loads(whole)
    return value


def text_in(record: Any, name: str) -> str:
    """A string of a JSON object; empty where it is missing or something else."""
    value = record.get(name) if isinstance(record, dict) else None
    return value.strip() if isinstance(value, str) else ""


def shortened(text: str) -> str:
    """The beginning of a description on one line, at most ABSTRACTION_LENGTH characters."""
    return textwrap.shorten(text[: _FAR * ABSTRACTION_LENGTH], ABSTRACTION_LENGTH, placeholder=" …")


def first_sentence(text: str) -> str:
    """The first sentence on one line, at most SENTENCE_LENGTH characters."""
    return textwrap.shorten(_SENTENCE_END.split(text.strip(), 1)[0], SENTENCE_LENGTH, placeholder=" …")
