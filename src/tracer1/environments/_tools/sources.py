"""Where tasks for an agent with tools come from: GTA, GAIA, and shards of recorded tool steps. It knows no desk and no agent."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

from tracer1.answers import same_answer
from tracer1.environments._tools.gaia_questions import FILE as GAIA_FILE
from tracer1.environments._tools.gaia_questions import GaiaQuestion, find_gaia, read_gaia
from tracer1.environments._tools.gta_queries import FILE as GTA_FILE
from tracer1.environments._tools.gta_queries import GtaQuery, others_in, read_gta
from tracer1.environments._tools.offers import T3, unknown
from tracer1.environments._tools.task import ToolTask, missing
from tracer1.errors import ConfigError
from tracer1.metrics.answer_rules import AnswerRule
from tracer1.metrics.answer_rules.gaia import gaia
from tracer1.metrics.answer_rules.gta_official import gta_official
from tracer1.toolbox.workspace import find_end

PICTURES = (".png", ".jpg", ".jpeg")  # GAIA's other attachments are no images to its agents
GAIA_FORM = (  # its answers are compared as texts, so whoever answers must know what they look like
    "Answer as briefly as you can: a number in digits without units or thousands separators, or a few words without articles and "
    "abbreviations, or such elements separated by commas."
)


def read_tasks(source: str | Path, split: str | None = None, folders: Sequence[str] = ()) -> list[ToolTask]:
    """The tasks of a source, in its order.

    Args:
        source: GTA's dataset.json or its folder; GAIA's release, a split's folder or its metadata.jsonl; a shard of tool steps or a
            folder of shards, whose files may lie in its folder `files`.
        split: Of GAIA (None: validation) and of shards (None: heldout).
        folders: Where else a shard's files are looked for.

    Raises:
        ConfigError: nothing of these, or no such split.
        DataError: not of its owner's layout.
    """
    path = Path(source).expanduser()
    if not path.exists():
        raise ConfigError(
            f"{path} is not there: name GTA's {GTA_FILE}, GAIA's folder, or a folder with shards of tool steps."
        )
    if _shards(path):
        return _recorded(path, split or "heldout", folders)
    if find_gaia(path, split or "validation") is not None:
        return [gaia_task(question) for question in read_gaia(path, split or "validation")]
    if path.suffix == ".json" or (path / GTA_FILE).is_file():
        _no_split(split)
        return [gta_task(query) for query in read_gta(path)]
    raise ConfigError(
        f"{path} holds none of GTA's {GTA_FILE}, GAIA's {GAIA_FILE} of the split {split or 'validation'}, and shards (*.tar, *.tar.gz)."
        f"{others_in(path)}"
    )


def gta_task(query: GtaQuery) -> ToolTask:
    """A query of GTA, with the tools that its owner offers for it. Right by the official rule, as far as that needs no embeddings."""
    names, tools = query.names, tuple(str(tool["name"]) for tool in query.tools)
    known = query.kind in ("objective", "subjective")
    return ToolTask(
        query.key, query.instruction, names, names, sources=(query.root,), tools=tools,
        right=_by(gta_official, query.gold) if known else lambda answer: None,
        refusal=missing(query.files) or unknown(tools),
    )  # fmt: skip


def gaia_task(question: GaiaQuestion) -> ToolTask:
    """A question of GAIA, with T3's tools. Right by the leaderboard's rule."""
    file = question.file
    names = () if file is None else (file.name,)
    return ToolTask(
        question.key, f"{question.question}\n{GAIA_FORM}", names, tuple(n for n in names if n.lower().endswith(PICTURES)),
        sources=() if file is None else (file.parent,), tools=T3,
        right=(lambda answer: None) if question.answer is None else _by(gaia, question.answer),
        refusal="" if file is None else missing((file,)),
    )  # fmt: skip


def _by(rule: AnswerRule, gold: object) -> Callable[[str | None], float | None]:
    def right(answer: str | None) -> float | None:
        verdict = rule(answer, gold)
        return None if verdict.correct is None or not verdict.counted else float(verdict.correct)

    return right


def _no_split(split: str | None) -> None:
    if split is not None:
        raise ConfigError(f"split={split!r}: GTA has no splits; leave it out.")


# --- shards of recorded tool steps -----------------------------------------------------------------------------------


def _shards(path: Path) -> list[str]:
    if path.is_file():
        return [str(path)] if path.name.endswith((".tar", ".tar.gz")) else []
    return sorted(str(shard) for pattern in ("*.tar", "*.tar.gz") for shard in path.glob(pattern))


def _recorded(path: Path, split: str, folders: Sequence[str]) -> list[ToolTask]:
    """The tasks of all trajectories of a split, shown as their first steps were; right by our own rule for answers."""
    from tracer1.data.shards import read_stored

    own = path if path.is_dir() else path.parent
    sources = (*(Path(folder) for folder in folders), own / "files", own)
    found: list[ToolTask] = []
    splits: set[str] = set()
    for shard in _shards(path):
        for stored in read_stored(shard, verify_images=False):
            record = stored[0].record
            if record["platform"] != "tool":
                raise ConfigError(
                    f"{shard} holds steps of the platform {record['platform']!r}: they are no tasks for tools."
                )
            splits.add(str(record["split"]))
            if record["split"] == split:
                found.append(
                    _recorded_task(record, stored[0].screenshot is not None, tuple(filter(Path.is_dir, sources)))
                )
    if not found:
        raise ConfigError(
            f"{path} has no tasks of the split {split!r}; it has {', '.join(sorted(splits)) or 'none at all'}."
        )
    return found


def _recorded_task(record: dict, sighted: bool, sources: tuple[Path, ...]) -> ToolTask:
    meta = record["meta"]
    signatures = tuple(meta.get("tools") or ())
    tools = tuple(signature.partition("(")[0].strip() for signature in signatures) or T3
    files, images = tuple(meta.get("files") or ()), tuple(meta.get("images") or ())
    answer = meta.get("answer")
    return ToolTask(
        record["trajectory"], record["instruction"], files, images, sighted, sources, tools, signatures,
        right=(lambda said: None) if answer is None else functools.partial(_same, gold=str(answer)),
        refusal=_unfound((*files, *images), sources) or unknown(tools),
    )  # fmt: skip


def _same(said: str | None, gold: str) -> float:
    return float(said is not None and same_answer(said, gold))


def _unfound(names: Sequence[str], sources: Sequence[Path]) -> str:
    absent = next((name for name in names if not any(find_end(root, name) for root in sources)), None)
    return f"the file {absent} is not there" if absent else ""
