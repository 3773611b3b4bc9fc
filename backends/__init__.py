"""The same training in several frameworks, a folder each: see `contract.py` and `registry.py`.

Nothing here knows of clocks, files or reports, and importing this package imports no framework.
"""
