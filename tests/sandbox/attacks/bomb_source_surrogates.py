"""Characters that no encoding knows."""


def source() -> str:
    """The attack's source."""
    return "# \ud800\udfff\ndef tfcaf(state):\n    return state, state[:, :1]"
