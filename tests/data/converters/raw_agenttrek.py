"""AgentTrek in small, in the owners' format: an array of chat messages, one element a step. No real record was at hand: invented."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SYSTEM = "You are an agent trying to solve a web task based on the content of the page and a user's task paraphrase."
TREE = "\n".join(
    [
        "RootWebArea 'Record shop', focused",
        "\t[a46] button 'Search', clickable",
        '\t[47] textbox "It\'s a box", clickable',
        "\t[b9] link 'Top tracks [a46]', url='/top'",
        "\t\tStaticText '# of tracks'",
        "\t[c1] image",
    ]
)


def prompt(goal: str, past: Sequence[str], tree: str = TREE) -> str:
    history = "\n".join(
        f"## step {i}\n\n### Thoughts:\nthought {i}\n\n### Action:\n{act}\n" for i, act in enumerate(past)
    )
    return (
        f"You are a UI Assistant.\n\n## Goal:\n{goal}\n\n# Observation of current step:\n\n## AXTree:\n{tree}\n\n"
        f"# History of interaction with the task:\n\n{history}\n# Action space:\nclick(bid: str)\n### Action:\nan example\n"
    )


def row(goal: str, past: Sequence[str], action: str, think: str = "Click it. And then wait.", tree: str = TREE) -> dict:
    return {
        "messages": [
            {"role": "system", "content": SYSTEM},
            {"role": "user", "content": prompt(goal, past, tree)},
            {"role": "assistant", "content": f"<think>\n{think}\n</think>\n\n<action>\n{action}\n</action>"},
        ]
    }


def rows(goal: str, actions: Sequence[str], **fields: Any) -> list[dict]:
    """The rows of a whole trajectory."""
    return [row(goal, actions[:t], action, **fields) for t, action in enumerate(actions)]


def write_array(folder: Path, elements: Sequence[Any], name: str = "agenttrek_1207.json", **style: Any) -> Path:
    path = folder / name
    path.write_text(json.dumps(list(elements), **style), encoding="utf-8")
    return path
