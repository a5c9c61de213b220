"""Reads web pages over http(s) as Markdown; scripts in them do not run. It knows no tool.

A page is somebody else's: that it is missing, slow, huge or no text is a property of the URL that the agent gave, not a fault of ours.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from tracer1.errors import MissingDependency
from tracer1.toolbox.backends import BACKENDS
from tracer1.toolbox.backends._web import import_httpx
from tracer1.toolbox.spec import ToolError
from tracer1.toolbox.urls import Checked, checked, redirected

_REDIRECTS = 5
_AGENT = "Mozilla/5.0 (compatible; tracer1)"
_NOT_READ = ("script", "style", "noscript", "template", "svg", "iframe", "form", "nav", "footer")
_TEXT = ("text/", "application/json", "application/xml", "application/xhtml", "application/ld+json")


@BACKENDS.register("pages.http")
class HttpPages:
    """See `backends.Pages`.

    Args:
        timeout_s: The longest that a page may take, redirects included.
        largest_mb: Most MiB of a page that are taken; a longer one is refused.
        allowed: Addresses that may be read although they are not public: of a mirror in the local network.
    """

    def __init__(self, *, timeout_s: float = 30.0, largest_mb: float = 4.0, allowed: Sequence[str] = ()) -> None:
        httpx = import_httpx()
        self.identity = "http"
        self.timeout_s, self.largest = timeout_s, int(largest_mb * (1 << 20))
        self._allowed = frozenset(allowed)
        self._client = httpx.Client(
            trust_env=False,  # no proxy of the environment: it would look names up again, after they were checked
            follow_redirects=False,
            headers={"User-Agent": _AGENT},
            limits=httpx.Limits(
                max_keepalive_connections=0
            ),  # else another name at the same address would get this one's
        )

    def read(self, url: str) -> str:
        """See `backends.Pages`; raises ToolError for a URL that may not be read or does not give a text."""
        end = time.monotonic() + self.timeout_s
        for _ in range(_REDIRECTS + 1):
            place = checked(url, self._allowed)
            answer, body = self._get(place, end)
            location = answer.headers.get("location")
            if answer.is_redirect and location:
                url = redirected(url, location)
                continue
            if answer.status_code != 200:
                raise ToolError("failed", f"{url:.200} answers {answer.status_code} ({answer.reason_phrase}).")
            return as_text(url, answer.headers, body, answer.encoding or "utf-8")
        raise ToolError("failed", f"{url:.200} redirects more than {_REDIRECTS} times.")

    def _get(self, place: Checked, end: float) -> tuple[Any, bytes]:
        """The answer and its body, from the address that was checked."""
        httpx = import_httpx()
        left = end - time.monotonic()
        if left <= 0:
            raise ToolError("timeout", f"{place.url:.200} takes longer than {self.timeout_s:g} s.")
        try:
            with self._client.stream(
                "GET",
                place.at_address,
                headers={"Host": place.host_header},
                extensions={"sni_hostname": place.host},  # whose certificate is asked for and checked
                timeout=httpx.Timeout(min(left, 10.0)),
            ) as answer:
                return answer, self._body(answer, place, end)
        except httpx.TimeoutException:
            raise ToolError("timeout", f"{place.url:.200} does not answer.") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ToolError(
                "failed", f"{place.url:.200} cannot be read ({type(error).__name__}: {error!s:.150})."
            ) from None

    def _body(self, answer: Any, place: Checked, end: float) -> bytes:
        parts, size = [], 0
        for part in answer.iter_bytes():  # unpacked: a small answer may unpack to a large one
            parts.append(part)
            size += len(part)
            if size > self.largest:
                raise ToolError("failed", f"{place.url:.200} is longer than {self.largest >> 20} MiB.")
            if time.monotonic() > end:
                raise ToolError("timeout", f"{place.url:.200} takes longer than {self.timeout_s:g} s.")
        return b"".join(parts)


def as_text(url: str, headers: Mapping[str, str], body: bytes, encoding: str) -> str:
    """A body as text: HTML as Markdown, other text as it is; raises ToolError for anything else."""
    kind = headers.get("content-type", "text/html").partition(";")[0].strip().lower()
    if not kind.startswith(_TEXT):
        raise ToolError("failed", f"{url:.200} is no text but {kind:.60}.")
    try:
        text = body.decode(encoding, "replace")
    except LookupError:  # an encoding that nobody knows
        text = body.decode("utf-8", "replace")
    return as_markdown(text) if "html" in kind else text


def as_markdown(html: str) -> str:
    """A page as Markdown, without what nobody reads; of one that is nested too deeply only the text."""
    try:
        from bs4 import BeautifulSoup
        from markdownify import MarkdownConverter
    except ImportError as error:
        raise MissingDependency("Reading pages needs markdownify: pip install 'tracer1[search]'.") from error
    soup = BeautifulSoup(html, "html.parser")
    for part in soup.find_all(_NOT_READ):
        part.decompose()
    title = soup.title.get_text(" ", strip=True) if soup.title else ""
    body = soup.body or soup
    try:
        text = MarkdownConverter(heading_style="ATX", strip=["img"]).convert_soup(body)
    except RecursionError:
        text = "\n".join(body.stripped_strings)
    lines = [line.rstrip() for line in text.splitlines()]
    plain = "\n".join(line for place, line in enumerate(lines) if line or (place and lines[place - 1])).strip()
    return f"# {title}\n\n{plain}" if title and not plain.startswith(f"# {title}") else plain
