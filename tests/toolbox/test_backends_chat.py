"""Models behind an OpenAI-compatible server: what they are asked, what is done when they do not answer, boxes in what they say."""

import base64
import time

import pytest
from toy_server import Say

from tracer1.errors import ConfigError, ExecutorError
from tracer1.toolbox.backends import make_backends
from tracer1.toolbox.backends._chat import ChatBackend
from tracer1.toolbox.backends.detection.grounding import boxes_in, scaled, whole_patches
from tracer1.toolbox.spec import ToolError


def reply(text):
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return Say({"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]})


@pytest.fixture
def made():
    """`made(role, server, **settings)`: a backend of the role, closed afterwards."""
    opened: list[ChatBackend] = []

    def make(role, server, **settings):
        kind = "grounding" if role == "detection" else "chat"
        settings = {"kind": kind, "endpoints": [server.url], "model": "m", "patience_s": 5.0, **settings}
        opened.append(getattr(make_backends({role: settings}), role))
        return opened[-1]

    yield make
    for backend in opened:
        backend.close()


def test_a_picture_is_asked_about(serve, made, picture):
    server = serve([reply(" A red square.\n")])
    assert made("vision", server).ask("What is it?", [picture]) == "A red square."
    asked = server.asked[0]
    assert asked.path == "/v1/chat/completions"
    assert (asked.json["temperature"], asked.json["max_tokens"], asked.json["model"]) == (0.0, 500, "m")
    shown, said = asked.json["messages"][0]["content"]
    assert shown["image_url"]["url"] == "data:image/png;base64," + base64.b64encode(picture).decode()
    assert said == {"type": "text", "text": "What is it?"}


def test_a_text_is_asked_about(serve, made):
    server = serve([reply("Four.")])
    assert made("language", server).ask("2 + 2?") == "Four."
    assert server.asked[0].json["messages"] == [{"role": "user", "content": "2 + 2?"}]


def test_a_key_of_the_environment_is_sent(serve, made, monkeypatch):
    monkeypatch.setenv("TOY_KEY", "secret")
    server = serve([reply("yes")])
    made("language", server, api_key_env="TOY_KEY").ask("?")
    assert server.asked[0].headers["authorization"] == "Bearer secret"


@pytest.mark.parametrize("fault", [Say("busy", 429), Say("busy", 503), Say("{", 200), Say("half of it", cut=True)])
def test_what_goes_wrong_once_is_asked_again(serve, made, fault):
    server = serve([fault, reply("yes")])
    assert made("language", server).ask("?") == "yes"
    assert len(server.asked) == 2


def test_a_dead_server_is_infrastructure(serve, made):
    server = serve([reply("never")])
    server.close()
    backend = made("language", server, patience_s=0.5)
    start = time.monotonic()
    with pytest.raises(ExecutorError, match=r"executor\.backends\.language: no .*\w\W?\. See whether its server is up"):
        backend.ask("?")
    assert time.monotonic() - start < 5
    server.close = lambda: None


def test_a_slow_server_is_infrastructure(serve, made):
    backend = made("language", serve([Say(wait_s=3)]), timeout_s=0.2, patience_s=1.0)
    start = time.monotonic()
    with pytest.raises(ExecutorError):
        backend.ask("?")
    assert time.monotonic() - start < 2.5


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_request_that_is_wrong_is_the_callers_mistake(serve, made, status):
    with pytest.raises(ToolError, match="too long"):
        made("language", serve([Say({"error": "too long"}, status)])).ask("?")


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_wrong_key_or_model_is_the_configurations(serve, made, status):
    with pytest.raises(ExecutorError):
        made("language", serve([Say({"error": "no"}, status)])).ask("?")


def test_relative_boxes_become_pixels(serve, made, picture):
    text = (
        '```json\n[{"bbox_2d": [0, 0, 500, 1000], "label": "a"}, {"bbox_2d": [900, 100, 2000, -5], "label": "a"}]\n```'
    )
    server = serve([reply(text)])
    found = made("detection", server).find(picture, 'red "square"')
    assert found == [((0.0, 0.0, 48.0, 64.0), 1.0), ((86.4, 0.0, 96.0, 6.4), 1.0)]
    assert "red 'square'" in server.asked[0].json["messages"][0]["content"][1]["text"]


def test_boxes_in_pixels_are_those_of_a_picture_that_the_model_leaves_alone(serve, made, picture):
    server = serve([reply('[{"bbox_2d": [28, 28, 84, 56]}]')])
    ((box, _),) = made("detection", server, coordinates="pixels").find(picture, "square")
    from PIL import Image

    data = server.asked[0].json["messages"][0]["content"][0]["image_url"]["url"].partition(",")[2]
    import io

    size = Image.open(io.BytesIO(base64.b64decode(data))).size
    assert size == (84, 56)
    assert box == pytest.approx((32.0, 32.0, 96.0, 64.0))


def test_a_model_that_finds_nothing_finds_nothing(serve, made, picture):
    assert made("detection", serve([reply("[]")])).find(picture, "cat") == []
    assert made("detection", serve([reply("There is no cat.")])).find(picture, "cat") == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('[{"bbox_2d": [1, 2, 3, 4]}]', [[1, 2, 3, 4]]),
        ('{"bbox_2d": [1, 2, 3, 4]}', [[1, 2, 3, 4]]),
        ("Here: [[1, 2, 3, 4], [5.5, 6, 7, 8]] ok", [[1, 2, 3, 4], [5.5, 6, 7, 8]]),
        ("[{'bbox_2d': [1, 2, 3, 4]}]", [[1, 2, 3, 4]]),
        ("(1,2,3,4) and (5,6,7,8)", [[1, 2, 3, 4], [5, 6, 7, 8]]),
        ('[{"bbox_2d": [1, 2, 3, 4]}, {"bbox_2d": [5, 6', [[1, 2, 3, 4]]),
        ('[{"bbox_2d": [1, 2, 3]}, {"bbox_2d": "x"}, {"label": "a"}]', []),
        ('[{"bbox": [true, 1, 2, 3]}]', []),
        ("[" * 5000, []),
        ("", []),
    ],
)
def test_boxes_are_read_from_whatever_a_model_says(text, found):
    assert boxes_in(text) == found


def test_a_box_beside_the_picture_is_none():
    assert scaled([[2000, 0, 3000, 10], [5, 5, 5, 9]], (1.0, 1.0), (100, 100)) == []


@pytest.mark.parametrize("size", [(96, 64), (1, 1), (4000, 3000), (10_000, 20), (56, 56), (1003, 1003)])
def test_pixels_are_sent_in_whole_patches_of_a_size_that_is_taken(size):
    width, height = whole_patches(*size)
    assert width % 28 == height % 28 == 0
    if max(size) / min(size) < 10:
        assert 4 * 28 * 28 <= width * height <= 1280 * 28 * 28


def test_settings_that_cannot_be_are_refused(serve):
    with pytest.raises(ConfigError, match="pixels"):
        make_backends({"detection": {"kind": "grounding", "endpoints": ["http://a"], "coordinates": "pixel"}})
    with pytest.raises(ConfigError, match="URL"):
        make_backends({"vision": {"kind": "chat", "endpoints": ["a"]}})
    with pytest.raises(ConfigError, match="endpoints"):
        make_backends({"vision": "chat"})
