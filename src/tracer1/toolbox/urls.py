"""Which URLs may be opened for an agent: those of public web servers. It knows nothing about what is read there.

An agent names URLs, and so may a page that it read. Without a check they would reach what only this machine reaches: other services
on it, the local network, a cloud's metadata. A name is resolved once, every address that it stands for must be public, and the
connection goes to the address that was checked: a name that stands for another address a moment later gains nothing. A redirect is
a new URL and is checked anew.
"""

import ipaddress
import socket
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

from tracer1.toolbox.spec import ToolError

_LONGEST = 2048  # characters


@dataclass(frozen=True, slots=True)
class Checked:
    """A URL that may be opened, and the address to connect to."""

    url: str
    scheme: str
    host: str  # as written, without brackets: what the server is asked for
    port: int
    address: str
    target: str  # path and query

    @property
    def at_address(self) -> str:
        """The same URL with the address in the place of the name."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{self.scheme}://{host}:{self.port}{self.target}"

    @property
    def host_header(self) -> str:
        """What the `Host` header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == {"http": 80, "https": 443}[self.scheme] else f"{host}:{self.port}"


def checked(url: str, allowed: Collection[str] = ()) -> Checked:
    """What a URL leads to.

    Args:
        url: http or https.
        allowed: Addresses that may be connected to although they are not public.

    Raises:
        ToolError: ("refused") It is no URL of a public web server; ("failed") its name does not resolve.
    """
    scheme, host, port, target = _parts(url)
    try:
        answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ToolError("failed", f"{url:.200}: there is no host {host!r:.100} ({error!s:.100}).") from None
    addresses = list(dict.fromkeys(answer[4][0] for answer in answers))
    for address in addresses:  # 2130706433 and 0177.0.0.1 have become 127.0.0.1 by now
        if address not in allowed and not is_public(address):
            raise ToolError("refused", f"{url:.200} leads to {address}, which is no address of the public web.")
    return Checked(url, scheme, host, port, addresses[0], target)


def redirected(start: str, location: str) -> str:
    """The URL of a redirect, which is to be checked like any other."""
    return urljoin(start, location)


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet, as are all those that it wraps."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(
        ip, ipaddress.IPv6Address
    ):  # those that wrap by NAT64 (64:ff9b::) or as ::a.b.c.d are reserved altogether
        wrapped = [ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ())]
        if any(inner is not None and not is_public(str(inner)) for inner in wrapped):
            return False
        if ip.ipv4_mapped is not None:
            return True
    return ip.is_global and not (
        ip.is_multicast or ip.is_reserved or ip.is_unspecified or ip.is_loopback or ip.is_link_local
    )


def _parts(url: str) -> tuple[str, str, int, str]:
    """Scheme, host, port, and path with query; raises ToolError."""
    if not isinstance(url, str) or len(url) > _LONGEST or any(sign.isspace() or ord(sign) < 32 for sign in url.strip()):
        raise ToolError("refused", f"{url!r:.100} is no URL.")
    try:
        parts = urlsplit(url.strip())
        host, port = (parts.hostname or "").encode("idna").decode(), parts.port
    except ValueError as error:  # UnicodeError too
        raise ToolError("refused", f"{url!r:.200} is no URL ({error}).") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ToolError("refused", f"{url!r:.200} is no URL of a web page; write http://... or https://...")
    if parts.username is not None or "\\" in parts.netloc:
        raise ToolError("refused", f"{url!r:.200} has a name and password in it; leave them out.")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return parts.scheme, host, port or {"http": 80, "https": 443}[parts.scheme], target
