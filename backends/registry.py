"""The backends as one table: what each of them offers and needs, without importing any framework.

A framework is imported by `load` alone, and only the process that runs it calls that: a framework
may be missing or broken, costs seconds and memory, and sets up threads for the whole process.
"""

import importlib
import re
import sys
from importlib.util import find_spec
from types import ModuleType

from backends.jax.ladder import JAX
from backends.ladder import Backend, Mode
from backends.numpy.ladder import NUMPY
from backends.pytorch.ladder import PYTORCH
from backends.tensorflow.ladder import TENSORFLOW

BACKENDS = {entry.name: entry for entry in (PYTORCH, TENSORFLOW, JAX, NUMPY)}


def mode_names() -> tuple[str, ...]:
    """Every mode of any backend, once; those of groups last."""
    entries = BACKENDS.values()
    ladders = (*(entry.modes for entry in entries), *(entry.group_modes for entry in entries))
    return tuple(dict.fromkeys(mode for ladder in ladders for mode in ladder))


def renamed(mode: str) -> dict[str, str]:
    """What a mode's former name stands for now, by backend; empty where it never was a name."""
    return {name: entry.renamed[mode] for name, entry in BACKENDS.items() if mode in entry.renamed}


def title_of(backend: str) -> str:
    """A backend's title; its name where the registry does not have it, as in old bundles."""
    return BACKENDS[backend].title if backend in BACKENDS else backend


def mode_of(backend: str, mode: str) -> Mode | None:
    """A backend's mode; None where the registry does not have it, as in old bundles."""
    return BACKENDS[backend].mode(mode) if backend in BACKENDS else None


def tier_of(backend: str, mode: str) -> str:
    """The tier of a backend's mode; empty where the registry does not have it.

    A former name has the tier of the modes that it stands for now, if they are of one.
    """
    if entry := mode_of(backend, mode):
        return entry.tier
    words = re.findall(r"[\w-]+", renamed(mode).get(backend, ""))
    tiers = {entry.tier for word in words if (entry := mode_of(backend, word))}
    return tiers.pop() if len(tiers) == 1 else ""


def missing_packages(backend: Backend, mode: str = "") -> list[str]:
    """The packages of a backend, or of one of its modes, that are not installed.

    Nothing is imported to tell.
    """
    of_mode = backend.mode(mode)
    packages = of_mode.packages if of_mode else backend.packages
    return [package for package in packages if find_spec(package) is None]


def load(backend: Backend) -> ModuleType:
    """Import a backend and, with it, its framework; raises whatever that import raises."""
    if backend.folder and backend.folder not in sys.path:
        sys.path.insert(0, backend.folder)
    return importlib.import_module(backend.module)
