"""The process that measures: launches of fresh worker processes, and rounds of their blocks."""
