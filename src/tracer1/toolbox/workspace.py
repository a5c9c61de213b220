"""The folder of one task: which file the agent means, where a new one goes, and how its own files get there. It knows no tool.

Code that an agent wrote may be running in the folder while a tool looks into it. So a name is resolved and checked, and whoever
opens a file in this process does it with `read_inside` and `write_new`, which follow no link.
"""

import difflib
import os
import re
import shutil
import stat
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from tracer1.toolbox.spec import ToolError

WORK = PurePosixPath("/work")  # where sandboxed code sees the folder
_LONGEST_NAME, _LONGEST_PATH = 255, 1024  # bytes
_LISTED = 20  # files that a message names
_MOST_FILES = 10_000  # that are looked at: more are nobody's result


class WorkFolder:
    """A folder as `spec.Workspace`.

    Args:
        folder: It exists.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder).resolve(strict=True)
        self.missing: tuple[str, ...] = ()  # files of the task that no source had
        self._aliases: dict[str, str] = {}  # what the task calls a file -> its place in the folder
        self._taken: set[str] = set()
        self._lock = threading.Lock()

    def find(self, path: str) -> Path:
        """See `spec.Workspace`."""
        place = self.folder / (self._aliases[path] if path in self._aliases else self._inside(path))
        try:
            real = place.resolve()
            inside = real.is_relative_to(self.folder)
            mode = os.stat(real).st_mode if inside else 0
        except (FileNotFoundError, NotADirectoryError):
            raise ToolError("no_file", f"There is no file {path!r:.200}.{self._hint(path)}") from None
        except (OSError, RuntimeError) as error:  # a loop of links
            raise ToolError("refused", f"{path!r:.200} cannot be opened ({error!s:.100}).") from None
        if not inside:
            raise ToolError("refused", f"{path!r:.200} is a link that leads out of the task's folder.")
        if not stat.S_ISREG(mode):
            kind = "a folder" if stat.S_ISDIR(mode) else "no ordinary file"
            raise ToolError("refused", f"{path!r:.200} is {kind}; name a file.{self._hint(path)}")
        return real

    def new(self, stem: str, suffix: str) -> tuple[Path, str]:
        """See `spec.Workspace`: `crop_1.png`, then `crop_2.png`."""
        assert re.fullmatch(r"[A-Za-z0-9_-]+\.[A-Za-z0-9]+", stem + suffix), (stem, suffix)
        with self._lock:
            number = 1
            while (name := f"{stem}_{number}{suffix}") in self._taken or os.path.lexists(self.folder / name):
                number += 1
            self._taken.add(name)
        return self.folder / name, name

    def name_of(self, path: Path) -> str:
        """How the agent calls a file of the folder."""
        return path.relative_to(self.folder).as_posix()

    def files(self) -> dict[str, tuple[int, int]]:
        """Every ordinary file by its name -> (time of its last change in ns, bytes); links are left out."""
        return {name: (about.st_mtime_ns, about.st_size) for name, about in _walk(self.folder)}

    def fill(self, files: Iterable[str], sources: Sequence[Path]) -> tuple[str, ...]:
        """Puts a task's files there, each under the name that the task gives it.

        A file is found below a source by the longest end of its name that is there: owners release files under other folders than
        those that their tasks name. It is copied, not linked, since code that runs in the folder may change what it holds.

        Args:
            files: As the task names them; an absolute name, or one with `..`, gets a place within the folder.
            sources: Folders, asked in order.

        Returns:
            The names that no source had; also kept as `missing`.
        """
        missing = []
        for name in dict.fromkeys(files):
            found = next((place for root in sources if (place := find_end(Path(root), name))), None)
            if found is None:
                missing.append(name)
                continue
            inside = "/".join(_parts(name))
            target = self.folder / inside
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                shutil.copyfile(found, target)
                target.chmod(0o444)
            if inside != name:
                self._aliases[name] = inside
        self.missing = (*self.missing, *missing)
        return tuple(missing)

    def _inside(self, path: str) -> str:
        """The path relative to the folder; raises ToolError for one that is none."""
        if not isinstance(path, str) or not path.strip() or "\0" in path:
            raise ToolError("refused", f"{path!r:.60} is no name of a file.")
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", path):
            raise ToolError(
                "refused", f"{path!r:.200} is a URL; only files of the task's folder are opened.{self._hint(path)}"
            )
        try:
            size = [len(part.encode()) for part in (path, *path.split("/"))]
        except UnicodeEncodeError:
            raise ToolError("refused", f"{path!r:.200} is no name of a file.") from None
        if size[0] > _LONGEST_PATH or max(size[1:]) > _LONGEST_NAME:
            raise ToolError("refused", f"{path!r:.60} ... is too long for a name of a file.")
        pure = PurePosixPath(path)
        if ".." in pure.parts:
            raise ToolError(
                "refused", f"{path!r:.200} leaves the task's folder; name a file within it.{self._hint(path)}"
            )
        for root in (WORK, PurePosixPath(self.folder)):
            if pure.is_relative_to(root):
                return str(pure.relative_to(root))
        if pure.is_absolute():
            raise ToolError("refused", f"{path!r:.200} lies outside of the task's folder {WORK}.{self._hint(path)}")
        return path

    def _hint(self, path: str) -> str:
        names = sorted(name for name, _ in _walk(self.folder))
        by_end = {PurePosixPath(name).name: name for name in names}
        close = difflib.get_close_matches(PurePosixPath(path).name[:_LONGEST_NAME], list(by_end), 1)
        meant = f" Did you mean {by_end[close[0]]!r}?" if close else ""
        more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
        return f"{meant} Files: {', '.join(names[:_LISTED])}{more}." if names else " The task has no files."


class CallFolder:
    """A WorkFolder during one call: remembers which new places it gave out. See `spec.Workspace`."""

    def __init__(self, whole: WorkFolder) -> None:
        self.whole, self.folder = whole, whole.folder
        self.given: dict[str, tuple[str, str]] = {}  # name -> its stem and suffix

    def find(self, path: str) -> Path:
        """See `spec.Workspace`."""
        return self.whole.find(path)

    def new(self, stem: str, suffix: str) -> tuple[Path, str]:
        """See `spec.Workspace`."""
        path, name = self.whole.new(stem, suffix)
        self.given[name] = (stem, suffix)
        return path, name


def read_inside(folder: Path, path: Path, most: int) -> bytes:
    """The content of an ordinary file in the folder, opened without following a link anywhere below it.

    Args:
        folder: Of the workspace.
        path: As `find` or `new` gave it.
        most: Bytes.

    Raises:
        ToolError: It is gone, a link by now, no file, or larger.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        parts = path.relative_to(folder).parts
        for part in parts[:-1]:
            handle = _opened(handle, part, os.O_DIRECTORY)
        handle = _opened(handle, parts[-1], os.O_NONBLOCK)  # a pipe would wait for its writer
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode):
            raise ToolError("refused", f"{path.name!r} is no ordinary file.")
        if about.st_size > most:
            raise ToolError("refused", f"{path.name!r} has {about.st_size:,} bytes; at most {most:,} are read.")
        with os.fdopen(os.dup(handle), "rb") as stream:
            return stream.read(most)
    except OSError as error:
        kind = "no_file" if isinstance(error, FileNotFoundError) else "refused"
        raise ToolError(kind, f"{path.name!r} cannot be opened ({error.strerror}).") from None
    finally:
        os.close(handle)


def _opened(folder: int, name: str, flags: int) -> int:
    """Opens `name` in the folder, which it closes unless opening fails."""
    inner = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | flags, dir_fd=folder)
    os.close(folder)
    return inner


def write_new(path: Path, data: bytes) -> None:
    """Writes a file that is not there yet, at a place of `Workspace.new`; raises ToolError where something else took the place."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    except FileExistsError:
        raise ToolError("failed", f"{path.name!r} was made by somebody else in the meantime.") from None
    with os.fdopen(handle, "wb") as stream:
        stream.write(data)


def _walk(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """The ordinary files below a folder, with their names relative to it; a folder that cannot be read has none."""
    count = 0
    for root, folders, names in os.walk(folder):
        folders.sort()
        count += len(folders)
        for name in sorted(names):
            try:
                about = os.lstat(os.path.join(root, name))
            except OSError:  # gone in the meantime
                continue
            count += 1
            if count > _MOST_FILES:
                return
            if stat.S_ISREG(about.st_mode):
                yield os.path.relpath(os.path.join(root, name), folder), about


def _parts(name: str) -> list[str]:
    return [part for part in PurePosixPath(name.replace("\0", "")).parts if part not in ("/", "..", ".")]


def find_end(root: Path, name: str) -> Path | None:
    """The file below `root` by the longest end of its name that is there."""
    parts = _parts(name)
    tries = (root.joinpath(*parts[start:]) for start in range(len(parts)))
    try:
        return next((place for place in tries if place.is_file()), None)
    except OSError:  # an overlong name
        return None
