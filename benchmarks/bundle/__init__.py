"""A run's bundle: the folder that holds everything that a run has measured."""
