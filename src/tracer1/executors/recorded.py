"""Replays what a frozen model once replied, from the cache alone: no server, no model. It knows nothing of rewards."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tracer1.chat import ChatReply, ChatRequest
from tracer1.chat.cache import FILE, ReplyCache
from tracer1.chat.request import Identity, Remembered, identity, sha256
from tracer1.errors import ConfigError, ExecutorError
from tracer1.executors import EXECUTORS
from tracer1.registry import nearest
from tracer1.schema import Outcome, Rollout

FROZEN = ("ui_tars", "qwen3_vl")
MISSES = ("fault", "stop")


@EXECUTORS.register("recorded")
class RecordedExecutor:
    """Another executor, whose model is a recording.

    Args:
        of: The executor that filled the cache: its name and settings, as in its own config.
        cache: Folder of the replies.
        miss: What becomes of a rollout whose reply is not there: `fault` masks it, `stop` ends the run.

    Raises:
        ConfigError: settings that cannot work, or no cache there.
    """

    def __init__(self, of: Mapping[str, Any], cache: str, miss: str = "fault") -> None:
        settings = dict(of)
        name = settings.pop("name", None)
        if name not in FROZEN:
            raise ConfigError(
                f"executor.of.name is {name!r}; a recording has the replies of one of: {', '.join(FROZEN)}."
            )
        if miss not in MISSES:
            raise ConfigError(f"executor.miss is {miss!r}.{nearest(str(miss), list(MISSES))} It must be fault or stop.")
        self.executor = EXECUTORS.get(name)(**{**settings, "in_process": False, "cache": None})
        self.executor.asker = RecordedReplies(cache, settings.get("model"), miss)

    def execute(self, rollouts: Sequence[Rollout]) -> list[Outcome]:
        """One outcome per rollout, in order.

        Raises:
            ExecutorError: a reply is missing, and `miss` is `stop`.
        """
        return self.executor.execute(rollouts)


class RecordedReplies:
    """Answers from a cache, and from nothing else.

    Args:
        folder: Of the cache.
        model: Whose replies; None takes the only model's there.
        miss: `fault` or `stop`.
    """

    def __init__(self, folder: str, model: str | None, miss: str) -> None:
        if not (Path(folder) / FILE).is_file():
            raise ConfigError(
                f"executor.cache: no {FILE} in {folder}. Fill it first: run with the server and cache={folder}."
            )
        self.cache, self.miss = ReplyCache(folder, writable=False), miss
        if self.cache.broken:
            raise ConfigError(f"executor.cache cannot be read: {self.cache.broken}.")
        held = self.cache.models()
        if model is None and len(held) != 1:
            raise ConfigError(
                f"{self.cache.path} holds replies of {', '.join(held) or 'nobody'}: name one with executor.of.model."
            )
        if model is not None and model not in held:
            raise ConfigError(f"{self.cache.path} holds no replies of {model}, but of {', '.join(held) or 'nobody'}.")
        self.model = model or held[0]

    def ask(self, requests: Sequence[ChatRequest], check: Callable[[str], str]) -> list[ChatReply]:
        """See `_frozen.Asker`."""
        digest = Remembered(sha256, 4096)
        return [self._reply(request, identity(request, self.model, digest), check) for request in requests]

    def _reply(self, request: ChatRequest, asked: Identity, check: Callable[[str], str]) -> ChatReply:
        kept = self.cache.get(asked)
        reason = "the reply was not recorded" if kept is None else check(kept[0])
        if not reason:
            return ChatReply(kept[0], truncated=kept[1], cached=True)
        if self.miss == "stop":
            raise ExecutorError(
                f"{self.cache.path}: {reason}: {request.messages[-1].role} prompt of {self.model}. The plans, settings or data are "
                "others than when it was recorded; executor.miss=fault masks such rollouts."
            )
        return ChatReply(fault=f"{self.cache.path}: {reason}")
