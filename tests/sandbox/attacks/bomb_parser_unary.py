"""Operators that recurse in the parser."""


def source() -> str:
    """The attack's source."""
    return "def tfcaf(state):\n    return " + "not " * 4000 + "-" * 3000 + "state"
