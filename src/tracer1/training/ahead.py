"""One-step-off rollouts: the next round is sampled while this one is updated, by an engine that has weights of its own.

What is under way belongs to a checkpoint: it is waited for and kept with the place in the data before it was drawn, so that whoever
goes on draws the same groups and finds their responses. It knows groups by their seeds, and nothing of rewards or losses.
"""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from tracer1.errors import ConfigError
from tracer1.interfaces import RolloutEngine, Sampling
from tracer1.schema import Prompt, Response
from tracer1.training.groups import Group
from tracer1.training.ranks import agreed, summed


class AheadEngine:
    """An engine that also samples in the background. Others are served when that is done: a push would change its weights.

    Args:
        engine: Samples elsewhere than in this process's policy.

    Raises:
        ConfigError: it does not.
    """

    apart = True

    def __init__(self, engine: RolloutEngine) -> None:
        if not engine.apart:
            raise ConfigError(
                "rollout.staleness=1 samples while the policy is updated, and this engine samples with the policy's own weights "
                "or on its device. Set engine=vllm_server, or rollout.staleness=0."
            )
        self.engine = engine
        self.sampling_s = 0.0  # what the last background sampling took
        self._groups: list[Group] | None = None  # drawn for the next round
        self._before: Mapping[str, Any] = {}  # the stream's position before they were
        self._thread: threading.Thread | None = None
        self._open = ExitStack()
        self._said: list[Response] = []
        self._failed: BaseException | None = None
        self._saved: dict[int, Response] = {}  # a checkpoint's, by seed

    @contextmanager
    def serving(self, policy: Any) -> Iterator[None]:
        """See RolloutEngine."""
        self._wait()
        with self.engine.serving(policy):
            yield

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[Sequence[int]]) -> list[Response]:
        """See RolloutEngine."""
        return self.engine.generate(prompts, sampling, seeds)

    # --- in the background -----------------------------------------------------------------------------------------------

    def begin(self, policy: Any, groups: list[Group], sampling: Sampling, before: Mapping[str, Any]) -> None:
        """Brings the weights as they are to the engine, and lets it sample. Every rank must call it.

        Args:
            policy: Whose weights.
            groups: Of the next round, without rollouts.
            sampling: How they are sampled.
            before: The stream's position before they were drawn.
        """
        self._wait()
        self._groups, self._before, self._said, self._failed = groups, before, [], None
        self._open.enter_context(self.engine.serving(policy))
        prompts, seeds = [group.prompt for group in groups], [group.seeds for group in groups]

        def sample() -> None:
            began = time.perf_counter()
            try:
                self._said = self.engine.generate(prompts, sampling, seeds)
            except BaseException as error:  # raised by whoever takes the responses
                self._failed = error
            self.sampling_s = time.perf_counter() - began

        self._thread = threading.Thread(target=sample, name="ahead", daemon=True)
        self._thread.start()

    def groups(self) -> list[Group] | None:
        """What was drawn ahead for the round that begins; None where nothing was."""
        return self._groups

    def take(self, groups: Sequence[Group], device: torch.device) -> list[Response] | None:
        """The responses of the round that begins, group-adjacent; None, on all ranks, where any of them has to be sampled now.

        Raises:
            EngineError: the engine failed in the background, on any rank.
        """
        answers, self._saved = self._saved | self._answers(), {}
        self._groups = None
        seeds = [seed for group in groups for seed in group.seeds]
        if summed([sum(seed not in answers for seed in seeds)], device)[0]:
            return None
        return [answers[seed] for seed in seeds]

    def _answers(self) -> dict[int, Response]:
        if self._groups is None:
            return {}
        agreed(self._finish)
        seeds = (seed for group in self._groups for seed in group.seeds)
        return dict(zip(seeds, self._said, strict=True))

    def _finish(self) -> None:
        self._wait()
        if self._failed is not None:
            raise self._failed

    def _wait(self) -> None:
        if self._thread is not None:
            self._thread.join()
            self._thread = None
            self._open.close()

    # --- where a run goes on from ----------------------------------------------------------------------------------------

    def position(self, now: Mapping[str, Any]) -> dict[str, Any]:
        """What a checkpoint needs of a stream that stands at `now`. Every rank must call it."""
        if self._groups is None:
            return dict(now)
        said = {s: (r.text, r.token_ids, r.logprobs, r.truncated) for s, r in self._answers().items()}
        return {**self._before, "ahead": said, "ahead_s": self.sampling_s}

    def restore(self, *positions: Mapping[str, Any]) -> None:
        """Takes what `position` gave, of one rank or of several."""
        self._groups = None
        self.sampling_s = max(position.get("ahead_s", 0.0) for position in positions)
        self._saved = {
            seed: Response(*said) for position in positions for seed, said in position.get("ahead", {}).items()
        }
