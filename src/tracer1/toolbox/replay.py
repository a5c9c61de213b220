"""Answers calls with what was recorded of earlier ones, so that a training needs no model and no network. It executes nothing.

A recording is found by tool, version, arguments and the files that the arguments name: by their content where the recording has its
digest and the file is there, otherwise by the last part of their name, since data sets are released without files or under other folders.
A recording without a version is for any. Of several recordings of a call the first counts. For what was never recorded there are three
ways: `error` ("unavailable"), `live` (the call is executed), and `nearest`: the recording of the same tool on the same files whose other
arguments are the most alike, if they are alike enough.
"""

import difflib
import heapq
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from tracer1.errors import ConfigError, DataError
from tracer1.registry import nearest
from tracer1.toolbox.files import names_files
from tracer1.toolbox.spec import Tool

MISSES = ("error", "live", "nearest")
_COMPARED = 200  # recordings on the same files: of more, those whose words are the most like the call's


@dataclass(frozen=True, slots=True)
class Recording:
    """What a call gave when it was made."""

    tool: str
    arguments: Mapping[str, Any]
    observation: Any  # plain JSON
    version: int | None = None
    files: Mapping[str, str] = field(
        default_factory=dict
    )  # argument -> SHA-256 of the file it named, see `files.digests`


@dataclass(frozen=True, slots=True)
class Found:
    """A recording that answers a call."""

    observation: Any
    likeness: float = 1.0  # of the arguments, 0 to 1; below 1 it is an answer to another question


class Recorded:
    """Recordings of calls.

    Args:
        recordings: In order of precedence.
        miss: What becomes of a call that was not recorded: error | live | nearest.
        tools: The tools that are answered from recordings; None is those that need a backend, the others are executed.
        alike: For `nearest`: the least likeness, 0 to 1: the mean over the arguments, each difflib's ratio of their JSON texts.

    Raises:
        ConfigError: A setting that cannot be.
    """

    def __init__(
        self,
        recordings: Iterable[Recording],
        *,
        miss: str = "error",
        tools: Sequence[str] | None = None,
        alike: float = 0.6,
    ) -> None:
        if miss not in MISSES:
            raise ConfigError(f"replay.miss is {miss!r}.{nearest(str(miss), [*MISSES])} Known: {', '.join(MISSES)}.")
        if not 0 <= alike <= 1:
            raise ConfigError(f"replay.alike is {alike}; it is a likeness, from 0 to 1.")
        self.miss, self.alike = miss, alike
        self.tools = None if tools is None else frozenset(tools)
        self._of_tool: dict[str, list[Recording]] = {}
        for recording in recordings:
            self._of_tool.setdefault(recording.tool, []).append(recording)
        # both are filled for a tool when it is first asked for, since its schema says what is a file
        self._by_text: dict[str, list[Recording]] = {}
        self._on_files: dict[str, list[tuple[Recording, frozenset[str]]]] = {}
        self._indexed: set[str] = set()

    @classmethod
    def of(cls, calls: Iterable[tuple[str, Mapping[str, Any], Any]], **settings: Any) -> "Recorded":
        """Of triples (tool, arguments, observation), as data sets hold them; for `settings` see the class."""
        return cls([Recording(*call) for call in calls], **settings)

    @classmethod
    def from_file(cls, path: Path | str, **settings: Any) -> "Recorded":
        """Of a JSON Lines file with `{"tool", "arguments", "observation"}` and perhaps `"version"`, `"files"` in each line.

        Raises:
            DataError: It cannot be read; the message names the line.
        """
        recordings = []
        try:
            with open(path, encoding="utf-8") as stream:
                for number, line in enumerate(stream, 1):
                    if line.strip():
                        recordings.append(_recording(line, f"{path}, line {number}"))
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"The recordings {path} cannot be read ({error}).") from error
        return cls(recordings, **settings)

    def answers(self, name: str, tool: Tool) -> bool:
        """Whether calls of the tool are answered from recordings."""
        return bool(tool.backend) if self.tools is None else name in self.tools

    def find(self, name: str, tool: Tool, arguments: Mapping[str, Any], digests: Mapping[str, str]) -> Found | None:
        """The recording that answers a call; None where there is none.

        Args:
            name: Of the tool.
            tool: Its parameters say which arguments name files.
            arguments: As the caller gave them, checked.
            digests: Argument -> SHA-256 of the file that it names, of those that are there.
        """
        self._index(name, tool)
        same = self._by_text.get(_text(name, tool, arguments), [])
        for recording in same:
            if _fits(recording, tool, digests):
                return Found(recording.observation)
        return self._nearest(name, tool, arguments, digests) if self.miss == "nearest" else None

    def _index(self, name: str, tool: Tool) -> None:
        if name in self._indexed:
            return
        by_text: dict[str, list[Recording]] = {}
        on_files: dict[str, list[tuple[Recording, frozenset[str]]]] = {}
        for recording in self._of_tool.get(name, []):
            by_text.setdefault(_text(name, tool, recording.arguments), []).append(recording)
            same_files = on_files.setdefault(_text(name, tool, _file_names(tool, recording.arguments)), [])
            same_files.append((recording, _words(tool, recording.arguments)))
        self._by_text |= by_text
        self._on_files |= on_files
        self._indexed.add(name)

    def _nearest(self, name: str, tool: Tool, arguments: Mapping[str, Any], digests: Mapping[str, str]) -> Found | None:
        on_same = self._on_files.get(_text(name, tool, _file_names(tool, arguments)), [])
        if len(on_same) > _COMPARED:
            words = _words(tool, arguments)
            on_same = heapq.nlargest(
                _COMPARED, on_same, key=lambda kept: len(words & kept[1]) / (len(words | kept[1]) or 1)
            )
        asked, best = Asked(tool, arguments), None
        for recording, _ in on_same:
            alike = asked.likeness(recording.arguments)
            if alike >= self.alike and (best is None or alike > best.likeness) and _fits(recording, tool, digests):
                best = Found(recording.observation, alike)
        return best


class Asked:
    """The arguments of a call that name no file, to be compared with many others.

    Args:
        tool: Says which name files.
        arguments: Of the call.
    """

    def __init__(self, tool: Tool, arguments: Mapping[str, Any]) -> None:
        self._tool = tool
        self._matchers = {name: _matcher(value) for name, value in arguments.items() if not _is_file(tool, name)}

    def likeness(self, other: Mapping[str, Any]) -> float:
        """The mean of difflib's ratios over the arguments, 0 to 1; 1 where there are none."""
        names = [name for name in dict.fromkeys((*self._matchers, *other)) if not _is_file(self._tool, name)]
        ratios = []
        for name in names:
            matcher = self._matchers.get(name) or _matcher(None)
            matcher.set_seq1(_plain(other.get(name)))
            ratios.append(matcher.ratio())
        return sum(ratios) / len(ratios) if ratios else 1.0


def _matcher(value: Any) -> difflib.SequenceMatcher:
    return difflib.SequenceMatcher(None, "", _plain(value), autojunk=False)


def _plain(value: Any) -> str:
    return value.lower() if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _words(tool: Tool, arguments: Mapping[str, Any]) -> frozenset[str]:
    """The words in the arguments that name no file."""
    texts = [_plain(value) for name, value in arguments.items() if not _is_file(tool, name)]
    return frozenset(re.findall(r"\w+", " ".join(texts)))


def _is_file(tool: Tool, name: str) -> bool:
    return names_files(tool.parameters.get(name, {}))


def _file_names(tool: Tool, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Argument -> the last part of the file's name, or of each."""
    named = {name: value for name, value in arguments.items() if value is not None and _is_file(tool, name)}
    return {
        name: [_last(item) for item in value] if isinstance(value, list) else _last(value)
        for name, value in named.items()
    }


def _last(name: Any) -> str:
    return PurePosixPath(str(name)).name


def _text(name: str, tool: Tool, arguments: Mapping[str, Any]) -> str:
    """A call as one text: null arguments left out, files by the last part of their name."""
    plain = {word: value for word, value in arguments.items() if value is not None} | _file_names(tool, arguments)
    return json.dumps([name, plain], sort_keys=True)


def _fits(recording: Recording, tool: Tool, digests: Mapping[str, str]) -> bool:
    """Whether version and files are those of the recording, as far as both are known."""
    same_files = all(digests.get(name, known) == known for name, known in recording.files.items())
    return same_files and recording.version in (None, tool.version)


def _recording(line: str, where: str) -> Recording:
    try:
        read = json.loads(line)
        known = {"tool", "arguments", "observation", "version", "files"}
        if not isinstance(read, dict) or not {"tool", "arguments", "observation"} <= read.keys() <= known:
            raise ValueError("it takes tool, arguments, observation, and perhaps version, files")
        if not isinstance(read["tool"], str) or not isinstance(read["arguments"], dict):
            raise ValueError("tool is a text, arguments an object")
        return Recording(**read)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: no recording ({error!s:.200}).") from error
