"""The few calls that are made to a server beside its chat: health, metrics, sleep."""

from __future__ import annotations

import http.client
import json
import math
from dataclasses import dataclass
from typing import Any

from models.chunks import count
from models.protocol import ModelError

_UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""Errors of an answer of unexpected form."""


@dataclass(frozen=True)
class ServerMetrics:
    """Load and totals of a server."""

    running: int
    """Replies that are being written."""
    waiting: int
    """Replies that wait for room."""
    kv_usage: float
    """Share of the room for keys and values that is in use, 0 to 1."""
    prompt_tokens: int
    """Tokens read since the server started."""
    generation_tokens: int
    """Tokens written since the server started."""


class Calls:
    """HTTP to a server on loopback: no proxies, no redirects.

    Args:
        port: Of the server.
        key: That it wants to see.
    """

    def __init__(self, port: int, key: str) -> None:
        self.port = port
        self.key = key

    def healthy(self, timeout_s: float = 5.0) -> bool:
        """Whether the server answers and says that it is well."""
        try:
            return self._call("GET", "/health", timeout_s)[0] == 200
        except OSError:
            return False

    def model_ids(self, timeout_s: float = 5.0) -> dict[str, int | None]:
        """Models that it serves, each with its context in tokens; empty if it cannot be asked."""
        try:
            status, body = self._call("GET", "/v1/models", timeout_s)
            entries: list[dict[str, Any]] = json.loads(body)["data"] if status == 200 else []
            return {str(entry["id"]): count(entry.get("max_model_len")) for entry in entries}
        except _UNREADABLE:
            return {}

    def metrics(self) -> ServerMetrics:
        """Read ``/metrics``.

        Raises:
            ModelError: they cannot be read.
        """
        try:
            status, body = self._call("GET", "/metrics", 10.0)
        except OSError as error:
            raise ModelError(f"the server's metrics cannot be read: {error}") from None
        if status != 200:
            raise ModelError(f"the server's metrics cannot be read: it answered {status}")
        return parse_metrics(body)

    def sleep(self) -> bool:
        """Move the weights off the GPU and drop keys and values; whether the server did."""
        return self._done("POST", "/sleep?level=1", 300.0)

    def wake(self) -> bool:
        """Move them back; whether the server did."""
        return self._done("POST", "/wake_up", 300.0)

    def is_asleep(self) -> bool:
        """Whether it sleeps; False if it cannot."""
        try:
            status, body = self._call("GET", "/is_sleeping", 10.0)
            return status == 200 and bool(json.loads(body)["is_sleeping"])
        except _UNREADABLE:
            return False

    def _done(self, method: str, path: str, timeout_s: float) -> bool:
        try:
            return self._call(method, path, timeout_s)[0] == 200
        except OSError:
            return False

    def _call(self, method: str, path: str, timeout_s: float) -> tuple[int, str]:
        """Status and body.

        Raises:
            OSError: no answer.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        try:
            connection.request(method, path, headers={"Authorization": f"Bearer {self.key}"})
            answer = connection.getresponse()
            return answer.status, answer.read(20_000_000).decode(errors="replace")
        except http.client.HTTPException as error:
            raise OSError(f"no HTTP answer: {error!r}") from None
        finally:
            connection.close()


def parse_metrics(text: str) -> ServerMetrics:
    """Prometheus' text format, summed over engines."""
    sums: dict[str, float] = {}
    for line in text.splitlines():
        if line.startswith("vllm:"):
            name = line.partition("{")[0].partition(" ")[0]
            try:
                value = float(line.rsplit(" ", 1)[1])
            except (IndexError, ValueError):
                continue
            if not math.isfinite(value):
                continue
            sums[name] = sums.get(name, 0.0) + value
    kv = sums.get("vllm:kv_cache_usage_perc", sums.get("vllm:gpu_cache_usage_perc", 0.0))
    return ServerMetrics(
        running=int(sums.get("vllm:num_requests_running", 0)),
        waiting=int(sums.get("vllm:num_requests_waiting", 0)),
        kv_usage=kv,
        prompt_tokens=int(sums.get("vllm:prompt_tokens_total", 0)),
        generation_tokens=int(sums.get("vllm:generation_tokens_total", 0)),
    )
