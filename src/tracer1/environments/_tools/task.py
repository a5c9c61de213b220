"""One task for an agent with tools, wherever it comes from. It knows no file format, no tool and no agent."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ToolTask:
    """A task.

    Args:
        name: Unique within its source.
        instruction: What is asked.
        files: Names of its files, as the prompt tells them.
        images: Names of its images, in order; the first one is what the agent is shown.
        sighted: Whether the agent is shown the images, and not only told their names.
        sources: Folders in which files and images are found.
        tools: Names of the tools that its owner offers, GTA's or ours.
        signatures: Of these tools, as the prompt tells them; empty: made from the tools.
        right: Whether a final answer is right, under the owner's rule: 0..1, None where nobody can say.
        refusal: Why it cannot be played: a file or a tool that is not there. Empty where it can.
    """

    name: str
    instruction: str
    files: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    sighted: bool = True
    sources: tuple[Path, ...] = ()
    tools: tuple[str, ...] = ()
    signatures: tuple[str, ...] = ()
    right: Callable[[str | None], float | None] = lambda answer: None
    refusal: str = ""


def missing(paths: tuple[Path, ...]) -> str:
    """The refusal for files that are not there; empty where all are."""
    absent = [path for path in paths if not path.is_file()]
    more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
    return f"the file {absent[0]}{more} is not there" if absent else ""
