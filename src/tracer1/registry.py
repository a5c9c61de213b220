"""Registry: things users add are found by name, and the file name is the name. It knows nothing about what is registered."""

import difflib
import importlib
import pkgutil
from collections.abc import Callable
from typing import Any

from tracer1.errors import UnknownName


def nearest(name: str, known: list[str]) -> str:
    """` Did you mean 'x'?` for the known name that is closest to `name`, or an empty string."""
    close = difflib.get_close_matches(name, known, 1)
    return f" Did you mean {close[0]!r}?" if close else ""


class Registry:
    """`REWARDS.get("format")` finds the object that `<package>/format.py` registers under that name.

    Args:
        kind: What an entry is called in messages, e.g. `"reward"`.
        package: The package whose modules hold the entries; a module is imported when its name is first asked for.
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
        modules = pkgutil.iter_modules(importlib.import_module(self.package).__path__)
        return sorted({*self._table, *(module.name for module in modules if not module.name.startswith("_"))})

    def get(self, name: str) -> Any:
        """The object registered as `name`; raises UnknownName with the nearest known name."""
        if name not in self._table and name in self.names():
            importlib.import_module(f"{self.package}.{name}")  # only now: heavy libraries stay unloaded until asked for
        if name not in self._table:
            known = self.names()
            raise UnknownName(
                f"No {self.kind} {name!r}.{nearest(name, known)} Known: {', '.join(known)}. To add it, write "
                f"{self.package.replace('.', '/')}/{name}.py with @register({name!r}), or list your module in `plugins`."
            )
        return self._table[name]
