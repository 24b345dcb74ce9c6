"""A sum that leans to one side."""


def source() -> str:
    """The attack's source."""
    return "def tfcaf(state):\n    return " + "+".join(["state"] * 3000)
