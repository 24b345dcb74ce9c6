"""A thousand small functions."""


def source() -> str:
    """The attack's source."""
    return (
        "".join(f"def f{i}(x):\n    return x\n" for i in range(800))
        + "def tfcaf(state):\n    return state, state[:, :1]"
    )
