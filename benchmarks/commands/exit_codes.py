"""The exit codes of all commands, in one table."""

OK, FAILED, REFUSED, PROGRAM_ERROR, INTERRUPTED = 0, 1, 2, 3, 130

COMMON = {
    OK: "done",
    REFUSED: "nothing was run: the message says why",
    PROGRAM_ERROR: "stopped by an error of the program itself",
    INTERRUPTED: "interrupted",
}
MEASURED = {
    OK: "every case that can run here was measured",
    FAILED: "a case failed; the others were measured",
    PROGRAM_ERROR: f"{COMMON[PROGRAM_ERROR]}; what was measured until then is reported",
    INTERRUPTED: "interrupted; what was measured until then is reported",
}
MEANINGS = {
    "measure": MEASURED,
    "certify": {OK: "every case is certified", FAILED: "a case is not certified"},
    "sweep": MEASURED,
    "report": {},
    "compare": {
        OK: "compared",
        FAILED: "a case is slower than --fail-if-slower allows, with its whole interval",
    },
    "list": {},
}
"""The meanings of codes for each command, in addition to COMMON or instead of what it says."""
