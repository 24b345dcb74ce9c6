"""Column types that survive what models and numbers throw at them."""

from __future__ import annotations

import math

from sqlalchemy import Dialect, Double, Text
from sqlalchemy.types import TypeDecorator


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
