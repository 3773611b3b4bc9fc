"""A backend: `ladder.py` lists its modes, `backend.py` is what the rest of the program sees."""
