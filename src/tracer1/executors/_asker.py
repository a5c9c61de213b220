"""Who answers for a frozen model: a server over HTTP, or vLLM in this process. It knows nothing of actions."""

from collections.abc import Mapping
from typing import Any

from tracer1.chat import ChatClient
from tracer1.errors import ConfigError
from tracer1.executors._frozen import Asker
from tracer1.executors._in_process import InProcessVllm

_LOCAL = ("http://127.0.0.1:8000",)


def make_asker(
    model: str | None, server: Mapping[str, Any] | None, vllm: Mapping[str, Any] | None, cache: str | None
) -> Asker:
    """A client of the endpoints of `server`, or vLLM with the options `vllm` where they are given.

    Raises:
        ConfigError: settings that cannot work.
    """
    if vllm is not None:
        return InProcessVllm(model, vllm, cache)
    settings = {"endpoints": _LOCAL, **(server or {})}
    try:
        return ChatClient(model=model, cache=cache, **settings)
    except TypeError as error:
        raise ConfigError(f"executor.server: {error}") from None
    except ConfigError as error:
        raise ConfigError(f"executor.server: {error}") from None
