"""The toolbox: checks a call, answers it from a recording or the cache, or runs the tool. It knows nothing of plans or rewards.

    toolbox = Toolbox(sandbox=sandbox, backends=make_backends({...}), cache=Cache("outputs/tools"))
    with toolbox.desk(files=["data/a.png"], sources=[Path("/data/mat")]) as desk:
        result = toolbox.call(desk, "crop_image", {"image_path": "data/a.png", "box": [0, 0, 9, 9]})

Code that runs in the desk's interpreter calls the same tools as functions, but for the interpreter itself. A call never raises for what
the caller did wrong (`ToolResult.error`); ExecutorError says that a server or the sandbox failed, which is nobody's mistake.
"""

import copy
import errno
import json
import logging
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracer1.errors import ExecutorError, Tracer1Error
from tracer1.sandbox import ToolRefused
from tracer1.toolbox import TOOLS
from tracer1.toolbox.backends import Backends
from tracer1.toolbox.cache import Cache, Entry, key_of, renamed
from tracer1.toolbox.checking import Checker, arguments_schema, signature
from tracer1.toolbox.desk import Interpreters
from tracer1.toolbox.files import digests, everything, made, names_files, resolved
from tracer1.toolbox.replay import Recorded
from tracer1.toolbox.spec import Desk, Tool, ToolError, ToolResult
from tracer1.toolbox.workspace import CallFolder, WorkFolder, write_new

if TYPE_CHECKING:
    from tracer1.sandbox import Sandbox

log = logging.getLogger(__name__)

INTERPRETER = "python_interpreter"  # the tool that runs the agent's own code; it cannot be called by that code

_EXHAUSTED = {errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EIO}

Seen = Callable[[str, Mapping[str, Any], ToolResult], None]


class Toolbox:
    """Tools, and what they work with. Safe to use from several threads; a desk is one episode's.

    Args:
        tools: Names of the tools that may be called, or a table of them (`gta.GTA`); None is every one that is registered.
        sandbox: Where the agent's code runs and where tools open what they are given; closed by its owner.
        backends: Models and networks.
        cache: Of results; None executes every call.
        replay: Recordings that answer instead of backends.

    Raises:
        UnknownName: A tool that there is not.
    """

    def __init__(
        self,
        tools: Sequence[str] | Mapping[str, Tool] | None = None,
        *,
        sandbox: "Sandbox | None" = None,
        backends: Backends | None = None,
        cache: Cache | None = None,
        replay: Recorded | None = None,
    ) -> None:
        if not isinstance(tools, Mapping):
            tools = {name: TOOLS.get(name) for name in (TOOLS.names() if tools is None else tools)}
        self.tools: dict[str, Tool] = dict(tools)
        self.sandbox, self.backends = sandbox, backends or Backends()
        self.cache, self.replay = cache, replay
        self._checker = Checker(self.tools)

    def parameters(self) -> dict[str, tuple[str, ...]]:
        """Name -> parameters in order, of the tools that code in the interpreter may call."""
        return {name: tuple(tool.parameters) for name, tool in self.tools.items() if name != INTERPRETER}

    def signatures(self) -> list[str]:
        """One line a tool, as a planner's prompt shows it: `crop_image(image_path, box): Cuts a part out. Returns a path.`"""
        return [
            f"{signature(name, tool)}: {tool.description.rstrip('.')}. Returns {tool.returns.rstrip('.')}."
            for name, tool in self.tools.items()
        ]

    def schemas(self) -> list[dict[str, Any]]:
        """The tools as functions of the OpenAI API."""
        return [
            {
                "type": "function",
                "function": {"name": name, "description": tool.description, "parameters": arguments_schema(tool)},
            }
            for name, tool in self.tools.items()
        ]

    @contextmanager
    def desk(
        self,
        folder: Path | None = None,
        *,
        files: Sequence[str] = (),
        sources: Sequence[Path] = (),
        seen: Seen | None = None,
    ) -> Iterator[Desk]:
        """An episode; its interpreters end with it.

        Args:
            folder: Of the task, made if need be; None is a new one that is removed at the end.
            files: The task's files, as it names them, to be put into the folder.
            sources: Folders where they are found (`WorkFolder.fill`); what is not found is in `desk.workspace.missing`.
            seen: Called after every call with its tool's name, its arguments and its result: also those of the agent's code.

        Raises:
            ExecutorError: There is no room for the files.
        """
        with _folder(folder) as place:
            workspace = WorkFolder(place)
            try:
                workspace.fill(files, sources)
            except OSError as error:
                _raise_if_exhausted(error)
                raise
            desk: Desk

            def call(name: str, arguments: Mapping[str, Any]) -> Any:
                return self._called_by_code(desk, name, arguments)

            sessions = Interpreters(self.sandbox, workspace.folder, self.parameters(), call)
            desk = Desk(workspace, sessions, self.backends, seen)
            try:
                yield desk
            finally:
                sessions.close()

    def call(self, desk: Desk, name: str, arguments: Mapping[str, Any] | None) -> ToolResult:
        """Makes one call.

        Args:
            desk: Of the episode.
            name: The tool's.
            arguments: By parameter.

        Raises:
            ExecutorError: A server or the sandbox failed, after all retries, or this machine has no room left.
            MissingDependency, ConfigError: A backend that was configured cannot work here.
        """
        start = time.monotonic()
        known = name
        try:
            known = self._checker.name(name)
            checked = self._checker.arguments(known, arguments)
            result = self._answered(desk, known, checked)
        except ToolError as error:
            result = ToolResult(error=str(error), kind=error.kind)
        except OSError as error:
            _raise_if_exhausted(error)
            result = ToolResult(error=f"{known} failed: {error!s:.300}", kind="failed")
        result = replace(result, seconds=time.monotonic() - start)
        if desk.seen is not None:
            desk.seen(known, arguments or {}, result)
        return result

    def _called_by_code(self, desk: Desk, name: str, arguments: Mapping[str, Any]) -> Any:
        """A call that the agent's code makes; what is wrong with it becomes an exception there."""
        try:
            if self._means_interpreter(name):
                raise ToolRefused(f"{INTERPRETER} cannot be called by code that it runs; write the code here.")
            result = self.call(desk, name, arguments)
        except Tracer1Error as error:
            desk.session.fault = error  # the code may catch what it sees of it: the whole run is void nevertheless
            raise
        if not result.ok:
            raise ToolRefused(result.error if result.error.startswith(f"{name}: ") else f"{name}: {result.error}")
        return result.value

    def _means_interpreter(self, name: str) -> bool:
        try:
            return self._checker.name(name) == INTERPRETER
        except ToolError:
            return False

    def _answered(self, desk: Desk, name: str, arguments: dict[str, Any]) -> ToolResult:
        """The result of a checked call, from wherever it comes."""
        tool = self.tools[name]
        if self.replay is not None and self.replay.answers(name, tool):
            found = self.replay.find(name, tool, arguments, digests(desk.workspace, tool, arguments, strict=False))
            if found is not None:
                return ToolResult(found.observation, cached=True, more={"replayed": found.likeness})
            if self.replay.miss != "live":
                raise ToolError("unavailable", f"{name}: this call was not recorded, and nothing else answers it.")
        if self.cache is None or not tool.cached:
            return self._executed(desk, name, arguments)
        plain = {word: value for word, value in arguments.items() if not names_files(tool.parameters[word])}
        files = digests(desk.workspace, tool, arguments, strict=True)
        files = {word: f"{content} {_suffixes(arguments[word])}" for word, content in files.items()}
        if tool.runs_code:
            files["."] = everything(desk.workspace)
        key = key_of(name, tool.version, plain, files, self.backends.identity(f"{tool.backend} {tool.also}"))
        ran: list[ToolResult] = []

        def produce() -> Entry:
            ran.append(self._executed(desk, name, arguments))
            return Entry(copy.deepcopy(ran[0].value), made(desk.workspace, ran[0].files))

        entry, spared = self.cache.get(key, produce)
        return self._placed(desk, entry) if spared else ran[0]

    def _executed(self, desk: Desk, name: str, arguments: Mapping[str, Any]) -> ToolResult:
        """Runs a tool. Raises ToolError for whatever went wrong in it, and Tracer1Error for the infrastructure."""
        tool = self.tools[name]
        workspace = CallFolder(desk.workspace)
        given = resolved(workspace, tool, arguments)
        before = {} if tool.cached else desk.workspace.files()
        try:
            with _session(desk, name, tool) as session:
                value = _plain(tool.run(replace(desk, workspace=workspace, session=session), **given))
        except (ToolError, Tracer1Error):
            raise
        except Exception as error:
            _raise_if_exhausted(error)
            log.exception("%s failed", name)
            raise ToolError("failed", f"{name} failed: {type(error).__name__}: {error!s:.300}") from error
        finally:
            _raise_fault(desk)
        files = [new for new in workspace.given if (desk.workspace.folder / new).is_file()]
        if not tool.cached:  # code of the agent may have written anything
            after = desk.workspace.files()
            files += [new for new, about in after.items() if before.get(new) != about and new not in files]
        return ToolResult(value, files=tuple(files), more=_more(self.backends, tool))

    def _placed(self, desk: Desk, entry: Entry) -> ToolResult:
        """A result that another call gave, its files written anew under the names that are next here."""
        names: dict[str, str] = {}
        for old, new in entry.files.items():
            path, names[old] = desk.workspace.new(new.stem, new.suffix)
            write_new(path, new.content)
        value = renamed(copy.deepcopy(entry.value), names)
        return ToolResult(value, files=tuple(names.values()), cached=True)


@contextmanager
def _session(desk: Desk, name: str, tool: Tool) -> Iterator[Callable[[], Any]]:
    """What the tool's `desk.session` is, see `toolbox/desk.py`."""
    sessions = desk.session
    if not isinstance(sessions, Interpreters) or name == INTERPRETER:
        yield sessions
    elif tool.runs_code:
        with sessions.of_one_call() as session:
            yield session
    else:
        yield sessions.of_tools


def _plain(value: Any) -> Any:
    """The value as JSON gives it back, as it would come from the cache. Raises TypeError or ValueError for what is no plain value."""
    return json.loads(json.dumps(value, allow_nan=False))


def _suffixes(names: str | list[str]) -> str:
    """Of the files of an argument: what a file is, is told by its suffix."""
    return " ".join(Path(name).suffix.lower() for name in ([names] if isinstance(names, str) else names))


def _raise_if_exhausted(error: Exception) -> None:
    """Raises ExecutorError where this machine has no room left, which is nobody's mistake."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in _EXHAUSTED):
        where = tempfile.gettempdir()
        raise ExecutorError(
            f"A tool could not work: {error or type(error).__name__}. Free memory, or room in {where} and in the folders of the tools' "
            "cache; TMPDIR names another folder for tasks."
        ) from error


def _raise_fault(desk: Desk) -> None:
    """Raises what went wrong with the infrastructure while the agent's code ran, whatever the code made of it."""
    if isinstance(desk.session, Interpreters) and desk.session.fault is not None:
        fault, desk.session.fault = desk.session.fault, None
        raise fault


def _more(backends: Backends, tool: Tool) -> dict[str, Any]:
    identity = backends.identity(f"{tool.backend} {tool.also}")
    return {"backend": identity} if identity else {}


@contextmanager
def _folder(folder: Path | None) -> Iterator[Path]:
    if folder is not None:
        Path(folder).mkdir(parents=True, exist_ok=True)
        yield Path(folder)
        return
    with tempfile.TemporaryDirectory(prefix="tracer1-task-") as new:
        yield Path(new)
