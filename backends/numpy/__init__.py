"""The NumPy backend."""

from backends.numpy.idiomatic import *  # noqa: F403
