"""The machine, and the settings of the processes that run on it."""
