"""A group of ranks: worker processes that train together, each its share of every batch.

The worker that the session has started is rank 0. It starts the others, tells each of them what it
does itself, just before it does it, and waits for all of them where it waits for its device. So a
block begins on all ranks together, and has ended when the last of them has finished.
"""
