"""What every model that writes tokens itself is asked in these tests."""

from __future__ import annotations

from models.protocol import Message

ASKED = [Message("system", "You are terse."), Message("user", "Say something.")]
LINES = (
    'start: line{1,3}\nline: NAME " = " NUMBER "\\n"\nNAME: /[a-z]{1,6}/\nNUMBER: /[0-9]{1,3}/\n'
)
"""A grammar of one to three assignments."""
