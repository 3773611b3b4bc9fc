"""The plan of a run: workload, data set, presets, cases."""
