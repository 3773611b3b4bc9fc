"""Reports of several runs: side by side, compared, swept over, and as a site."""
