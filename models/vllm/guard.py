"""A door-keeper inside the vLLM server: every request must show the key.

vLLM itself asks for its key under ``/v1`` only, and would let any user of the machine read metrics,
count tokens or, in development mode, put the server to sleep. Copied to where the server's Python
finds it, so it imports nothing of ours and nothing of vLLM.
"""

from __future__ import annotations

import hmac
import os
from typing import Any


class Guard:
    """An ASGI application around another that answers 401 to requests without the key."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._wanted = b"Bearer " + os.environ["VLLM_API_KEY"].encode()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Let a request through, or refuse it."""
        if scope["type"] not in ("http", "websocket") or self._knows(scope):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        else:
            headers = [(b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": 401, "headers": headers})
            await send({"type": "http.response.body", "body": b'{"error":"Unauthorized"}'})

    def _knows(self, scope: Any) -> bool:
        shown = [value for name, value in scope["headers"] if name == b"authorization"]
        return len(shown) == 1 and hmac.compare_digest(shown[0], self._wanted)
