"""What the terminal shows: lines that last, the progress of a run, and its results."""
