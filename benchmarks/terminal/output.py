"""What is printed: it never decides over what is kept.

Where standard output is closed, full or a broken pipe, the program goes on without it; characters
that its encoding has not are replaced.
"""

import codecs
import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO, cast

from rich.console import Console

PLAIN = str.maketrans("×–—−•·…’", "x---*-.'")
"""Characters of reports, and what stands for them where they cannot be shown."""
WIDTH = 112
"""Without a terminal to take the width from, wide enough for the tables; in characters."""


def _plain(error: UnicodeError) -> tuple[str, int]:
    """Replace what cannot be encoded, as a handler of `codecs`."""
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end].translate(PLAIN)
    return "".join(one if one.isascii() else "?" for one in text), error.end


codecs.register_error("plain", _plain)


class LastingStream:
    """A text stream that raises nothing; what cannot be written is lost."""

    def __init__(self, stream: TextIO | None, name: str) -> None:
        """`name` is what a note about lost output calls the stream; empty for no note."""
        self._stream: Any = stream
        self._name = name
        self._lost = False
        if stream is None:
            self._lose(OSError(errno.EBADF, ""))
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="plain")

    def write(self, text: str) -> int:
        """Write a text, or lose it."""
        try:
            if self._stream is not None:
                self._stream.write(text)
        except (OSError, ValueError) as error:
            self._lose(error)
        return len(text)

    def flush(self) -> None:
        """Hand on what is buffered, or lose it."""
        try:
            if self._stream is not None:
                self._stream.flush()
        except (OSError, ValueError) as error:
            self._lose(error)

    def isatty(self) -> bool:
        """Whether a person reads it in a terminal."""
        with contextlib.suppress(OSError, ValueError, AttributeError):
            return bool(self._stream.isatty())
        return False

    def __getattr__(self, name: str) -> Any:
        if self._stream is None and name == "encoding":
            return "utf-8"
        return getattr(self._stream, name)

    def _lose(self, error: OSError | ValueError) -> None:
        """Note the first loss; what is buffered goes nowhere, lest its flush at the end fails."""
        if self._lost:
            return
        self._lost = True
        with contextlib.suppress(OSError, ValueError, AttributeError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
        if self._name:
            full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EFBIG)
            why = f"cannot be written ({error.strerror})" if full else "was closed"  # type: ignore[union-attr]
            print(f"note: {self._name} {why}; the program goes on without it", file=sys.stderr)


@contextlib.contextmanager
def lasting() -> Iterator[Console]:
    """The console of a command; within, `sys.stdout` and `sys.stderr` raise nothing either."""
    open_standard_streams()
    streams = sys.stdout, sys.stderr
    sys.stderr = cast(TextIO, LastingStream(sys.stderr, ""))
    sys.stdout = cast(TextIO, LastingStream(sys.stdout, "standard output"))
    try:
        yield Console(width=None if sys.stdout.isatty() else WIDTH)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = streams


def open_standard_streams() -> None:
    """Open those of the descriptors 0 to 2 that are closed, which the next file would take."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(descriptor, True)
