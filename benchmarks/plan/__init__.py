"""What is going to be trained and measured: workload, data set, presets and cases."""
