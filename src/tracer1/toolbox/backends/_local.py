"""Loads a model of transformers once, when it is first asked, and lets one thread at a time use it. It knows no kind of model."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tracer1.errors import ConfigError, ExecutorError, MissingDependency

log = logging.getLogger(__name__)


class Local:
    """A model and its processor.

    Args:
        role: For messages.
        classes: Names of transformers' classes that load the model and its processor.
        model: A folder, or a hub's name.
        device: `auto` is the first GPU where there is one; `cpu`, `cuda:1` ...
    """

    def __init__(self, role: str, classes: tuple[str, str], model: str, device: str) -> None:
        self.role, self.path, self.device = role, model, device
        self._classes = classes
        self._loaded: tuple[Any, Any] | None = None
        self._lock = threading.Lock()

    def use(self, work: Callable[[Any, Any], Any]) -> Any:
        """What `work(model, processor)` gives.

        Raises:
            ConfigError: There is no such model.
            MissingDependency: Its processor needs a package that is not installed.
            ExecutorError: The device has no memory left.
        """
        import torch

        with self._lock:
            if self._loaded is None:
                self._loaded = self._load()
            try:
                with torch.inference_mode():
                    return work(*self._loaded)
            except torch.OutOfMemoryError as error:
                raise ExecutorError(
                    f"executor.backends.{self.role}: {self.device} has no memory left for {self.path}. Choose a smaller model or "
                    "another device."
                ) from error

    def _load(self) -> tuple[Any, Any]:
        import torch
        import transformers

        if self.path.startswith(("/", ".")) and not Path(self.path).is_dir():
            raise ConfigError(f"executor.backends.{self.role}: there is no folder {self.path}; check its `model`.")
        log.info("executor.backends.%s: loading %s", self.role, self.path)
        device = self.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            processor = getattr(transformers, self._classes[1]).from_pretrained(self.path)
            model = getattr(transformers, self._classes[0]).from_pretrained(self.path, dtype="auto")
            return model.to(device).eval(), processor
        except ImportError as error:
            reason = " ".join(str(error).split())
            raise MissingDependency(f"{self.path} needs a package that is not installed: {reason:.300}") from error
        except (OSError, ValueError, RuntimeError, KeyError) as error:  # each is raised for some folder that is none
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ConfigError(
                f"executor.backends.{self.role}: cannot load the model {self.path!r} on {device}: {reason:.300} Give a folder "
                "of transformers, or a hub's name on a machine that reaches the hub."
            ) from error
