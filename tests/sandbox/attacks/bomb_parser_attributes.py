"""A chain that nests in the tree and not in the text."""


def source() -> str:
    """The attack's source."""
    return "def tfcaf(state):\n    return state" + ".T" * 9000
