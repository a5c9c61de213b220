"""What tools need that is not on this machine's shelf: models, search engines, web pages. It knows no tool.

Each is None until it is configured, and then the tool answers "unavailable". To add one, write `toolbox/backends/<role>/<kind>.py`
with a class registered as `<role>.<kind>` whose keyword arguments are its settings. What a backend is asked and answers is said by the
Protocol of its role. It raises ToolError where the request is the caller's mistake, and ExecutorError when it is out of order: after
its own retries, within its own time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Protocol

from tracer1.errors import ConfigError, UnknownName
from tracer1.registry import Registry, bound, nearest
from tracer1.toolbox.spec import ToolError

if TYPE_CHECKING:
    import numpy as np

BACKENDS = Registry("backend", "tracer1.toolbox.backends")

PixelBox = tuple[float, float, float, float]  # x1, y1, x2, y2 in pixels of the picture that was given


class Backend(Protocol):
    """What all of them have."""

    identity: str  # kind, address, model: results of one are not those of another


class Vision(Backend, Protocol):
    """Answers questions about pictures."""

    def ask(self, question: str, images: Sequence[bytes]) -> str:
        """The answer; images are PNG or JPEG."""


class Language(Backend, Protocol):
    """Answers in text."""

    def ask(self, prompt: str) -> str:
        """The answer."""


class Detection(Backend, Protocol):
    """Finds things in a picture by their names."""

    def find(self, image: bytes, name: str) -> list[tuple[PixelBox, float]]:
        """Boxes with scores from 0 to 1, the best first; none where there is no such thing."""


class Faces(Backend, Protocol):
    """A detector of faces that runs in the sandbox, beside the image."""

    weights: str  # base64


class Segmentation(Backend, Protocol):
    """Finds the outlines of things."""

    def masks(self, image: bytes, boxes: Sequence[PixelBox] | None) -> "np.ndarray":
        """(count, height, width) booleans: of the thing in each box, in order; of everything where `boxes` is None."""


class Images(Backend, Protocol):
    """Makes pictures."""

    def generate(self, prompt: str) -> bytes:
        """A new picture, PNG or JPEG."""

    def edit(self, prompt: str, image: bytes) -> bytes:
        """A changed picture, PNG or JPEG."""


@dataclass(frozen=True, slots=True)
class Hit:
    """What a search engine found."""

    title: str
    url: str
    snippet: str


class Search(Backend, Protocol):
    """Searches the web."""

    def search(self, query: str, count: int = 10) -> list[Hit]:
        """At most `count` hits, the best first."""


class Pages(Backend, Protocol):
    """Reads web pages."""

    def read(self, url: str) -> str:
        """The page as Markdown."""


@dataclass(frozen=True, slots=True)
class Backends:
    """One of each role, or none."""

    vision: Vision | None = None
    language: Language | None = None
    detection: Detection | None = None
    segmentation: Segmentation | None = None
    images: Images | None = None
    search: Search | None = None
    pages: Pages | None = None
    faces: Faces | None = None

    def need(self, role: str) -> Any:
        """The backend of a role; raises ToolError("unavailable") that says how to get it."""
        backend = getattr(self, role)
        if backend is None:
            raise ToolError(
                "unavailable", f"This tool has no backend here; set executor.backends.{role}=... (docs/toolbox.md)."
            )
        return backend

    def identity(self, roles: str) -> str:
        """Of the backends of some roles, separated by blanks; a role without one is left out."""
        there = {role: getattr(self, role) for role in roles.split()}
        return " ".join(f"{role}={backend.identity}" for role, backend in there.items() if backend is not None)


ROLES = tuple(field.name for field in fields(Backends))


def make_backends(settings: Mapping[str, Mapping[str, Any] | str | None] | None) -> Backends:
    """Backends of plain settings.

    Args:
        settings: Role -> `{"kind": ..., its settings}`, or only the kind, or None for no backend. E.g.
            `{"vision": {"kind": "chat", "url": "http://127.0.0.1:8000/v1", "model": "Qwen/Qwen3-VL-8B-Instruct"}, "search": "ddgs"}`.

    Raises:
        UnknownName: A role or a kind that there is not.
        ConfigError: A setting that the kind does not have, or of the wrong type.
    """
    made: dict[str, Any] = {}
    for role, given in (settings or {}).items():
        if role not in ROLES:
            raise UnknownName(
                f"backends has no role {role!r}.{nearest(str(role), [*ROLES])} Known: {', '.join(ROLES)}."
            )
        if given is None:
            continue
        given = {"kind": given} if isinstance(given, str) else dict(given)
        made[role] = _made(role, given.pop("kind", None), given)
    return Backends(**made)


def kinds(role: str) -> list[str]:
    """What can stand in a role."""
    return [name.partition(".")[2] for name in BACKENDS.names() if name.startswith(f"{role}.")]


def _made(role: str, kind: Any, settings: dict[str, Any]) -> Any:
    known = kinds(role)
    try:
        factory = BACKENDS.get(f"{role}.{kind}")
    except UnknownName:
        raise UnknownName(
            f"backends.{role} has no kind {kind!r}.{nearest(str(kind), known)} Known: {', '.join(known)}."
        ) from None
    try:
        return bound(f"backends.{role}", factory, settings)()
    except TypeError as error:
        raise ConfigError(f"backends.{role} ({kind}): {error}.") from error
