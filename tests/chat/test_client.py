"""The chat client answers for every request in time: with a text, or with a fault that says what failed."""

import asyncio
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from tracer1.chat import ChatClient, ChatRequest, Message
from tracer1.errors import ConfigError
from tracer1.training.bench.chat_server import ChatServer

PNG = b"\x89PNG rest"
QUICK = {"backoff_s": 0.01, "timeout_s": 1.0, "patience_s": 5.0, "round_s": 20.0}


def say(text: str, *images: bytes, **sampling) -> ChatRequest:
    return ChatRequest((Message("user", (*images, text)),), **sampling)


def echo(body) -> str:
    content = body["messages"][-1]["content"]
    return "re: " + (content if isinstance(content, str) else content[-1]["text"])


@pytest.fixture
def server() -> Iterator[ChatServer]:
    server = ChatServer(echo)
    server.url = server.start()
    yield server
    server.stop()


@pytest.fixture
def client(server: ChatServer) -> Iterator[ChatClient]:
    client = ChatClient([server.url], **QUICK)
    yield client
    client.close()


def closed_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def test_replies_come_in_order_and_the_model_is_asked_for(server: ChatServer, client: ChatClient):
    replies = client.ask([say(f"question {i}") for i in range(30)])
    assert [reply.text for reply in replies] == [f"re: question {i}" for i in range(30)]
    assert {body["model"] for body in server.asked} == {"toy"}
    assert not any(reply.fault or reply.cached for reply in replies)
    assert replies[0].endpoint == f"{server.url}/v1"
    assert client.ask([]) == []


def test_images_and_sampling_travel(server: ChatServer, client: ChatClient):
    client.ask([say("what?", PNG, b"\xff\xd8 rest", temperature=0.5, max_tokens=7, stop=("x",), seed=3)])
    (body,) = server.asked
    urls = [part["image_url"]["url"] for part in body["messages"][0]["content"][:2]]
    assert urls == ["data:image/png;base64,iVBORyByZXN0", "data:image/jpeg;base64,/9ggcmVzdA=="]
    assert {k: body[k] for k in ("temperature", "max_tokens", "stop", "seed")} == {
        "temperature": 0.5, "max_tokens": 7, "stop": ["x"], "seed": 3,
    }  # fmt: skip


@pytest.mark.parametrize("way", ["refused", "truncated", "non-json", "500", "503", "429", "408"])
def test_what_fails_once_is_asked_again(server: ChatServer, client: ChatClient, way: str):
    server.trouble = [way]
    (reply,) = client.ask([say("hello")])
    assert reply.text == "re: hello"
    assert server.counts == {way: 1, "good": 1}


def test_what_fails_every_time_is_a_fault_that_says_why(server: ChatServer, client: ChatClient):
    server.trouble = ["non-json", "503", "503", "503"]
    (reply,) = client.ask([say("hello")])
    assert reply.text == ""
    assert reply.fault == '4 attempts failed; last: status 503: {"error": {"message": "status 503 it is"}}'
    assert not reply.refused
    (reply,) = client.ask([say("hello")])  # and the next one is answered again
    assert reply.text == "re: hello"


def test_a_slow_answer_is_cut_off_and_asked_again(server: ChatServer):
    client = ChatClient([server.url], **{**QUICK, "timeout_s": 0.2})
    server.trouble = ["slow"]
    begin = time.monotonic()
    (reply,) = client.ask([say("hello")])
    assert reply.text == "re: hello"
    assert 0.2 < reply.seconds <= time.monotonic() - begin < 2
    client.close()


def test_a_refusal_is_not_asked_again(server: ChatServer, client: ChatClient, caplog):
    server.trouble = ["400", "400"]
    first, second = client.ask([say("too long"), say("also too long")])
    assert first.refused
    assert "refused it: status 400: " in first.fault
    assert second.fault == first.fault
    assert server.counts == {"400": 2}
    assert [r.message for r in caplog.records].count(first.fault) == 1


def test_rubbish_is_asked_for_again_with_other_noise(server: ChatServer, client: ChatClient):
    server.trouble = ["rubbish"]
    seeds = []
    server.answer = lambda body: seeds.append((body["seed"], body["temperature"])) or "fine"
    (reply,) = client.ask([say("hello", seed=5)], check=lambda text: "" if text == "fine" else "not fine")
    assert reply.text == "fine"
    assert seeds == [(5 + 7919, 0.3)]
    server.trouble = ["rubbish"] * 4
    (reply,) = client.ask([say("hello", seed=6)], check=lambda text: "" if text == "fine" else "not fine")
    assert reply.fault == "4 attempts failed; last: not fine: 'asdf'"


def test_an_empty_reply_is_a_text(server: ChatServer, client: ChatClient):
    server.trouble = ["empty"]
    (reply,) = client.ask([say("hello")])
    assert (reply.text, reply.fault) == ("", "")


@pytest.mark.parametrize(
    "body", [b"null", b"[]", b'{"choices": []}', b'{"choices": [{"message": {"content": 3}}]}', b"{", b"[" * 100_000]
)
def test_json_that_is_no_completion_is_a_fault(server: ChatServer, client: ChatClient, body: bytes):
    async def strange(way, request, writer):
        return await server._write(writer, 200, body)

    server._spoilt = strange
    (reply,) = client.ask([say("hello")])
    assert "attempts failed; last: not " in reply.fault


def test_identical_requests_are_asked_once(server: ChatServer, client: ChatClient):
    server.work_s = 0.05
    replies = client.ask([say("same", PNG) for _ in range(20)] + [say("other", PNG)])
    assert len(server.asked) == 2
    assert [reply.text for reply in replies] == ["re: same"] * 20 + ["re: other"]
    assert sorted(reply.cached for reply in replies) == [False] * 2 + [True] * 19


def test_a_bound_on_requests_under_way(server: ChatServer):
    server.work_s = 0.01
    client = ChatClient([server.url], **QUICK, concurrency=3)
    client.ask([say(str(i)) for i in range(20)])
    assert server.busiest == 3
    client.close()


def test_the_least_busy_of_several_is_asked(server: ChatServer):
    slow, fast = server, ChatServer(echo)
    slow.work_s, fast.work_s = 0.2, 0.01
    client = ChatClient([slow.url, fast.start()], **QUICK, concurrency=4)
    client.ask([say(str(i)) for i in range(40)])
    assert len(slow.asked) + len(fast.asked) == 40
    assert len(fast.asked) > 3 * len(slow.asked)
    client.close()
    fast.stop()


def test_one_that_is_away_is_set_aside_and_asked_again_later(server: ChatServer):
    other = ChatServer(echo)
    url = other.start()
    other.stop()
    client = ChatClient([url, server.url], **QUICK)
    assert not any(reply.fault for reply in client.ask([say(str(i)) for i in range(50)]))
    other = ChatServer(echo)
    other.start(int(url.rsplit(":", 1)[1]))
    other.work_s = server.work_s = 0.01
    deadline = time.monotonic() + 10
    while not other.asked and time.monotonic() < deadline:
        assert not any(reply.fault for reply in client.ask([say(f"again {time.monotonic()} {i}") for i in range(50)]))
    assert other.asked
    client.close()
    other.stop()


def test_a_server_that_is_restarted_is_waited_for():
    server = ChatServer(echo)
    url = server.start()
    client = ChatClient([url], **{**QUICK, "patience_s": 20})
    client.ask([say("before")])
    server.stop()

    def later() -> None:
        time.sleep(1)
        server.start(int(url.rsplit(":", 1)[1]))

    thread = threading.Thread(target=later)
    thread.start()
    replies = client.ask([say(f"during {i}") for i in range(100)])
    assert [reply.fault for reply in replies] == [""] * 100
    thread.join()
    client.close()
    server.stop()


def test_when_nobody_answers_all_are_faults_soon():
    urls = [closed_port(), closed_port()]
    client = ChatClient(urls, "toy", **{**QUICK, "patience_s": 0.3})
    begin = time.monotonic()
    replies = client.ask([say(str(i)) for i in range(500)])
    assert time.monotonic() - begin < 5
    assert all(reply.fault for reply in replies)
    assert sum(f"from {urls[0]}/v1, {urls[1]}/v1; last: " in reply.fault for reply in replies) > 300
    client.close()
    client = ChatClient(urls, **{**QUICK, "patience_s": 0.3})  # nor does anyone name the model
    assert all(reply.fault for reply in client.ask([say(str(i)) for i in range(100)]))
    assert time.monotonic() - begin < 10
    client.close()


def test_nothing_waits_beyond_the_rounds_deadline(server: ChatServer):
    client = ChatClient([server.url], **{**QUICK, "timeout_s": 60, "round_s": 0.5}, concurrency=5)
    server.shares = {"slow": 0.3}
    server.slow_s = 30
    begin = time.monotonic()
    replies = client.ask([say(str(i)) for i in range(200)])
    assert time.monotonic() - begin < 10
    assert {reply.fault for reply in replies} == {"", "no reply within the 0.5 s that a round may take"}
    server.shares = {}
    assert client.ask([say("and on")])[0].text == "re: and on"
    client.close()


def test_it_works_from_several_threads_and_inside_a_running_loop(server: ChatServer, client: ChatClient):
    got: list[str] = []
    threads = [
        threading.Thread(target=lambda i=i: got.extend(r.text for r in client.ask([say(f"{i}.{j}") for j in range(5)])))
        for i in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == sorted(f"re: {i}.{j}" for i in range(8) for j in range(5))

    async def within() -> str:
        return client.ask([say("inside")])[0].text

    assert asyncio.run(within()) == "re: inside"


def test_a_closed_client_opens_again(server: ChatServer, client: ChatClient):
    for text in ("one", "two"):
        assert client.ask([say(text)])[0].text == f"re: {text}"
        client.close()
    client.close()


def test_several_models_must_be_chosen_from(server: ChatServer, client: ChatClient):
    server.models = ["a", "b"]
    with pytest.raises(ConfigError, match="serves a, b: name one"):
        client.ask([say("hello")])
    client = ChatClient([server.url], "b", **QUICK)
    assert client.ask([say("hello")])[0].text == "re: hello"
    client.close()
    client = ChatClient([server.url], "c", **QUICK)
    assert "no model c" in client.ask([say("hello")])[0].fault
    client.close()


def test_a_key_comes_from_the_environment(server: ChatServer, monkeypatch):
    with pytest.raises(ConfigError, match="TOY_KEY"):
        ChatClient([server.url], api_key_env="TOY_KEY", **QUICK).ask([say("hello")])
    monkeypatch.setenv("TOY_KEY", "secret")
    client = ChatClient([server.url], api_key_env="TOY_KEY", **QUICK)
    assert client.ask([say("hello")])[0].text == "re: hello"
    client.close()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"timeout": 3}, "no setting 'timeout'. Did you mean 'timeout_s'"),
        ({"attempts": 0}, "attempts is 0; it must be a whole number of at least 1"),
        ({"attempts": 1.5}, "attempts is 1.5"),
        ({"round_s": 0}, "round_s is 0; it must be a number"),
        ({"concurrency": True}, "concurrency is True"),
        ({"timeout_s": "3"}, "timeout_s is '3'"),
        ({"timeout_s": float("nan")}, "timeout_s is nan"),
        ({"endpoints": []}, r"a list of URLs, e.g. \[http://"),
        ({"endpoints": "http://x"}, "a list of URLs"),
        ({"endpoints": ["localhost:8000"]}, "'localhost:8000' is no URL"),
    ],
)
def test_settings_that_cannot_work(settings: dict, message: str):
    with pytest.raises(ConfigError, match=message):
        ChatClient(**{"endpoints": ["http://x"], **settings})


def test_no_image_is_held_after_its_answer(client: ChatClient):
    image = bytes(bytearray(PNG))
    before = sys.getrefcount(image)
    client.ask([say("one", image), say("two", image)])
    assert sys.getrefcount(image) == before


def test_ctrl_c_ends_it(server: ChatServer, tmp_path):
    server.slow_s, server.shares = 60.0, {"slow": 1.0}
    script = (
        "import sys; from tracer1.chat import ChatClient, ChatRequest, Message\n"
        "requests = [ChatRequest((Message('user', (str(i),)),)) for i in range(50)]\n"
        "ChatClient([sys.argv[1]], 'toy').ask(requests)"
    )
    asking = subprocess.Popen([sys.executable, "-c", script, server.url], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30
    while not server.counts["slow"] and time.monotonic() < deadline:
        time.sleep(0.05)
    asking.send_signal(signal.SIGINT)
    begin = time.monotonic()
    _, errors = asking.communicate(timeout=30)
    assert time.monotonic() - begin < 5
    assert errors.strip().endswith("KeyboardInterrupt")


def test_good_requests_are_not_logged(client: ChatClient, caplog):
    with caplog.at_level("INFO"):
        client.ask([say("hello")])
    assert not caplog.records
