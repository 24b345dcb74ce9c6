"""Blocks within blocks."""


def source() -> str:
    """The attack's source."""
    return (
        "def tfcaf(state):\n"
        + "".join("    " + " " * i + "if 1:\n" for i in range(150))
        + " " * 200
        + "return state"
    )
