"""Bytes that end a text in C."""


def source() -> str:
    """The attack's source."""
    return "def tfcaf(state):\n    return state, state[:, :1]\n\0import os"
