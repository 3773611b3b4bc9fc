"""What shows that a case computes the same training: before it is timed, and of what was timed."""
