"""A thousand parameters and keywords."""


def source() -> str:
    """The attack's source."""
    return (
        "def tfcaf(state, "
        + ", ".join(f"a{i}=1" for i in range(1500))
        + "):\n    return state, state[:, :1]"
    )
