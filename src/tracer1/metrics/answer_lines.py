"""Scores recorded final answers under a benchmark's rule: JSON lines in, verdicts out. The logic of `tools/score_answers.py`.

It is strict about the gold answer, which is the user's, and lenient about the prediction, which is a model's: any JSON value is read as
text. It knows nothing of tasks, episodes or averages.
"""

import inspect
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

from tracer1.errors import ConfigError, DataError
from tracer1.json_lines import check_present, read_object
from tracer1.metrics.answer_rules import ANSWER_RULES, AnswerRule
from tracer1.metrics.answer_rules._gta import read_gta_gold
from tracer1.metrics.sentence_similarity import sentence_similarity

_TOP = ("prediction", "gold")


def make_answer_rule(name: str, embedder: str = "") -> AnswerRule:
    """The rule of that name.

    Args:
        name: `gta_official`, `gta_t3`, `gaia`, or one that a plugin registered.
        embedder: Where the model that compares sentences is, for the rules that do; "" for none.

    Raises:
        UnknownName: no such rule.
        ConfigError: an embedder for a rule that compares no sentences, or one that cannot be loaded.
    """
    rule = ANSWER_RULES.get(name)
    if not embedder:
        return rule
    if "similarity" not in inspect.signature(rule).parameters:
        raise ConfigError(f"Rule {name} compares no sentences: leave the embedder {embedder!r} out.")
    return partial(rule, similarity=sentence_similarity(embedder))


def score_answer_lines(lines: Iterable[bytes], rule: AnswerRule, source: str = "-") -> Iterator[dict[str, Any]]:
    """One verdict per line, in order; blank lines are skipped.

    Args:
        lines: UTF-8 JSON objects `{"prediction": any value, "gold": ...}`. The gold is a text where the rule's `gold` is
            annotated `str`; else it is GTA's: `{"whitelist", "blacklist"}`, a list of texts or null.
        rule: From `make_answer_rule`.
        source: What the lines came from, for messages.

    Yields:
        `{"correct", "counted"}`. Where a verdict could not be computed `correct` is None, and `reason` says why.

    Raises:
        DataError: a line that cannot be read, with its number.
    """
    wants_text = inspect.signature(rule).parameters["gold"].annotation in (str, "str")
    read_gold = _read_text if wants_text else read_gta_gold
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{source}:{number}"
        fields = _read_line(line, where)
        try:
            gold = read_gold(fields["gold"])
        except ValueError as error:
            raise DataError(f"{where}: `gold`: {error}.") from None
        verdict = rule(_said(fields["prediction"]), gold)
        reason = {"reason": verdict.reason} if verdict.reason else {}
        yield {"correct": verdict.correct, "counted": verdict.counted, **reason}


def _read_line(line: bytes, where: str) -> dict[str, Any]:
    fields = read_object(line, where, "`prediction` and `gold`")
    check_present(fields, _TOP, "is {prediction: …, gold: …}", where)
    return fields


def _said(prediction: Any) -> str | None:
    """What a model answered, as Python prints it; None stays None."""
    return None if prediction is None else str(prediction)


def _read_text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError(f"a text is needed, got {value!r:.60}")
    return str(value)
