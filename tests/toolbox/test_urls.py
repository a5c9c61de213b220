"""Only public web servers are opened, whatever a URL is made to look like, and the address that was checked is the one connected to."""

import socket

import pytest

from tracer1.toolbox.spec import ToolError
from tracer1.toolbox.urls import checked, is_public, redirected


def resolving(monkeypatch, **hosts):
    """Makes the resolver know only these hosts, and whatever is an address."""
    real = socket.getaddrinfo

    def lookup(host, port, **settings):
        if host in hosts:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in hosts[host]]
        return real(host, port, flags=0, **settings)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://127.1/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0177.0.0.1/",
        "http://017700000001/",
        "http://localhost/",
        "http://0/",
        "http://0.0.0.0/",
        "http://10.0.0.1/",
        "http://172.16.3.4/",
        "http://192.168.1.1/",
        "http://100.64.0.1/",
        "http://169.254.169.254/latest/meta-data",
        "http://[fd00:ec2::254]/",
        "http://[::1]/",
        "http://[::]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:7f00:1]/",
        "http://[::127.0.0.1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://[2002:7f00:1::]/",
        "http://[fe80::1]/",
        "http://[fc00::1]/",
        "http://[ff02::1]/",
        "http://224.0.0.1/",
        "http://255.255.255.255/",
        "http://240.0.0.1/",
        "http://192.0.2.1/",
        "http://①②⑦.0.0.1/",
    ],
)
def test_what_is_not_public_is_refused(url):
    with pytest.raises(ToolError) as raised:
        checked(url)
    assert raised.value.kind == "refused"


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://example.com/",
        "gopher://example.com/",
        "javascript:alert(1)",
        "data:text/html,a",
        "example.com",
        "//example.com/",
        "http://",
        "http:///path",
        "http://user:secret@93.184.216.34/",
        "http://93.184.216.34@127.0.0.1/",
        "http://127.0.0.1\\@93.184.216.34/",
        "http://93.184.216.34:99999/",
        "http://[::1/",
        "http://exa mple.com/",
        "http://93.184.216.34/\r\nHost: a",
        "http://93.184.216.34/" + "a" * 3000,
        "",
        None,
        5,
    ],
)
def test_what_is_no_url_of_a_page_is_refused(url):
    with pytest.raises(ToolError) as raised:
        checked(url)
    assert raised.value.kind == "refused"


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["93.184.216.34", "10.0.0.1"], ["::1"], ["fe80::1%eth0"]])
def test_a_name_that_leads_inside_is_refused(monkeypatch, addresses):
    resolving(monkeypatch, **{"evil.example": addresses})
    with pytest.raises(ToolError, match="no address of the public web"):
        checked("http://evil.example/")


def test_a_name_that_is_none_is_told(monkeypatch):
    def nobody(*args, **words):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    with pytest.raises(ToolError, match=r"no host 'nowhere\.example'") as raised:
        checked("http://nowhere.example/")
    assert raised.value.kind == "failed"


def test_the_address_that_was_checked_is_connected_to(monkeypatch):
    answers = iter([["93.184.216.34"], ["127.0.0.1"]])  # another one the next time: DNS rebinding
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, port, **words: [(2, 1, 6, "", (address, port)) for address in next(answers)]
    )
    place = checked("https://Example.com:8443/a%20b?q=1#part")
    assert place.at_address == "https://93.184.216.34:8443/a%20b?q=1"
    assert place.host_header == "example.com:8443"
    assert place.host == "example.com"


def test_a_name_in_another_script_is_asked_for_in_ascii(monkeypatch):
    resolving(monkeypatch, **{"xn--bcher-kva.example": ["93.184.216.34"]})
    assert checked("http://Bücher.example/").host_header == "xn--bcher-kva.example"
    with pytest.raises(ToolError, match="is no URL"):
        checked(f"http://{'ü' * 80}.example/")


def test_an_address_of_version_six_is_written_in_brackets():
    place = checked("http://[2606:4700::1111]/a")
    assert place.at_address == "http://[2606:4700::1111]:80/a"
    assert place.host_header == "[2606:4700::1111]"


def test_an_allowed_address_is_opened_and_no_other():
    assert checked("http://127.0.0.1:5/", ["127.0.0.1"]).port == 5
    with pytest.raises(ToolError):
        checked("http://127.0.0.2/", ["127.0.0.1"])


def test_public_addresses():
    assert is_public("93.184.216.34")
    assert is_public("2606:4700::1111")
    assert is_public("::ffff:8.8.8.8")
    assert not is_public("rubbish")


def test_redirects_are_relative_to_where_they_come_from():
    assert redirected("http://a.example/b/c", "../d") == "http://a.example/d"
    assert redirected("http://a.example/b", "//127.0.0.1/") == "http://127.0.0.1/"
