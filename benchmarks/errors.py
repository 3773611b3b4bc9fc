"""Errors that are shown as one line, their message, and that have exit codes of their own."""

from benchmarks.texts import harmless


class OneLineError(Exception):
    """An error whose message is one line, and acts on no terminal, whatever it quotes."""

    def __str__(self) -> str:
        return harmless(super().__str__())


class UsageError(OneLineError):
    """The program cannot do what the user asked for; the message says what to do instead."""


class UnjudgedError(OneLineError):
    """What was measured does not tell what was asked; the message says what is missing."""


class StoppedError(OneLineError):
    """The machine ended the work, such as a full disk; the message says what is kept."""
