"""A text that grows sixfold on the wire."""


def source() -> str:
    """The attack's source."""
    return "# " + "\x01" * 19_000 + "\ndef tfcaf(state):\n    return state, state[:, :1]"
