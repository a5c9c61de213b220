"""vLLM in the training process as the frozen model's host; a hand-written one here, the real one in test_real_server.py."""

import random
import sys
import types
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from tracer1.chat import ChatRequest, Message
from tracer1.errors import ExecutorError, MissingDependency
from tracer1.executors._in_process import InProcessVllm
from tracer1.executors.ui_tars import UiTarsExecutor
from tracer1.schema import Action, Plan, PlanStep, Response, Rollout


class FakeLlm:
    """Answers with its texts in turn, and meddles with the generators while it starts."""

    made: "list[FakeLlm]" = []  # noqa: RUF012
    texts: list[str] = []  # noqa: RUF012
    refuses = ""

    def __init__(self, model: str, **options) -> None:
        if self.refuses:
            raise ValueError(self.refuses)
        self.model, self.options, self.chats = model, options, []
        random.seed(0)
        FakeLlm.made.append(self)

    def chat(self, conversations: list, sampling: list, use_tqdm: bool) -> list:
        self.chats.append((conversations, sampling))
        texts = [FakeLlm.texts.pop(0) for _ in conversations]
        return [SimpleNamespace(outputs=[SimpleNamespace(text=text, finish_reason="stop")]) for text in texts]


@dataclass
class FakeSampling:
    temperature: float
    max_tokens: int
    stop: list
    seed: int | None


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch) -> type[FakeLlm]:
    module = types.ModuleType("vllm")
    module.LLM, module.SamplingParams = FakeLlm, FakeSampling
    monkeypatch.setitem(sys.modules, "vllm", module)
    for name in ("made", "texts"):
        monkeypatch.setattr(FakeLlm, name, [])
    for name in ("VLLM_ENABLE_V1_MULTIPROCESSING", "VLLM_NO_USAGE_STATS", "VLLM_LOGGING_LEVEL"):
        monkeypatch.setenv(name, "WARNING" if name.endswith("LEVEL") else "0")
    return FakeLlm


def say(text: str, **sampling) -> ChatRequest:
    return ChatRequest((Message("user", (text,)),), **sampling)


def fine(text: str) -> str:
    return "" if text.startswith("fine") else "not fine"


def test_an_executor_without_a_server(vllm, make_step):
    vllm.texts = ["Action: click(start_box='(1,2)')"]
    executor = UiTarsExecutor("some/model", in_process=True, vllm={"max_model_len": 512})
    assert not vllm.made  # loaded when first asked
    rollout = Rollout(make_step(), Response("", (), ()), Plan((PlanStep(Action("click", "Click.")),)))
    outcomes = executor.execute([rollout, rollout])
    assert [outcome.action for outcome in outcomes] == [Action("click", "Click.", point=(1, 2))] * 2
    (llm,) = vllm.made
    assert (llm.model, llm.options) == ("some/model", {"max_model_len": 512})
    ((conversations, _),) = llm.chats
    assert len(conversations) == 1
    assert conversations[0][1]["content"][0]["image_url"]["url"].startswith("data:image/png;base64,")


def test_rubbish_is_asked_for_again_with_other_noise(vllm):
    vllm.texts = ["fine 1", "rubbish", "rubbish", "rubbish", "fine 2", "rubbish"]
    replies = InProcessVllm("m", {}, None).ask([say("a", seed=1), say("b", seed=2), say("c", seed=3)], fine)
    assert [reply.text for reply in replies] == ["fine 1", "", "fine 2"]
    assert replies[1].fault == "3 attempts failed; last: not fine"
    asked = [[(s.seed, s.temperature) for s in sampling] for _, sampling in vllm.made[0].chats]
    assert asked == [[(1, 0.0), (2, 0.0), (3, 0.0)], [(7921, 0.3), (7922, 0.3)], [(15840, 0.3)]]


def test_replies_are_kept_on_disk(vllm, tmp_path: Path):
    vllm.texts = ["fine 1", "fine 2", "fine 3"]
    first = InProcessVllm("m", {}, str(tmp_path)).ask([say("a"), say("b"), say("a")], fine)
    again = InProcessVllm("m", {}, str(tmp_path)).ask([say("b"), say("c"), say("a")], fine)
    assert [reply.text for reply in first] == ["fine 1", "fine 2", "fine 1"]
    assert [(reply.text, reply.cached) for reply in again] == [("fine 2", True), ("fine 3", False), ("fine 1", True)]


def test_the_trainings_noise_is_left_alone(vllm):
    vllm.texts = ["fine"]
    random.seed(5)
    expected = random.Random(5).random()
    InProcessVllm("m", {}, None).ask([say("a")], fine)
    assert random.random() == expected


def test_what_does_not_start_says_why(vllm, monkeypatch):
    monkeypatch.setattr(vllm, "refuses", "no memory\nfor that")
    with pytest.raises(ExecutorError, match=r"vLLM does not load m .*: no memory for that"):
        InProcessVllm("m", {}, None).ask([say("a")], fine)
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(MissingDependency, match=r"pip install 'tracer1\[vllm\]'"):
        InProcessVllm("m", {}, None).ask([say("a")], fine)
