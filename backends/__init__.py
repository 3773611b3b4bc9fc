"""The same training in several frameworks, one file each, behind one contract.

`contract.py` says what every backend provides, `registry.py` lists them. Nothing here knows of
clocks, files or reports, and importing this package imports no framework.
"""
