"""Calls of calls, and subscripts of subscripts."""


def source() -> str:
    """The attack's source."""
    return "def tfcaf(state):\n    return state" + "()" * 4000 + "[0]" * 3000
