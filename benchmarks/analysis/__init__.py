"""From a bundle's rows to estimates, verdicts and rankings: pure functions over DataFrames."""
