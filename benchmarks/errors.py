"""The errors that a user can mend: one clear line each, and the program ends with code 2."""

from __future__ import annotations


class UsageError(Exception):
    """What was asked cannot be done; the message says what to do."""
