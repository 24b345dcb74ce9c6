"""A source of 200,000 lines."""


def source() -> str:
    """The attack's source."""
    return "x = 1\n" * 200_000 + "def tfcaf(state):\n    return state, state"
