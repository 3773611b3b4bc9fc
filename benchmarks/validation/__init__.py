"""Whether the verdicts are right as often as they say."""
