"""The settings of the shipped frozen executors, for tools that need one without a training. It knows no setting's meaning."""

from pathlib import Path
from typing import Any

from tracer1.errors import UnknownName
from tracer1.executors import EXECUTORS
from tracer1.executors.recorded import FROZEN
from tracer1.registry import nearest

CONF = Path(__file__).resolve().parents[3] / "conf" / "executor"


def frozen_names() -> list[str]:
    """The configs in `conf/executor` that a frozen model stands behind."""
    return [path.stem for path in sorted(CONF.glob("*.yaml")) if _read(path).get("name") in FROZEN]


def frozen_settings(name: str) -> dict[str, Any]:
    """One of them as plain values, without the cache, whose folder a training chooses.

    Raises:
        UnknownName: no such config, or one without a frozen model.
    """
    known = frozen_names()
    if name not in known:
        raise UnknownName(f"No frozen executor {name!r}.{nearest(name, known)} Known: {', '.join(known)}.")
    return _read(CONF / f"{name}.yaml")


def make_frozen(name: str, **settings: Any) -> Any:
    """The executor of a config, with `settings` in place of its own."""
    spec = {**frozen_settings(name), **settings}
    return EXECUTORS.get(spec.pop("name"))(**spec)


def _read(path: Path) -> dict[str, Any]:
    from omegaconf import OmegaConf

    raw = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    own = {key: value for key, value in raw.items() if key == "name" or raw.get("name") in FROZEN}
    own.pop("cache", None)
    return OmegaConf.to_container(OmegaConf.create(own), resolve=True)
