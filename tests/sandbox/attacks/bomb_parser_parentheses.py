"""Nesting that overflows the parser."""


def source() -> str:
    """The attack's source."""
    return "def tfcaf(state):\n    return " + "(" * 9000 + "state" + ")" * 9000
