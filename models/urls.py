"""URLs of models: on this machine, unless the user allows others."""

from __future__ import annotations

import ipaddress
import re
import socket
from urllib.parse import SplitResult, urlsplit

from models.protocol import ModelError

_PASSWORD = re.compile(r"(?<=://)[^/\s]*@")


def redact(text: str) -> str:
    """A text, with what stands before the ``@`` of any URL in it replaced."""
    return _PASSWORD.sub("***@", text)


def require_loopback(url: str, allow_remote: bool = False) -> str:
    """The URL without its last slash, if it may be asked.

    Only ``localhost`` and literal loopback addresses (127.0.0.0/8, ::1) count as this machine: what
    any other name stands for can change between looking it up and asking.

    Args:
        url: Of an HTTP server, such as ``http://127.0.0.1:8000/v1``.
        allow_remote: Whether servers on other machines may be asked as well.

    Raises:
        ModelError: it is no URL of an HTTP server, it holds a user name or a password, or it leads
            away from this machine without ``allow_remote``.
    """
    shown = redact(url)
    if not url.isascii() or re.search(r"[\s\\\x00-\x1f\x7f]", url):
        raise ModelError(f"{shown!r} is no URL: it holds blanks, backslashes or foreign letters")
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = parts.port
    except ValueError as error:
        raise ModelError(f"{shown!r} is no URL: {error}") from None
    _require_plain(shown, parts, host, port)
    if not allow_remote and not is_loopback(host):
        raise ModelError(
            f"{shown} leads to '{host}', which is not this machine (localhost, 127.0.0.1 or ::1): "
            "conversations would leave it; set models.allow_remote=true if that is meant"
        )
    return url.rstrip("/")


def _require_plain(shown: str, parts: SplitResult, host: str, port: int | None) -> None:
    if parts.scheme not in ("http", "https"):
        raise ModelError(f"{shown!r} must begin with http:// or https://")
    if "@" in parts.netloc:
        raise ModelError(
            f"{shown} holds a user name or a password: URLs are shown and stored, so give the "
            "key by its own setting"
        )
    if not host or port == 0:
        raise ModelError(f"{shown!r} names no host; it should look like http://127.0.0.1:8000/v1")
    if parts.query or parts.fragment or "?" in parts.geturl() or "#" in parts.geturl():
        raise ModelError(f"{shown!r} must end with its path, such as /v1: no ? and no #")


def is_loopback(host: str) -> bool:
    """Whether a host of a URL is this machine whatever its name service says."""
    if host.lower() == "localhost":
        return _localhost_is_here()
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def _localhost_is_here() -> bool:
    """A hosts file may say anything; where nothing is said, a connection fails by itself."""
    try:
        found = socket.getaddrinfo("localhost", None)
    except OSError:
        return True
    return all(ipaddress.ip_address(str(entry[4][0])).is_loopback for entry in found)
