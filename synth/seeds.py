"""Seeds derived from names, so that no draw depends on what was drawn before it."""

from __future__ import annotations

import hashlib
import json


def derive_seed(*parts: int | str) -> int:
    """A seed in [0, 2**31) that depends on every part and on their order, and on nothing else.

    31 bits, since some model servers refuse larger ones.
    """
    digest = hashlib.sha256(json.dumps(parts).encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1
