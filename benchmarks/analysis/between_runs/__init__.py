"""Runs before and after a change: what can be compared, how they differ, and a gate for CI."""
