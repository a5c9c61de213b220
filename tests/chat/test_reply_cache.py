"""Replies on disk: found by what they depend on, shared by processes, and done without where the file is damaged."""

import os
import sqlite3
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from tracer1.chat import ChatClient, ChatRequest, Message
from tracer1.chat.cache import FILE, ReplyCache
from tracer1.chat.request import Identity, Remembered, identity, sha256
from tracer1.training.bench.chat_server import ChatServer

ASKED = Identity("toy", "digest", "prompt", "sampling")


@pytest.fixture
def server():
    server = ChatServer(lambda body: f"reply {len(server.asked)}")
    server.url = server.start()
    yield server
    server.stop()


def say(text: str, *images: bytes, **sampling) -> ChatRequest:
    return ChatRequest((Message("user", (*images, text)),), **sampling)


def test_what_was_put_is_got_again_also_later(tmp_path: Path):
    cache = ReplyCache(tmp_path / "new" / "folder")
    assert cache.get(ASKED) is None
    cache.put(ASKED, "another")
    cache.put(ASKED, "text \x00 é", truncated=True)
    assert cache.get(ASKED) == ("text \x00 é", True)
    assert (cache.hits, cache.misses, len(cache), cache.models()) == (1, 1, 1, ["toy"])
    cache.close()
    assert ReplyCache(tmp_path / "new" / "folder").get(ASKED) == ("text \x00 é", True)


@pytest.mark.parametrize("field", ["model", "images", "prompt", "sampling"])
def test_a_reply_depends_on_each_of_them(tmp_path: Path, field: str):
    cache = ReplyCache(tmp_path)
    cache.put(ASKED, "text")
    assert cache.get(replace(ASKED, **{field: "other"})) is None


def test_what_makes_requests_the_same():
    base = identity(say("hello", b"image"), "toy", sha256)
    assert base == identity(say("hello", bytes(bytearray(b"image"))), "toy", sha256)
    others = [
        identity(say("hello", b"image"), "other", sha256),
        identity(say("hello", b"other"), "toy", sha256),
        identity(say("hallo", b"image"), "toy", sha256),
        identity(say("hello", b"image", b"image"), "toy", sha256),
        identity(say("hello", b"image", temperature=0.1), "toy", sha256),
        identity(say("hello", b"image", max_tokens=3), "toy", sha256),
        identity(say("hello", b"image", seed=3), "toy", sha256),
        identity(say("hello", b"image", stop=("x",)), "toy", sha256),
        identity(ChatRequest((Message("system", (b"image", "hello")),)), "toy", sha256),
        identity(ChatRequest((Message("user", ("hello", b"image")),)), "toy", sha256),
        identity(ChatRequest((Message("user", (b"image",)), Message("user", ("hello",)))), "toy", sha256),
    ]
    assert len({one.key for one in (base, *others)}) == 1 + len(others)


def test_an_image_is_hashed_once_for_a_group():
    calls = []
    remembered = Remembered(lambda image: calls.append(image) or sha256(image), 2)
    images = [b"one " * 9, b"two " * 9, b"three " * 9]
    for image in (images[0], images[0], images[1], images[0], images[2], images[0]):
        assert remembered(image) == sha256(image)
    assert calls == [images[0], images[1], images[2], images[0]]  # and no more than two are held


def test_a_second_run_asks_nobody(tmp_path: Path, server: ChatServer):
    requests = [say(f"question {i % 3}", b"image") for i in range(9)]
    texts = []
    for _ in range(2):
        client = ChatClient([server.url], "toy", cache=tmp_path)
        replies = client.ask(requests)
        texts.append([reply.text for reply in replies])
        client.close()
    assert texts[0] == texts[1]
    assert len(server.asked) == 3
    assert all(reply.cached for reply in replies)


def test_rubbish_and_faults_are_not_kept(tmp_path: Path, server: ChatServer):
    client = ChatClient([server.url], "toy", cache=tmp_path, backoff_s=0.01, attempts=2)
    server.trouble = ["rubbish", "rubbish", "500", "500", "400"]
    check = lambda text: "no" if text == "asdf" else ""  # noqa: E731
    for _ in range(3):
        assert client.ask([say("hello")], check)[0].fault
    assert len(client.cache) == 0
    server.trouble = ["rubbish"]
    assert client.ask([say("hello")], check)[0].text == "reply 1"
    assert client.ask([say("hello")], check)[0].cached  # under the request itself, not under its second attempt
    client.close()


def test_a_kept_reply_that_is_of_no_use_is_asked_for_again(tmp_path: Path, server: ChatServer):
    cache = ReplyCache(tmp_path)
    cache.put(identity(say("hello"), "toy", sha256), "asdf")
    client = ChatClient([server.url], "toy", cache=tmp_path)
    for cached in (False, True):
        (reply,) = client.ask([say("hello")], lambda text: "no" if text == "asdf" else "")
        assert (reply.text, reply.cached) == ("reply 1", cached)
    client.close()


def test_half_a_surrogate_pair_is_not_kept_and_harms_nobody(tmp_path: Path):
    cache = ReplyCache(tmp_path)
    cache.put(ASKED, "\ud800")
    assert cache.get(ASKED) is None
    assert not cache.broken


@pytest.mark.parametrize("damage", ["text", "cut", "folder", "other"])
def test_a_damaged_store_is_done_without(tmp_path: Path, server: ChatServer, damage: str, caplog):
    cache = ReplyCache(tmp_path)
    for i in range(500):
        cache.put(replace(ASKED, prompt=str(i)), "text " * 50)
    cache.close()
    file = tmp_path / FILE
    if damage == "text":
        file.write_text("this is no database" * 100)
    elif damage == "cut":
        file.write_bytes(file.read_bytes()[:100] + os.urandom(4000))
    elif damage == "folder":
        file.unlink()
        file.mkdir()
    else:
        file.unlink()
        sqlite3.connect(file).executescript("CREATE TABLE replies (something TEXT)").close()
    client = ChatClient([server.url], "toy", cache=tmp_path)
    said = [reply.text for reply in client.ask([say("hello"), say("hello again")])]
    assert sorted(said) == ["reply 1", "reply 2"]  # asked side by side
    assert client.cache.broken
    assert [r.levelname for r in caplog.records if str(file) in r.message] == ["WARNING"]
    client.close()


WRITER = """
import sys
from tracer1.chat.cache import ReplyCache
from tracer1.chat.request import Identity
cache = ReplyCache(sys.argv[1])
for i in range(int(sys.argv[2]), int(sys.argv[2]) + 300):
    cache.put(Identity("toy", "", str(i), ""), f"text {i}")
    assert cache.get(Identity("toy", "", str(i), "")) == (f"text {i}", False)
assert not cache.broken
print("done", flush=True)
if len(sys.argv) > 3:
    sys.stdin.read()
"""


def test_several_processes_write_at_once_and_a_killed_one_loses_nothing(tmp_path: Path):
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    killed = subprocess.Popen([*command, "0", "wait"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    others = [subprocess.Popen([*command, str(begin)]) for begin in (150, 1000)]
    assert killed.stdout.readline() == "done\n"
    killed.kill()
    assert [other.wait(60) for other in others] == [0, 0]
    killed.wait()
    cache = ReplyCache(tmp_path)
    assert len(cache) == 450 + 300
    assert not cache.broken


def test_several_threads_use_one(tmp_path: Path):
    cache = ReplyCache(tmp_path)

    def work(number: int) -> None:
        for i in range(100):
            cache.put(replace(ASKED, prompt=f"{number} {i}"), f"{number} {i}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(cache) == 800


def test_one_that_is_only_read_changes_nothing(tmp_path: Path):
    cache = ReplyCache(tmp_path)
    cache.put(ASKED, "text")
    reader = ReplyCache(tmp_path, writable=False)  # beside the writer
    assert reader.get(ASKED) == ("text", False)
    cache.close()
    reader.close()
    before = (tmp_path / FILE).read_bytes()
    reader = ReplyCache(tmp_path, writable=False)
    assert reader.get(ASKED) == ("text", False)
    reader.close()
    assert (tmp_path / FILE).read_bytes() == before
    assert ReplyCache(tmp_path / "nowhere", writable=False).broken
    assert not (tmp_path / "nowhere").exists()
