"""The report of one run: its sections, and the sentences in them."""
