"""Executors and a real vLLM (its CPU build) that serves the tiny planner: UI-TARS's prompt in, any text out. Starts in a minute or two."""

import base64
import io
import json
import shutil
import socket
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import requests
from PIL import Image

from tracer1.actions import smart_resized
from tracer1.chat import ChatClient, ChatRequest, Message
from tracer1.executors._in_process import InProcessVllm
from tracer1.executors._serving import Server, serving
from tracer1.executors.recorded import RecordedExecutor
from tracer1.executors.ui_tars import UiTarsExecutor
from tracer1.training.bench.executions import Load, make_rollouts

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(
        find_spec("vllm") is None, reason="vLLM is not installed here; `make test-vllm` runs these tests"
    ),
    pytest.mark.timeout(600),
]
PLANNER = Path(__file__).resolve().parents[2] / "demo" / "tiny_planner"
FACTOR, LEAST, MOST = (
    32,
    4096,
    40_000,
)  # of the planner's processor: pixels of a token's side, and what the server shall keep to
OPTIONS = {
    "dtype": "float32",
    "generation_config": "vllm",
    "max_model_len": 1536,
    "limit_mm_per_prompt": {"image": 1, "video": 0},
    "mm_processor_kwargs": {"min_pixels": LEAST, "max_pixels": MOST},
    "enforce_eager": True,
    "block_size": 32,
    "enable_chunked_prefill": False,  # a CPU needs it so (docs/engines.md)
}
ENVIRONMENT = {
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "HF_HUB_OFFLINE": "1",
}


@pytest.fixture(scope="module")
def environment() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The planner with the settings of a video processor, which vLLM wants, though no video is ever sent."""
    folder = tmp_path_factory.mktemp("served") / "planner"
    shutil.copytree(PLANNER, folder)
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    settings.pop("image_processor_type", None)
    video = {**settings, "video_processor_type": "Qwen3VLVideoProcessor"}
    (folder / "video_preprocessor_config.json").write_text(json.dumps(video))
    return folder


@pytest.fixture(scope="module")
def url(model: Path, environment) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = Server("planner", OPTIONS, str(model), port=port)
    with serving(server, 400) as process:
        yield server.url
        assert process.poll() is None, server.last_lines()


@pytest.fixture(scope="module")
def picture() -> bytes:
    out = io.BytesIO()
    Image.linear_gradient("L").resize((320, 200)).convert("RGB").save(out, "PNG")
    return out.getvalue()


def say(text: str, *images: bytes, **sampling) -> ChatRequest:
    return ChatRequest((Message("user", (*images, text)),), **{"max_tokens": 12, **sampling})


def test_texts_and_pictures_go_in_and_text_comes_out(url: str, picture: bytes):
    client = ChatClient([url])
    asked = [
        say("Task: click the box.", picture),
        say("Task: click the box."),
        say("Task: click the box.", temperature=1.0, seed=1),
    ]
    first, second = client.ask(asked), client.ask(asked)
    assert client.model == "planner"
    assert not any(reply.fault for reply in first)
    assert len({reply.text for reply in first}) == 3
    assert [reply.text for reply in first] == [
        reply.text for reply in second
    ]  # a seed and a greedy request say the same again
    assert all(reply.truncated for reply in first)
    (long,) = client.ask([say("word " * 3000)])
    assert long.refused
    assert "status 400" in long.fault
    client.close()


def test_the_server_keeps_to_the_limits_that_places_are_reckoned_with(url: str):
    def tokens(size: tuple[int, int] | None) -> int:
        content = [{"type": "text", "text": "hello"}]
        if size is not None:
            out = io.BytesIO()
            Image.new("RGB", size).save(out, "PNG")
            data = f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"
            content.insert(0, {"type": "image_url", "image_url": {"url": data}})
        body = {"model": "planner", "max_tokens": 1, "messages": [{"role": "user", "content": content}]}
        answer = requests.post(f"{url}/v1/chat/completions", json=body, timeout=120)
        return answer.json()["usage"]["prompt_tokens"]

    without = tokens(None)
    for width, height in ((320, 100), (1920, 1080), (20, 40), (500, 300)):
        space = smart_resized(width, height, FACTOR, LEAST, MOST)
        patches = (space.width // FACTOR) * (space.height // FACTOR)
        assert tokens((width, height)) == without + patches + 2  # and the marks around them


def test_a_round_is_accounted_for(url: str, tmp_path: Path):
    rollouts = make_rollouts(Load(prompts=8, group=5, distinct=2, pixels=(160, 120)))
    settings = {"sampling": {"max_tokens": 12}, "server": {"endpoints": [url], "attempts": 2, "backoff_s": 0.01}}
    executor = UiTarsExecutor(**settings)
    outcomes = executor.execute(rollouts)
    assert len(outcomes) == 40
    assert all(o.action is not None or o.error or "attempts failed; last: " in o.fault for o in outcomes)
    executor.asker.close()


def test_a_reply_is_recorded_and_replayed(url: str, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("tracer1.executors._frozen.FrozenModel._complaint", lambda self, text: "")  # any text is one
    rollouts = make_rollouts(Load(prompts=4, group=2, pixels=(160, 120)))
    sampling = {"max_tokens": 12}
    executor = UiTarsExecutor(sampling=sampling, server={"endpoints": [url]}, cache=str(tmp_path))
    live = executor.execute(rollouts)
    executor.asker.close()
    replayed = RecordedExecutor({"name": "ui_tars", "sampling": sampling}, str(tmp_path)).execute(rollouts)
    assert [o.value for o in live] == [o.value for o in replayed]
    assert all(o.value["reply"] for o in live)
    assert all(o.cached for o in replayed)


def test_vllm_in_this_process_says_the_same(url: str, model: Path, picture: bytes, tmp_path: Path):
    asked = [say("Task: click the box.", picture), say("Task: click the box."), say("Task: click the box.", picture)]
    client = ChatClient([url])
    served = client.ask(asked)
    client.close()
    here = InProcessVllm(str(model), OPTIONS, str(tmp_path))
    assert [reply.text for reply in here.ask(asked, lambda text: "")] == [reply.text for reply in served]
    assert [reply.cached for reply in here.ask(asked, lambda text: "")] == [True] * 3
    (rubbish,) = here.ask([say("Another task.")], lambda text: "of no use")
    assert rubbish.fault == "3 attempts failed; last: of no use"
