"""One block after the earlier ones, in an interpreter that lives for one request: what the http sandbox sends, with the texts of
`blocks` and `plain` before it. It imports nothing of this package.

It knows nothing of the server; it prints what the block prints, and then a line of JSON that the other side waits for.
"""

import base64
import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any


def main(request: dict[str, Any]) -> None:
    """Runs `request["earlier"]` silently, then the block or the call, then says what became of it, with the files that are new."""
    out, kept, nothing = sys.stdout, os.dup(1), os.open(os.devnull, os.O_WRONLY)
    names: dict[str, Any] = {"__name__": "__main__", "__builtins__": __builtins__}
    for name in request["tools"]:
        names[name] = _no_tool(name)
    for folder in request["folders"]:
        os.makedirs(folder, exist_ok=True)
    before = _files(request["most_bytes"])
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    for number, block in enumerate(request["earlier"], 1):
        run_block(block, f"<block {number}>", names)  # noqa: F821  of the text before
    out.flush()
    os.dup2(kept, 1)
    os.dup2(kept, 2)
    sys.stderr = out
    if "code" in request:
        result = run_block(request["code"], f"<block {len(request['earlier']) + 1}>", names)  # noqa: F821
    else:
        value: list[Any] = []
        call = lambda: value.append(_called(request))  # noqa: E731
        result = {**outcome(call, ""), "value": value[0] if value else None}  # noqa: F821
    result["files"] = {name: text for name, text in _files(request["most_bytes"]).items() if before.get(name) != text}
    out.write(f"\n{request['mark']}{json.dumps(result)}\n")
    out.flush()
    os._exit(0)


def _called(request: dict[str, Any]) -> Any:
    function = getattr(importlib.import_module(request["module"]), request["function"])
    return plain(function(**request["arguments"]))  # noqa: F821


def _no_tool(name: str) -> Any:
    def tool(*_: Any, **__: Any) -> Any:
        raise RuntimeError(f"{name}() cannot be called here: the http sandbox has no way back to it")

    return tool


def _files(most_bytes: int) -> dict[str, str]:
    """Files under the working folder, in base64, until there are too many bytes of them."""
    found: dict[str, str] = {}
    for path in sorted(Path(".").rglob("*")):
        if path.is_file() and not path.is_symlink() and path.resolve() != Path(sys.argv[0]).resolve():
            most_bytes -= path.stat().st_size
            if most_bytes < 0:
                break
            found[path.as_posix()] = base64.b64encode(path.read_bytes()).decode()
    return found
