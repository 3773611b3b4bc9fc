"""Trainings that are wrong on purpose: what certificates must catch."""
