"""Errors that are shown as one line, their message, and that have exit codes of their own."""


class UsageError(Exception):
    """The program cannot do what the user asked for; the message says what to do instead."""


class UnjudgedError(Exception):
    """What was measured does not tell what was asked; the message says what is missing."""


class StoppedError(Exception):
    """The machine ended the work, such as a full disk; the message says what is kept."""
