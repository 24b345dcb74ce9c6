"""One comparison of thousands of operands."""


def source() -> str:
    """The attack's source."""
    return "def tfcaf(state):\n    return state" + "<state" * 3000 + ", state"
