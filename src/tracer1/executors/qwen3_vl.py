"""Qwen3-VL executes the plan's first step with its computer_use or mobile_use tool. It knows nothing of rewards."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from tracer1.errors import UnknownName
from tracer1.executors import EXECUTORS
from tracer1.executors import _qwen_prompt as prompt_of
from tracer1.executors._asker import make_asker
from tracer1.executors._frozen import Dialect, FrozenModel
from tracer1.executors._qwen_reply import parse
from tracer1.registry import nearest
from tracer1.schema import Outcome, Rollout


@EXECUTORS.register("qwen3_vl")
class Qwen3VlExecutor:
    """Qwen3-VL behind a server, or in this process.

    Args:
        model: Its name on the server; None takes the only one there.
        template: `computer`, `mobile`, or `auto`: by the step's platform.
        goal: Qwen3-VL reads the task's goal beside the step's instruction.
        sampling: temperature, max_tokens, seed.
        server: `endpoints`, `api_key_env` and the fields of `chat.Patience`.
        vllm: Options of a vLLM that serves the model, in this process where `in_process` says so.
        in_process: No server is asked: vLLM runs here.
        cache: Folder of the replies; None keeps none.

    Raises:
        ConfigError: settings that cannot work.
    """

    def __init__(
        self,
        model: str | None = None,
        template: str = "auto",
        goal: bool = False,
        sampling: Mapping[str, Any] | None = None,
        server: Mapping[str, Any] | None = None,
        vllm: Mapping[str, Any] | None = None,
        in_process: bool = False,
        cache: str | None = None,
    ) -> None:
        if template not in prompt_of.TEMPLATES:
            known = list(prompt_of.TEMPLATES)
            raise UnknownName(
                f"Qwen3-VL has no template {template!r}.{nearest(str(template), known)} Known: {', '.join(known)}."
            )
        messages = partial(prompt_of.messages, template=template)
        self.frozen = FrozenModel(Dialect(messages, parse), dict(sampling or {}), goal)
        self.asker = make_asker(model, server, (vllm or {}) if in_process else None, cache)

    def execute(self, rollouts: Sequence[Rollout]) -> list[Outcome]:
        """One outcome per rollout, in order: Qwen3-VL's first action, an error that is a verdict, or a fault that is none."""
        return self.frozen.execute(rollouts, self.asker)
