"""What pyproject.toml says of this project: its version and its extras."""

from __future__ import annotations

import sys
import tomllib

from benchmarks.machine.settings import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
VERSION: str = PROJECT["version"]


def install_advice(backend: str, python: str) -> str:
    """How to install a backend's packages, to end a sentence with; empty where it is not known.

    It is known for the running Python alone: another one may need another build of the framework.
    """
    if python != sys.executable or backend not in PROJECT["optional-dependencies"]:
        return ""
    return f"; pip install -c constraints.txt '.[{backend}]'"
