"""The connection to a server: our key, nothing of the environment, no redirects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from models.protocol import ModelError
from models.urls import is_loopback

if TYPE_CHECKING:
    import openai

CONNECT_S = 10.0
"""Seconds that connecting may take."""

# Everything else the client adds (its platform, headers from the environment) stays here.
_HEADERS = {
    "host", "accept", "accept-encoding", "connection", "content-type", "content-length",
    "transfer-encoding", "user-agent",
}  # fmt: skip


def make_client(url: str, api_key: str | None, timeout_s: float) -> openai.OpenAI:
    """A client that retries nothing by itself.

    Args:
        url: Of the API.
        api_key: To send; ``None`` sends none.
        timeout_s: Seconds of silence after which a request has failed.

    Raises:
        ModelError: the package ``openai`` is not installed.
    """
    try:
        import openai
    except ImportError:
        raise ModelError("servers need the package openai: pip install 'qllm[models]'") from None

    def only_ours(request: Any) -> None:
        """Send our key and nothing that the environment would add."""
        for header in set(request.headers.keys()) - _HEADERS:
            del request.headers[header]
        if api_key:
            request.headers["authorization"] = f"Bearer {api_key}"

    http = openai.DefaultHttpxClient(
        follow_redirects=False,
        trust_env=not is_loopback(urlsplit(url).hostname or ""),
        timeout=openai.Timeout(timeout_s, connect=CONNECT_S),
        event_hooks={"request": [only_ours]},
    )
    return openai.OpenAI(
        api_key=api_key or "none",
        base_url=url,
        timeout=openai.Timeout(timeout_s, connect=CONNECT_S),
        max_retries=0,
        http_client=http,
    )
