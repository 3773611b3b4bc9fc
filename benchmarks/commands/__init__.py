"""The command line: one module a command, its options, exit codes and what the terminal shows."""
