"""The README.md of an exported policy: what a run's config, its figures and its data say, and what only its owner can say.

It knows the config as plain values and the files in a run's folder, and no model.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tracer1.tracking.journal import read_metrics
from tracer1.tracking.origin import own_version

METRICS = "metrics.jsonl"
_OWNER = "*To be filled in by whoever publishes this model.*"
_TOP = ("recipe", "seed", "rounds")
_GROUPS = ("algorithm", "optimizer")
_LOAD = """    from transformers import AutoTokenizer, Qwen3VLForConditionalGeneration

    model = Qwen3VLForConditionalGeneration.from_pretrained("{folder}", dtype="auto")
    tokenizer = AutoTokenizer.from_pretrained("{folder}")
"""
_LOAD_ADAPTER = """    from peft import PeftModel
    from transformers import Qwen3VLForConditionalGeneration

    model = Qwen3VLForConditionalGeneration.from_pretrained("{base}", dtype="auto")
    model = PeftModel.from_pretrained(model, "{folder}")
"""
_PLAN = """    python src/tracer1/eval.py +experiment=demo_eval model.path={folder}   # held-out steps
    vllm serve {folder}                                                    # an OpenAI-compatible server
"""


def run_card(
    folder: Path,
    config: Mapping[str, Any],
    *,
    done: int | None = None,
    validation: Mapping[str, float] | None = None,
    adapter: bool = False,
) -> str:
    """The card of a policy of the run in `folder`.

    Args:
        folder: Read are `metrics.jsonl` and `data/`, where they are there.
        config: The run's, plain values.
        done: The round that the policy is of; None for the last.
        validation: Figures of that round; None for the last ones in `metrics.jsonl` up to it.
        adapter: The folder holds LoRA weights only.
    """
    lines = read_metrics(folder / METRICS) if (folder / METRICS).exists() else []
    lines = [line for line in lines if done is None or line.get("round", 0) <= done]
    done = done if done is not None else max((int(line["round"]) for line in lines if "round" in line), default=None)
    model, name = config.get("model", {}), config.get("run_name", folder.name)
    base = model.get("path", "unknown")
    parts = [
        _head(base, adapter),
        f"# {name}\n\nA planner for multimodal agents: {base}, trained with tracer1 {own_version()}"
        f"{'' if done is None else f', up to round {done}'}. It reads a task, a history and a screenshot, and plans the next steps.",
        "## Training\n\n" + _table(_settings(config)),
        "## Reward\n\n" + _table(_terms(config)),
        "## Data\n\n" + _data(folder, config),
        "## Validation\n\n" + _figures(lines, validation),
        "## How to load\n\n"
        + (_LOAD_ADAPTER if adapter else _LOAD + "\n" + _PLAN).format(folder="this/folder", base=base),
        f"## Intended use, limits\n\n{_OWNER}",
        f"## License\n\n{_OWNER} The base model's license applies, too.",
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _head(base: str, adapter: bool) -> str:
    library = "peft" if adapter else "transformers"
    return f"---\nbase_model: {base}\nlibrary_name: {library}\npipeline_tag: image-text-to-text\ntags: [tracer1, grpo, agent]\n---"


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    rows = {"base model": config.get("model", {}).get("path")}
    rows |= {name: config[name] for name in _TOP if name in config}
    for group in (*_GROUPS, "model"):
        for key, value in config.get(group, {}).items():
            if not isinstance(value, Mapping) and key not in ("path", "reference", "_target_", "_partial_"):
                rows[f"{group}.{key}"] = value
    sampling = config.get("algorithm", {}).get("sampling", {})
    return rows | {f"algorithm.sampling.{key}": value for key, value in sampling.items()}


def _terms(config: Mapping[str, Any]) -> dict[str, Any]:
    terms = config.get("reward", {}).get("terms", {})
    return {name: ", ".join(f"{key} {value}" for key, value in (spec or {}).items()) for name, spec in terms.items()}


def _data(folder: Path, config: Mapping[str, Any]) -> str:
    """The sets with the digests of their shards, where the run has noted them."""
    rows = {name: f"weight {spec.get('weight', 1)}" for name, spec in config.get("data", {}).get("sets", {}).items()}
    for path in sorted((folder / "data").glob("training-*.json")):
        facts = json.loads(path.read_text(encoding="utf-8"))
        counts = ", ".join(f"{value} {key}" for key, value in facts.get("profile", {}).items())
        rows[facts["name"]] = f"{rows.get(facts['name'], '')}; {counts}; digest {facts['digest']}".lstrip("; ")
    return _table(rows)


def _figures(lines: list[Mapping[str, Any]], validation: Mapping[str, float] | None) -> str:
    """First and last validation; those of training figures that say how the reward went."""
    names = dict.fromkeys(key for line in lines for key in line if key.startswith("val/") or key == "reward/total")
    first = {key: next(line[key] for line in lines if key in line) for key in names}
    last = {key: next(line[key] for line in reversed(lines) if key in line) for key in names} | dict(validation or {})
    if not last:
        return "No figures were found beside the checkpoint."
    rows = [f"| {key} | {_number(first.get(key))} | {_number(value)} |" for key, value in sorted(last.items())]
    return "\n".join(["| | first | last |", "|---|---|---|", *rows])


def _number(value: Any) -> str:
    return "" if value is None else f"{float(value):.4g}"


def _table(rows: Mapping[str, Any]) -> str:
    return "\n".join(["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in rows.items())])
