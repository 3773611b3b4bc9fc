"""Checks of the suite itself: the verdicts against known truths, step times against bare loops."""
