"""A plugin: an engine that knows the expert's plans. Of each group it says one, and otherwise a wrong first call, as plans go."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from glob import glob
from typing import Any

from tracer1.data.shards import read_trajectories
from tracer1.engines import ENGINES
from tracer1.interfaces import Sampling
from tracer1.parsing import format_plan
from tracer1.schema import Action, Prompt, Response


@ENGINES.register("toy_experts")
class ToyExperts:
    """Answers from the shards that match `shards`, tokenised as the planner in `planner` does."""

    def __init__(self, shards: str, planner: str) -> None:
        from transformers import AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(planner)
        read = (read_trajectories(path, history=4, horizon=2) for path in sorted(glob(shards)))
        self.steps = {step.key: step for trajectories in read for steps in trajectories for step in steps}

    @contextmanager
    def serving(self, policy: Any) -> Iterator[None]:
        yield

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[Sequence[int]]) -> list[Response]:
        return [
            self._response(prompt, number)
            for prompt, group in zip(prompts, seeds, strict=True)
            for number in range(len(group))
        ]

    def _response(self, prompt: Prompt, number: int) -> Response:
        step = self.steps[prompt.key]
        wrong = Action("no_such_tool" if number == 1 else "final_answer", "guess", content="no idea")
        plan = step.future if number == 0 else (replace(step.future[0], action=wrong), *step.future[1:])
        text = format_plan(plan, step.index + 1).removeprefix("<think>" * prompt.starts_in_think)
        ids = tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        return Response(text, ids, (0.0,) * len(ids))
