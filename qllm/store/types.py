"""Column types that survive what models and numbers throw at them."""

from __future__ import annotations

import json
import math
from typing import Any

from sqlalchemy import Dialect, Double, Text
from sqlalchemy.types import TypeDecorator


def encode_json(value: Any) -> str:
    """JSON text that every database takes: non-finite numbers become ``null``."""
    try:
        return json.dumps(value, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value


class AnyText(TypeDecorator[str]):
    """Text that may hold anything a model wrote.

    Lone surrogates, which no database can encode, are written as ``\\udXXX``; NUL, which PostgreSQL
    refuses, as the visible sign U+2400.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        if value is None:
            return None
        return value.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\u2400")


class FiniteFloat(TypeDecorator[float]):
    """A number; NaN and infinities, on which databases disagree, are stored as NULL."""

    impl = Double
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: Dialect) -> float | None:
        return float(value) if value is not None and math.isfinite(value) else None
