"""vLLM in the training process as the frozen model's host: an alternative to a server. It knows nothing of actions.

It shares the training's device: leave it room with `executor.vllm.gpu_memory_utilization`.
"""

import logging
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from tracer1.chat import ChatReply, ChatRequest
from tracer1.chat.cache import ReplyCache
from tracer1.chat.request import Identity, Remembered, identity, sha256, to_data_url, to_wire
from tracer1.chat.wording import shortened
from tracer1.errors import ConfigError, ExecutorError, MissingDependency

log = logging.getLogger(__name__)

_ATTEMPTS = 3  # of a request whose text is of no use
# One process, and no word but warnings: what the engine `vllm` sets, too
_ENVIRONMENT = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "WARNING"}


class InProcessVllm:
    """Answers with a model that is loaded when first asked.

    Args:
        model: Folder or hub name.
        options: Arguments of vllm.LLM.
        cache: Folder of the replies; None keeps none.
    """

    def __init__(self, model: str | None, options: Mapping[str, Any], cache: str | None) -> None:
        if model is None:
            raise ConfigError("executor.in_process=true loads a model: name it with executor.model.")
        self.model, self.options = model, dict(options)
        self.cache = ReplyCache(cache) if cache is not None else None
        self._llm: Any = None

    def ask(self, requests: Sequence[ChatRequest], check: Callable[[str], str]) -> list[ChatReply]:
        """See `_frozen.Asker`; identical requests are answered once.

        Raises:
            ExecutorError: vLLM does not start, or fails.
            MissingDependency: it is not installed.
        """
        digest = Remembered(sha256, 4096)
        asked = [identity(request, self.model, digest) for request in requests]
        got: dict[str, ChatReply] = {}
        fresh: dict[str, tuple[Identity, ChatRequest]] = {}
        for one, request in zip(asked, requests, strict=True):
            kept = self.cache.get(one) if self.cache is not None and one.key not in fresh | got else None
            if kept is not None and not check(kept[0]):
                got[one.key] = ChatReply(kept[0], truncated=kept[1], cached=True)
            elif one.key not in got:
                fresh.setdefault(one.key, (one, request))
        got |= self._sampled(fresh, check)
        return [got[one.key] for one in asked]

    def _sampled(
        self, fresh: Mapping[str, tuple[Identity, ChatRequest]], check: Callable[[str], str]
    ) -> dict[str, ChatReply]:
        got: dict[str, ChatReply] = {}
        complaints: dict[str, str] = {}
        begin = time.monotonic()
        for attempt in range(_ATTEMPTS):
            left = [key for key in fresh if key not in got]
            for key, (text, truncated) in zip(
                left, self._generate([fresh[key][1].again(attempt) for key in left]), strict=True
            ):
                complaints[key] = check(text)
                if not complaints[key]:
                    got[key] = ChatReply(
                        text, truncated=truncated, endpoint="in process", seconds=time.monotonic() - begin
                    )
                    if self.cache is not None:
                        self.cache.put(fresh[key][0], text, truncated)
        faults = {key: f"{_ATTEMPTS} attempts failed; last: {complaint}" for key, complaint in complaints.items()}
        return {key: got.get(key) or ChatReply(fault=faults[key]) for key in fresh}

    def _generate(self, requests: Sequence[ChatRequest]) -> list[tuple[str, bool]]:
        if not requests:
            return []
        llm = self._loaded()
        from vllm import SamplingParams

        data_url = Remembered(to_data_url, 32)
        conversations = [to_wire(request, self.model, data_url)["messages"] for request in requests]
        sampling = [
            SamplingParams(temperature=r.temperature, max_tokens=r.max_tokens, stop=list(r.stop), seed=r.seed)
            for r in requests
        ]
        try:
            outputs = llm.chat(conversations, sampling, use_tqdm=False)
        except (RuntimeError, ValueError) as error:
            raise ExecutorError(f"vLLM failed in this process: {shortened(str(error))}") from error
        return [(output.outputs[0].text, output.outputs[0].finish_reason == "length") for output in outputs]

    def _loaded(self) -> Any:
        if self._llm is None:
            for name, value in _ENVIRONMENT.items():
                os.environ.setdefault(name, value)
            logging.getLogger("vllm").setLevel(os.environ["VLLM_LOGGING_LEVEL"])
            try:
                import vllm
            except ImportError as error:
                raise MissingDependency(
                    f"executor.in_process=true needs vLLM ({error}): pip install 'tracer1[vllm]', or ask a server."
                ) from error
            try:
                with _undisturbed():
                    self._llm = vllm.LLM(model=self.model, **self.options)
            except (TypeError, ValueError, RuntimeError, OSError) as error:
                raise ExecutorError(
                    f"vLLM does not load {self.model} (executor.model, executor.vllm): {shortened(str(error))}"
                ) from error
        return self._llm


@contextmanager
def _undisturbed() -> Iterator[None]:
    """vLLM seeds the global generators and sets threads while it starts: both are as before afterwards."""
    import numpy as np
    import torch

    threads, states = torch.get_num_threads(), (random.getstate(), np.random.get_state(), torch.get_rng_state())
    set_threads = torch.set_num_threads
    try:
        yield
    finally:
        torch.set_num_threads = set_threads
        torch.set_num_threads(threads)
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
