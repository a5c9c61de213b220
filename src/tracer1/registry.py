"""Registry: things users add are found by name, and the file name is the name. It knows nothing about what is registered."""

import difflib
import importlib
import inspect
import math
import os
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from numbers import Real
from typing import Any

from tracer1.errors import ConfigError, UnknownName

# What a setting may be, by its annotation; other annotations are not checked. A bool is a number to Python, not to a reader.
_KINDS = {
    "bool": ("true or false", bool),
    "int": ("a whole number", int),
    "float": ("a finite number", Real),
    "str": ("text", str),
}


def nearest(name: str, known: list[str]) -> str:
    """` Did you mean 'x'?` for the known name that is closest to `name`, or an empty string."""
    close = difflib.get_close_matches(name, known, 1)
    return f" Did you mean {close[0]!r}?" if close else ""


class Registry:
    """`REWARDS.get("format")` finds the object that `<package>/format.py` registers under that name.

    Args:
        kind: What an entry is called in messages, e.g. `"reward"`.
        package: The package whose modules hold the entries; a module is imported when its name is first asked for. Of a folder in it
            with modules of its own these are the names, with a dot: `android_control.os_atlas`.
    """

    def __init__(self, kind: str, package: str) -> None:
        self.kind, self.package = kind, package
        self._table: dict[str, Any] = {}

    def register(self, name: str) -> Callable[[Any], Any]:
        """Decorator that files an object under `name`; raises ValueError when another object has that name."""

        def add(entry: Any) -> Any:
            if name in self._table:
                raise ValueError(f"{self.kind} {name!r} is taken by {self._table[name].__module__}; pick another name.")
            self._table[name] = entry
            return entry

        return add

    def names(self) -> list[str]:
        """Every name that can be asked for, sorted, without importing anything but the package itself."""
        return sorted({*self._table, *_modules(importlib.import_module(self.package).__path__)})

    def get(self, name: str) -> Any:
        """The object registered as `name`; raises UnknownName with the nearest known name."""
        if name not in self._table and name in self.names():
            importlib.import_module(f"{self.package}.{name}")  # only now: heavy libraries stay unloaded until asked for
        if name not in self._table:
            known = self.names()
            raise UnknownName(
                f"No {self.kind} {name!r}.{nearest(name, known)} Known: {', '.join(known)}. To add it, write "
                f"{f'{self.package}.{name}'.replace('.', '/')}.py with @register({name!r}), or list your module in `plugins`."
            )
        return self._table[name]


def _modules(paths: Iterable[str], prefix: str = "") -> Iterator[str]:
    """The dotted names of the public modules in a package; of a package with public modules, theirs instead of its own."""
    for module in pkgutil.iter_modules(paths):
        if module.name.startswith("_"):
            continue
        name = f"{prefix}{module.name}"
        within = [] if not module.ispkg else [os.path.join(module.module_finder.path, module.name)]
        yield from list(_modules(within, f"{name}.")) or [name]


def bound(where: str, function: Callable[..., Any], settings: Mapping[str, Any], also: tuple[str, ...] = ()) -> Any:
    """A function with its settings, which are its keyword-only arguments, filled in.

    Args:
        where: What holds the settings, for messages, e.g. `reward.terms.format`.
        function: Its annotations say what a setting may be.
        settings: Name -> value.
        also: Settings that somebody else reads, to be named in messages.

    Raises:
        ConfigError: a setting that the function does not have, or of the wrong kind.
    """
    parameters = inspect.signature(function).parameters
    known = [*also, *(key for key, p in parameters.items() if p.kind is p.KEYWORD_ONLY)]
    for key, value in settings.items():
        if key not in known or key in also:
            named = f"Known: {', '.join(known)}." if known else "It has none."
            raise ConfigError(f"{where} has no setting {key!r}.{nearest(key, known)} {named}")
        check_kind(f"{where}.{key}", value, parameters[key].annotation)
    return partial(function, **settings)


def check_kind(where: str, value: Any, annotation: Any) -> None:
    """Raises ConfigError for a value that its annotation (a type, or its name) does not allow."""
    name = getattr(annotation, "__name__", annotation)
    wanted, kind = _KINDS.get(name, ("a finite number", object))
    fits = isinstance(value, kind) and (kind is object or isinstance(value, bool) == (kind is bool))
    if not fits or (isinstance(value, float) and not math.isfinite(value)):
        raise ConfigError(f"{where} is {value!r:.60}; it must be {wanted}.")
