"""Other programs' words in ours: whole, in one line, and what an error is about instead of what it is called on top."""

import pytest

from tracer1.chat import ChatClient, ChatRequest, Message
from tracer1.chat.wording import root_of, shortened


def test_a_long_text_is_cut_between_two_words():
    assert shortened("as\n it  is", 8) == "as it is"
    assert shortened("one two three four", 13) == "one two …"
    assert shortened("one two three four", 15) == "one two three …"
    assert shortened("x" * 100, 10) == "xxxxxxxx …"
    assert (
        shortened("word " + "x" * 100, 80) == "word " + "x" * 73 + " …"
    )  # a word that never ends is no reason to say nothing
    for most in range(10, 120):
        assert len(shortened("a word " * 30, most)) <= most


def test_the_root_of_an_error():
    refused = OSError("All attempts failed")
    refused.__cause__ = ExceptionGroup("two", [ConnectionRefusedError("no"), TimeoutError("late")])
    above = ValueError("above")
    above.__context__ = refused
    assert root_of(above) == "ConnectionRefusedError: no"
    assert root_of(TimeoutError()) == "TimeoutError"


def test_a_server_that_is_not_there_is_said_in_a_whole_line(caplog: pytest.LogCaptureFixture):
    client = ChatClient(["http://127.0.0.1:9"], "m", backoff_s=0.01, patience_s=0.5)
    (reply,) = client.ask([ChatRequest((Message("user", ("hello",)),))])
    client.close()
    before, cause = reply.fault.split("; last: ")
    assert before == "no answer for more than 0.5 s from http://127.0.0.1:9/v1"
    assert cause.startswith("ConnectionRefusedError: ")
    assert f"http://127.0.0.1:9/v1: {cause}; set aside for 0.5 s" in caplog.messages
