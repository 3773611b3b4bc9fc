"""Launches of a run as jobs, on the nodes of a cluster or on this machine."""
