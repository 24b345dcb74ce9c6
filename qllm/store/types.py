"""Column types that store any text and number, and read damaged values as `Damaged`."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from sqlalchemy import JSON, BigInteger, Dialect, Double, Integer, Text
from sqlalchemy.types import TypeDecorator

from prompts.bounded import BoundsError, parse_json
from qllm.store.damage import Damaged, DamagedCount, DamagedList, DamagedNumber, DamagedObject

LAST_S = 253_402_300_800.0
"""The end of the year 9999, in seconds since the epoch: calendars end there."""


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:39]}…"


def storable(text: str) -> str:
    """Text as `AnyText` stores it."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\u2400")


class AnyText(TypeDecorator[str]):
    """Text that may hold anything a model wrote.

    Lone surrogates, which no database can encode, are written as ``\\udXXX``; NUL, which PostgreSQL
    refuses, as the visible sign U+2400.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else storable(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> str | None:
        if value is None or type(value) is str:
            return value
        # SQLite keeps whatever it is given in a column of text.
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


class FiniteFloat(TypeDecorator[float]):
    """A number; NaN and infinities, on which databases disagree, are stored as NULL."""

    impl = Double
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: Dialect) -> float | None:
        return float(value) if value is not None and math.isfinite(value) else None

    def process_result_value(self, value: Any, dialect: Dialect) -> float | None:
        if value is None or (type(value) in (float, int) and value - value == 0):
            return value
        return DamagedNumber.of(f"{_shown(value)} is no number")


class Moment(FiniteFloat):
    """A time, in seconds since the epoch."""

    cache_ok = True

    def process_result_value(self, value: Any, dialect: Dialect) -> float | None:
        read = super().process_result_value(value, dialect)
        if read is None or isinstance(read, Damaged) or 0 <= read < LAST_S:
            return read
        return DamagedNumber.of(f"{_shown(value)} is no time")


class WholeNumber(TypeDecorator[int]):
    """A count, a place or a seed; -1 before the first step."""

    impl = BigInteger().with_variant(Integer, "sqlite")
    cache_ok = True

    def process_result_value(self, value: Any, dialect: Dialect) -> int | None:
        if isinstance(value, Decimal):  # to which PostgreSQL adds up whole numbers
            value = int(value)
        if value is None or (type(value) is int and value >= -1):
            return value
        return DamagedCount.of(f"{_shown(value)} is no count")


def decode_json(text: Any) -> Any:
    """The value of a JSON column; `Damaged` where it is no JSON."""
    if not isinstance(text, str | bytes):
        return text  # SQLite keeps a number as one
    try:
        return parse_json(text if isinstance(text, str) else text.decode("utf-8"))
    except (BoundsError, UnicodeDecodeError) as error:
        return DamagedObject.of(str(error))


class JsonObject(TypeDecorator[dict[str, Any]]):
    """A JSON object whose known keys have the types that readers rely on.

    Args:
        fits: says what is wrong with an object; empty where nothing is.
        optional: whether there may be none.
    """

    impl = JSON(none_as_null=True)
    cache_ok = True

    def __init__(self, fits: Callable[[dict[str, Any]], str], optional: bool) -> None:
        super().__init__()
        self.fits, self.optional = fits, optional

    def process_result_value(self, value: Any, dialect: Dialect) -> dict[str, Any] | None:
        if isinstance(value, DamagedObject) or (value is None and self.optional):
            return value
        if not isinstance(value, dict):
            return DamagedObject.of(f"{_shown(value)} is no JSON object")
        wrong = self.fits(value)
        return DamagedObject.of(wrong) if wrong else value


class Numbers(TypeDecorator[list[float]]):
    """A JSON list of numbers, at least one; null, which stands for one that is not finite, is read
    as NaN."""

    impl = JSON
    cache_ok = True

    def process_result_value(self, value: Any, dialect: Dialect) -> list[float] | None:
        if isinstance(value, DamagedObject):
            return DamagedList.of(value.why)
        if not isinstance(value, list) or not value:
            return DamagedList.of(f"{_shown(value)} is no list of numbers")
        if all(type(item) is float for item in value):
            return value
        if not all(item is None or type(item) in (float, int) for item in value):
            return DamagedList.of(f"{_shown(value)} is no list of numbers")
        return [math.nan if item is None else float(item) for item in value]
