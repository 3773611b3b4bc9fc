"""The exit codes, in one table that holds for every command."""

OK, FAILED, REFUSED, UNJUDGED, STOPPED, INTERRUPTED = 0, 1, 2, 3, 4, 130

MEANINGS = {
    OK: "done: every case was measured, is certified, or is not shown to be slower",
    FAILED: "a case failed, is not certified, or is slower than allowed; the others are reported",
    REFUSED: "nothing was done: wrong usage, or a file that cannot be used; the message says why",
    UNJUDGED: "a gate cannot judge; the message says what is missing",
    STOPPED: "stopped by an error of machine or program; what was measured until then is kept",
    INTERRUPTED: "interrupted; what was measured until then is kept and reported",
}
