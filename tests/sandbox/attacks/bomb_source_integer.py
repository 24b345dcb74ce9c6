"""A literal of thousands of digits."""


def source() -> str:
    """The attack's source."""
    return "def tfcaf(state):\n    return state * 0x" + "f" * 18_000 + ", state[:, :1]"
