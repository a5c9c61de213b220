"""Stands in for the heavy packages that OSWorld's class imports at its top and tasks on files and windows do without. It knows no task.

`import desktop_env.desktop_env` asks for some twenty packages (OCR, audio, PDF, Google Drive: 7 GB). Those that are not installed
become hollow modules: importing from them works, using what they hold raises. Some of OSWorld's metrics would catch that and answer 0,
so "cannot be computed" would be booked as "failed": which metrics need one is found out before a task begins, by their source
(`_osworld/metrics.py`, to which a hollow module is an absent one).
"""

import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from tracer1.errors import MissingDependency

# Any of them is used where it is installed
OPTIONAL = frozenset(
    ("acoustid", "borb", "bs4", "cv2", "easyocr", "fastdtw", "fitz", "formulas", "imagehash", "librosa", "mutagen", "odf", "pdfplumber",
     "pydrive", "PyPDF2", "scipy", "skimage", "tldextract")
)  # fmt: skip


class Hollow:
    """What a hollow module holds: it can be named and passed on; calling it raises MissingDependency."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> "Hollow":
        if name.startswith("__"):
            raise AttributeError(name)
        return Hollow(f"{self._name}.{name}")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise MissingDependency(f"{self._name} is not installed: `pip install` its package to use what needs it.")


class _HollowModule(ModuleType):
    def __getattr__(self, name: str) -> Hollow:
        if name.startswith("__"):
            raise AttributeError(name)
        return Hollow(f"{self.__name__}.{name}")


class HollowFinder(MetaPathFinder, Loader):
    """Finds, while entered, the optional packages that no other finder finds, for the imports of one package alone.

    Other libraries ask too, to learn what they can do: they are told the truth, now (by who asks) and later (the hollow modules are
    taken out of `sys.modules` again). pandas, told that there is an `odf`, reads no table any more, and comparing tables gives 0.

    Args:
        package: Whose imports are answered.
    """

    def __init__(self, package: str = "desktop_env") -> None:
        self.package = package

    def __enter__(self) -> "HollowFinder":
        sys.meta_path.append(self)  # last: a package that is installed is found before
        return self

    def __exit__(self, *_: object) -> None:
        sys.meta_path.remove(self)
        for name in [name for name, module in sys.modules.items() if isinstance(module, _HollowModule)]:
            del sys.modules[name]

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if fullname.partition(".")[0] not in OPTIONAL or _importer().partition(".")[0] != self.package:
            return None
        return ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _HollowModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


def _importer() -> str:
    """The module whose import statement is being carried out."""
    frame = sys._getframe(1)
    while frame and frame.f_globals.get("__name__", "").partition(".")[0] in (__name__.partition(".")[0], "importlib"):
        frame = frame.f_back
    return frame.f_globals.get("__name__", "") if frame else ""
