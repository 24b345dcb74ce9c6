"""A decimal literal that takes quadratic time."""


def source() -> str:
    """The attack's source."""
    return "def tfcaf(state):\n    return state * " + "9" * 18_000 + ", state[:, :1]"
