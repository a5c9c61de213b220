"""Search engines, pages, and servers that make pictures: what they are asked, what is read, what is done when they fail."""

import base64
import datetime
import functools
import gzip
import socket
import ssl
import time

import httpx
import pytest
from toy_server import Say

from tracer1.errors import ExecutorError
from tracer1.toolbox.backends import Hit, make_backends
from tracer1.toolbox.backends.pages.http import as_markdown
from tracer1.toolbox.spec import ToolError

HERE = ["127.0.0.1"]


@pytest.fixture(autouse=True)
def keys(monkeypatch):
    for name in ("SERPER_API_KEY", "TAVILY_API_KEY", "GOOGLE_API_KEY", "GOOGLE_CSE_ID"):
        monkeypatch.setenv(name, f"toy-{name}")


def engine(kind, server, **settings):
    return make_backends({"search": {"kind": kind, "url": server.url, "patience_s": 3.0, **settings}}).search


FOUND = [Hit("A", "http://a.example", "about a"), Hit("B", "http://b.example", "")]
ANSWERS = {
    "searxng": {
        "results": [
            {"title": "A", "url": "http://a.example", "content": "about\n a"},
            {"title": "B", "url": "http://b.example", "content": None},
            {"title": "no address"},
        ]
    },
    "serper": {
        "organic": [
            {"title": "A", "link": "http://a.example", "snippet": "about a"},
            {"title": "B", "link": "http://b.example"},
        ]
    },
    "tavily": {
        "results": [
            {"title": "A", "url": "http://a.example", "content": "about a", "score": 1},
            {"title": "B", "url": "http://b.example", "content": ""},
        ]
    },
    "google": {
        "items": [
            {"title": "A", "link": "http://a.example", "snippet": "about a"},
            {"title": "B", "link": "http://b.example"},
        ]
    },
}


@pytest.mark.parametrize("kind", ANSWERS)
def test_every_engine_gives_the_same_hits(serve, kind):
    server = serve([Say(ANSWERS[kind])])
    assert engine(kind, server).search("what is a?", 10) == FOUND
    assert engine(kind, server).search("what is a?", 1) == FOUND[:1]


@pytest.mark.parametrize("kind", ANSWERS)
@pytest.mark.parametrize("nothing", [{}, [], {"results": [], "organic": [], "items": []}])
def test_an_engine_that_finds_nothing_finds_nothing(serve, kind, nothing):
    assert engine(kind, serve([Say(nothing)])).search("?") == []


@pytest.mark.parametrize("kind", ANSWERS)
def test_an_answer_that_cannot_be_read_is_infrastructure(serve, kind):
    with pytest.raises(ExecutorError, match="cannot be read"):
        engine(kind, serve([Say({"results": "x", "organic": "x", "items": "x"})])).search("?")


def test_what_engines_are_asked(serve):
    servers = {kind: serve([Say(ANSWERS[kind])]) for kind in ANSWERS}
    for kind, server in servers.items():
        engine(kind, server).search("a & b", 20)
    asked = {kind: server.asked[0] for kind, server in servers.items()}
    assert asked["searxng"].path == "/search?q=a+%26+b&format=json"
    assert asked["serper"].json == {"q": "a & b", "num": 20}
    assert asked["serper"].headers["x-api-key"] == "toy-SERPER_API_KEY"
    assert asked["tavily"].json == {"query": "a & b", "max_results": 20}
    assert asked["tavily"].headers["authorization"] == "Bearer toy-TAVILY_API_KEY"
    assert asked["google"].path == "/?q=a+%26+b&num=10&key=toy-GOOGLE_API_KEY&cx=toy-GOOGLE_CSE_ID"


def test_googles_answer_box_goes_first(serve):
    answer = {**ANSWERS["serper"], "answerBox": {"title": "Sum", "answer": "4"}}
    assert engine("serper", serve([Say(answer)])).search("2 + 2", 2) == [Hit("Sum", "", "4"), FOUND[0]]


@pytest.mark.parametrize("fault", [Say("", 429), Say("", 503), Say("no json"), Say("{}", cut=True), Say("", 408)])
def test_what_goes_wrong_once_is_asked_again(serve, fault):
    server = serve([fault, Say(ANSWERS["searxng"])])
    assert engine("searxng", server).search("?") == FOUND
    assert len(server.asked) == 2


def test_a_service_is_left_alone_for_as_long_as_it_asks(serve):
    server = serve([Say("", 429, {"Retry-After": "1"}), Say(ANSWERS["searxng"])])
    start = time.monotonic()
    engine("searxng", server).search("?")
    assert time.monotonic() - start >= 1.0
    with pytest.raises(ExecutorError, match="429"):
        engine("searxng", serve([Say("", 429, {"Retry-After": "60"})])).search("?")


@pytest.mark.parametrize("slow", [Say("{}", wait_s=5), Say(" " * 1000 + "{}", trickle_s=0.05)])
def test_a_slow_service_is_given_up_in_time(serve, slow):
    start = time.monotonic()
    with pytest.raises(ExecutorError, match="within 1 s"):
        engine("searxng", serve([slow]), timeout_s=0.4, patience_s=1.0).search("?")
    assert time.monotonic() - start < 4.5


def test_a_dead_service_is_infrastructure(serve):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    backend = make_backends({"search": {"kind": "searxng", "url": url, "patience_s": 0.5}}).search
    with pytest.raises(ExecutorError, match="See whether it is up"):
        backend.search("?")


@pytest.mark.parametrize("status", [301, 401, 402, 403, 404])
def test_a_wrong_key_or_address_is_the_configurations_and_not_asked_again(serve, status):
    server = serve([Say({"error": "no"}, status)])
    with pytest.raises(ExecutorError, match=rf"{status}.*Check its address"):
        engine("searxng", server).search("?")
    assert len(server.asked) == 1


def test_a_query_that_is_refused_is_the_callers_mistake(serve):
    with pytest.raises(ToolError, match="too long"):
        engine("searxng", serve([Say({"error": "too long"}, 400)])).search("?")


# --- pages -----------------------------------------------------------------------------------------------------------

HTML = """<html><head><title>Dogs</title><style>p {}</style></head><body><nav>Menu</nav><script>alert(1)</script>
<h2>Kinds</h2><p>A <b>poodle</b> is a <a href="/d">dog</a>.</p><table><tr><th>n</th></tr><tr><td>1</td></tr></table></body></html>"""
PAGE = {"Content-Type": "text/html; charset=utf-8"}


def reader(**settings):
    return make_backends({"pages": {"kind": "http", "allowed": HERE, "timeout_s": 2.0, **settings}}).pages


def test_a_page_is_read_as_markdown(serve):
    text = reader().read(f"{serve([Say(HTML, headers=PAGE)]).url}/a")
    assert text.startswith("# Dogs\n\n## Kinds\n\nA **poodle** is a [dog](/d).")
    assert "| 1 |" in text
    assert not {"Menu", "alert", "p {}"} & set(text.split())
    assert "alert" not in text


def test_a_text_is_read_as_it_is(serve):
    server = serve([Say("ä <b>", headers={"Content-Type": "text/plain; charset=utf-8"})])
    assert reader().read(server.url) == "ä <b>"


def test_an_encoding_that_nobody_knows_is_read_all_the_same(serve):
    assert reader().read(serve([Say("abc", headers={"Content-Type": "text/plain; charset=klingon"})]).url) == "abc"


def test_a_page_inside_is_not_read(serve):
    server = serve([Say(HTML, headers=PAGE)])
    with pytest.raises(ToolError, match="public web") as raised:
        reader(allowed=[]).read(server.url)
    assert raised.value.kind == "refused"
    assert not server.asked


@pytest.mark.parametrize(
    "location",
    ["http://169.254.169.254/latest", "http://127.0.0.2:1/", "file:///etc/passwd", "http://[::1]/", "//10.0.0.1/"],
)
def test_a_redirect_inside_is_not_followed(serve, location):
    with pytest.raises(ToolError) as raised:
        reader().read(serve([Say("", 302, {"Location": location})]).url)
    assert raised.value.kind == "refused"


def test_a_redirect_is_followed_a_few_times(serve):
    server = serve([Say("", 301, {"Location": "/there"}), Say(HTML, headers=PAGE)])
    assert "poodle" in reader().read(f"{server.url}/here")
    assert [asked.path for asked in server.asked] == ["/here", "/there"]
    with pytest.raises(ToolError, match="more than 5 times"):
        reader().read(serve([Say("", 302, {"Location": "/again"})]).url)


def test_the_server_is_asked_for_its_name_at_the_address_that_was_checked(serve, monkeypatch):
    server = serve([Say(HTML, headers=PAGE)])
    port = int(server.url.rpartition(":")[2])
    lookups = []

    def lookup(host, *args, **words):
        lookups.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    assert "poodle" in reader().read(f"http://dogs.example:{port}/")
    assert lookups.count("dogs.example") == 1
    assert server.asked[0].headers["host"] == f"dogs.example:{port}"


def test_no_proxy_of_the_environment_is_used(serve, monkeypatch):
    proxy, server = serve([Say("no", 500)]), serve([Say(HTML, headers=PAGE)])
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("ALL_PROXY", proxy.url)
    assert "poodle" in reader().read(server.url)
    assert not proxy.asked


@pytest.mark.parametrize("status", [400, 403, 404, 429, 500, 503])
def test_a_page_that_is_not_there_is_the_urls_fault(serve, status):
    with pytest.raises(ToolError, match=str(status)) as raised:
        reader().read(serve([Say("", status)]).url)
    assert raised.value.kind == "failed"


def test_what_is_no_text_is_not_read(serve):
    with pytest.raises(ToolError, match="application/pdf"):
        reader().read(serve([Say(b"%PDF", headers={"Content-Type": "application/pdf"})]).url)


def test_a_page_that_is_too_long_is_not_read_even_if_it_is_packed(serve):
    packed = gzip.compress(b"x" * (3 << 20))
    assert len(packed) < 10_000
    for body, more in ((b"x" * (2 << 20), {}), (packed, {"Content-Encoding": "gzip"})):
        with pytest.raises(ToolError, match="longer than 1 MiB"):
            reader(largest_mb=1.0).read(serve([Say(body, headers={**PAGE, **more})]).url)


@pytest.mark.parametrize("slow", [Say(HTML, headers=PAGE, wait_s=5), Say("x" * 1000, headers=PAGE, trickle_s=0.05)])
def test_a_slow_page_is_given_up_in_time(serve, slow):
    start = time.monotonic()
    with pytest.raises(ToolError) as raised:
        reader(timeout_s=0.5).read(serve([slow]).url)
    assert raised.value.kind == "timeout"
    assert time.monotonic() - start < 4.5


def test_a_page_that_breaks_off_is_told(serve):
    with pytest.raises(ToolError, match="cannot be read"):
        reader().read(serve([Say(HTML, headers=PAGE, cut=True)]).url)


def test_a_page_that_is_nested_too_deeply_is_read_as_text():
    assert "deep" in as_markdown("<div>" * 5000 + "deep" + "</div>" * 5000)


# --- pictures --------------------------------------------------------------------------------------------------------


def maker(server, **settings):
    given = {"kind": "openai", "url": f"{server.url}/v1", "model": "painter", "patience_s": 3.0, **settings}
    return make_backends({"images": given}).images


def test_a_picture_is_made(serve, picture):
    server = serve([Say({"data": [{"b64_json": base64.b64encode(picture).decode()}]})])
    assert maker(server).generate("a dog") == picture
    assert server.asked[0].path == "/v1/images/generations"
    assert server.asked[0].json == {
        "prompt": "a dog", "model": "painter", "n": 1, "size": "1024x1024", "response_format": "b64_json",
    }  # fmt: skip


def test_a_picture_is_changed(serve, picture):
    server = serve([Say({"data": [{"b64_json": base64.b64encode(picture).decode()}]})])
    assert maker(server, size="").edit("night", picture) == picture
    asked = server.asked[0]
    assert asked.path == "/v1/images/edits"
    assert asked.headers["content-type"].startswith("multipart/form-data")
    assert picture in asked.body
    assert b'name="prompt"\r\n\r\nnight' in asked.body
    assert b'name="size"' not in asked.body


def test_a_model_that_always_answers_in_base64_is_not_told_to(serve, picture):
    server = serve([Say({"data": [{"b64_json": base64.b64encode(picture).decode()}]})])
    maker(server, model="gpt-image-1").generate("a dog")
    assert "response_format" not in server.asked[0].json


@pytest.mark.parametrize(
    "answer", [{}, {"data": []}, {"data": [{"url": "http://a"}]}, {"data": [{"b64_json": "?"}]}, [1]]
)
def test_an_answer_without_a_picture_is_infrastructure(serve, answer):
    with pytest.raises(ExecutorError, match="without a picture"):
        maker(serve([Say(answer)])).generate("a dog")


def test_a_prompt_that_is_refused_is_the_callers_mistake(serve):
    with pytest.raises(ToolError, match="content policy"):
        maker(serve([Say({"error": {"message": "content policy"}}, 400)])).generate("?")


# --- ddgs ------------------------------------------------------------------------------------------------------------


class ToyDDGS:
    """What the package's class does, as far as we use it."""

    outcomes: list = []  # noqa: RUF012

    def __init__(self, timeout):
        assert isinstance(timeout, int)

    def text(self, query, max_results):
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome[:max_results]


@pytest.fixture
def toy_ddgs(monkeypatch):
    monkeypatch.setattr("ddgs.DDGS", ToyDDGS)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    return ToyDDGS


def test_ddgs_gives_hits_and_is_asked_again(toy_ddgs):
    from ddgs.exceptions import RatelimitException

    toy_ddgs.outcomes = [
        RatelimitException("slow down"),
        [{"title": "A", "href": "http://a.example", "body": "about a"}],
    ]
    assert make_backends({"search": "ddgs"}).search.search("a") == FOUND[:1]


def test_ddgs_that_finds_nothing_finds_nothing(toy_ddgs):
    from ddgs.exceptions import DDGSException

    toy_ddgs.outcomes = [DDGSException("No results found.")]
    assert make_backends({"search": "ddgs"}).search.search("a") == []


def test_ddgs_that_is_shut_out_is_infrastructure(toy_ddgs):
    from ddgs.exceptions import DDGSException

    toy_ddgs.outcomes = [DDGSException("403")] * 2
    with pytest.raises(ExecutorError, match="in 2 attempts"):
        make_backends({"search": {"kind": "ddgs", "attempts": 2}}).search.search("a")


# --- https -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def certificate(tmp_path):
    """A file with a key and a certificate of dogs.example."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "dogs.example")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("dogs.example")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "certificate.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


def test_the_certificate_must_be_of_the_name_although_the_address_is_connected_to(serve, certificate, monkeypatch):
    server = serve([Say(HTML, headers=PAGE)], certificate)
    port = int(server.url.rpartition(":")[2])
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **words: [(2, 1, 6, "", ("127.0.0.1", port))])
    trusting = functools.partial(httpx.Client, verify=ssl.create_default_context(cafile=str(certificate)))
    with monkeypatch.context() as patched:
        patched.setattr(httpx, "Client", trusting)
        pages = reader()
    assert "poodle" in pages.read(f"https://dogs.example:{port}/")
    with pytest.raises(ToolError, match="not valid for 'cats"):
        pages.read(f"https://cats.example:{port}/")
    with pytest.raises(ToolError, match="CERTIFICATE_VERIFY_FAILED"):
        reader().read(f"https://dogs.example:{port}/")  # nobody vouches for it
