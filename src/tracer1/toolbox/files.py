"""Which arguments of a call name files, what is in them, and which files a call made. It knows no tool and no cache."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tracer1.toolbox.cache import NewFile
from tracer1.toolbox.spec import Schema, Tool, ToolError, Workspace
from tracer1.toolbox.workspace import WorkFolder, read_inside

LARGEST_FILE = 256 << 20  # bytes of a file that a call may name or make


def names_files(schema: Schema) -> bool:
    """Whether a parameter takes the name of a file, or a list of them."""
    items = schema.get("items")
    return schema.get("format") == "path" or (isinstance(items, Mapping) and items.get("format") == "path")


def resolved(workspace: Workspace, tool: Tool, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments with `Path`s for names of files; raises ToolError for one that cannot be had."""
    return {
        word: _paths(workspace, value) if names_files(tool.parameters[word]) else value
        for word, value in arguments.items()
    }


def digests(workspace: Workspace, tool: Tool, arguments: Mapping[str, Any], strict: bool) -> dict[str, str]:
    """What is in the files of a call.

    Args:
        workspace: Where they lie.
        tool: Says which arguments name files.
        arguments: Checked.
        strict: Raise ToolError for a file that cannot be had; otherwise its argument is left out.

    Returns:
        Argument -> SHA-256 of the file; of a list those of its files, joined by blanks.
    """
    found = {}
    for word, value in arguments.items():
        if value is None or not names_files(tool.parameters[word]):
            continue
        try:
            paths = _paths(workspace, value)
            paths = paths if isinstance(paths, list) else [paths]
            found[word] = " ".join(digest(read_inside(workspace.folder, path, LARGEST_FILE)) for path in paths)
        except ToolError:
            if strict:
                raise
    return found


def everything(workspace: WorkFolder) -> str:
    """A SHA-256 of all files of the folder with their names: what code of the agent may read. Of large ones only size and time count."""
    parts = []
    for name, (changed, size) in sorted(workspace.files().items()):
        known = f"{changed} {size}"
        if size <= LARGEST_FILE:
            try:
                known = digest(read_inside(workspace.folder, workspace.folder / name, LARGEST_FILE))
            except ToolError:  # gone, or not to be read
                known = "unknown"
        parts.append(f"{name}\0{known}")
    return digest("\n".join(parts).encode(errors="surrogateescape"))


def digest(content: bytes) -> str:
    """A file's SHA-256, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def made(workspace: Workspace, names: tuple[str, ...]) -> dict[str, NewFile]:
    """The content of new files that `Workspace.new` named; raises ToolError for one that is gone or no file."""
    files = {}
    for name in names:
        stem, _, suffix = name.rpartition(".")
        content = read_inside(workspace.folder, workspace.folder / name, LARGEST_FILE)
        files[name] = NewFile(stem.rpartition("_")[0], f".{suffix}", content)
    return files


def _paths(workspace: Workspace, value: Any) -> Path | list[Path] | None:
    if value is None:
        return None
    return [workspace.find(name) for name in value] if isinstance(value, list) else workspace.find(value)
