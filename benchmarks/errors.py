"""Errors that the user can correct; each is shown as one line, and the exit code is 2."""


class UsageError(Exception):
    """The program cannot do what the user asked for; the message says what to do instead."""
