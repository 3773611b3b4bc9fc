"""Keras 3 as the programs of several backends use it: its model, its Adam and its own loop."""
