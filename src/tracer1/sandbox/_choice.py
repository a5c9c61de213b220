"""Which sandbox a setting means, and what to do where there is none. It knows nothing of how they work."""

import logging
from typing import Any

from tracer1.errors import ConfigError, MissingDependency
from tracer1.registry import bound, nearest
from tracer1.sandbox import SANDBOXES, Limits, Sandbox

log = logging.getLogger(__name__)

_LADDER = ("bubblewrap", "docker")  # what `auto` tries; the first that works is taken


def open_sandbox(kind: str = "auto", limits: Limits = Limits(), **settings: Any) -> Sandbox:  # noqa: B008
    """See `tracer1.sandbox.open_sandbox`."""
    known = ["auto", *SANDBOXES.names()]
    if kind not in known:
        raise ConfigError(f"No sandbox {kind!r}.{nearest(kind, known)} Known: {', '.join(known)}.")
    if kind != "auto":
        return _opened(kind, limits, settings)
    if settings:
        raise ConfigError(
            f"The settings {', '.join(sorted(settings))} belong to one kind of sandbox: name it in place of auto "
            f"({', '.join(_LADDER)}, ...)."
        )
    refused = []
    for rung in _LADDER:
        try:
            return _opened(rung, limits, {})
        except MissingDependency as missing:
            refused.append(f"{rung}: {missing}")
    raise MissingDependency(
        "There is no sandbox for model-written code here.\n  "
        + "\n  ".join(refused)
        + "\nEasiest: `apt-get install bubblewrap`. Or set sandbox=http with the address of a SandboxFusion server, or, on a machine "
        "that you can lose, sandbox=unsafe."
    )


def _opened(kind: str, limits: Limits, settings: dict[str, Any]) -> Sandbox:
    sandbox = bound(f"sandbox {kind}", SANDBOXES.get(kind), settings, also=("limits",))(limits)
    log.info("model-written code runs in a sandbox of kind %s", kind)
    return sandbox
