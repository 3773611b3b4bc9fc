"""The first half hour on a GPU: everything that a card can tell, in steps that can be cut off."""
