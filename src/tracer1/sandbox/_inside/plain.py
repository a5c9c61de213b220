"""Python values as plain JSON: what crosses the sandbox's border. It imports neither numpy nor PIL, and knows only their types' names."""

import itertools
import numbers
import os
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any


def plain(value: Any) -> Any:
    """`value` as JSON can hold it: arrays and tuples as lists, paths as text, an image as the name of a PNG in the working folder.

    Raises:
        TypeError: there is no natural way.
    """
    try:
        return _plain(value)
    except RecursionError:
        raise TypeError("cannot be passed as JSON: it contains itself, or is nested too deeply") from None


def _plain(value: Any) -> Any:
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Mapping):
        return {_key(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset | range):
        return [_plain(item) for item in value]
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    kinds = {f"{kind.__module__}.{kind.__name__}" for kind in type(value).__mro__}
    if kinds & {"PIL.Image.Image"}:
        return _saved(value)
    if kinds & {
        "numpy.ndarray",
        "numpy.generic",
        "pandas.core.series.Series",
        "pandas.core.indexes.base.Index",
        "pandas.Series",
    }:
        return _plain(value.tolist())
    raise TypeError(
        f"a {type(value).__name__} cannot be passed as JSON; pass numbers, text, lists, dicts or the path of a file"
    )


def _key(key: Any) -> str:
    if isinstance(key, str | int | float | bool) or key is None:
        return str(key)
    raise TypeError(f"a dict with a {type(key).__name__} as key cannot be passed as JSON")


def _saved(image: Any) -> str:
    """Saves a PIL image under the first free name."""
    name = next(name for n in itertools.count(1) if not os.path.exists(name := f"passed_{n}.png"))
    image.save(name)
    return name
