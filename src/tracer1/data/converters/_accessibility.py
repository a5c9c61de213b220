"""An Android screen as its accessibility forest tells it: the boxes that hold a place, and a few words on what is seen.

It knows nothing about data sets. The messages are android_env's (`android_env/proto/a11y/android_accessibility_*.proto`).
"""

import functools
from collections.abc import Iterator
from typing import Any

from tracer1.data.converters._protobuf import Fields, message_class, parse
from tracer1.data.converters._text import ABSTRACTION_LENGTH, shortened
from tracer1.schema import Box

_FOREST: dict[str, Fields] = {
    "Forest": {"windows": (1, "*Window")},
    "Window": {
        "title": (5, "bytes"),
        "window_type": (6, "int32"),
        "is_active": (8, "bool"),
        "tree": (11, "Tree"),
    },
    "Tree": {"nodes": (1, "*Node")},
    "Node": {
        "bounds_in_screen": (2, "Rect"),
        "content_description": (4, "bytes"),
        "text": (7, "bytes"),
        "is_password": (20, "bool"),
        "is_visible_to_user": (23, "bool"),
    },
    "Rect": {"left": (1, "int32"), "top": (2, "int32"), "right": (3, "int32"), "bottom": (4, "int32")},
}
_APPLICATION = 1  # window_type; the keyboard is 2, status bar and navigation bar are 3

_TEXT_LENGTH = 40  # characters of one text within an abstraction


@functools.cache
def forest_class() -> Any:
    """The message AndroidAccessibilityForest, with the fields that are read here."""
    return message_class(_FOREST, "Forest")


def read_forest(data: bytes) -> Any:
    """The forest that `data` holds. Raises ValueError where it is none."""
    return parse(forest_class(), data)


def boxes_at(forest: Any, x: float, y: float) -> list[Box]:
    """The boxes of all visible nodes that hold the place, each once, the smallest first.

    Args:
        forest: As `read_forest` gives it.
        x: In pixels of the screen.
        y: In pixels of the screen, down.

    Returns:
        Left, top, right and bottom in pixels. As in Android, the right and lower edges do not belong to a box.
    """
    found: set[Box] = set()
    for node in _visible_nodes(forest.windows):
        box = node.bounds_in_screen
        if box.left <= x < box.right and box.top <= y < box.bottom:
            found.add((box.left, box.top, box.right, box.bottom))
    return sorted(found, key=lambda box: ((box[2] - box[0]) * (box[3] - box[1]), box))


def abstraction(forest: Any) -> str:
    """A few words on the screen: the active app's title, then the visible texts in the tree's order, each once.

    Status bar, navigation bar and keyboard count only where no app shows a text; what is typed into a password field never does.
    """
    apps = [window for window in forest.windows if window.window_type == _APPLICATION]
    texts = _texts(apps) or _texts(forest.windows)
    title = next((_plain(window.title) for window in apps if window.is_active), "")
    said = ", ".join(texts)
    return shortened(f"{title}: {said}" if title and said else title or said)


def _texts(windows: Any) -> list[str]:
    """The texts of the windows' visible nodes, each once whatever its case, until there are enough."""
    found: dict[str, str] = {}
    length = 0
    for node in _visible_nodes(windows):
        text = "" if node.is_password else _plain(node.text) or _plain(node.content_description)
        if len(text) < 2 or text.lower() in found:
            continue
        found[text.lower()] = text if len(text) <= _TEXT_LENGTH else f"{text[: _TEXT_LENGTH - 1].rstrip()}…"
        length += len(found[text.lower()])
        if length > ABSTRACTION_LENGTH:
            break
    return list(found.values())


def _visible_nodes(windows: Any) -> Iterator[Any]:
    for window in windows:
        for node in window.tree.nodes:
            if node.is_visible_to_user:
                yield node


def _plain(text: bytes) -> str:
    return " ".join(text.decode("utf-8", "replace").split())
