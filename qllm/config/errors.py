"""The configuration's error."""

from __future__ import annotations

from qllm.errors import UsageError


class ConfigError(UsageError):
    """A configuration that cannot be used; the message names the key, the value, and what to do."""
