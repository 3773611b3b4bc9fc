"""Copies of a backend's package under another name, with edits of its source."""

from __future__ import annotations

import importlib.util
import shutil
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import ModuleType

from backends.ladder import Backend
from backends.registry import BACKENDS, load

numbers = count()


def copy_backend(
    backend: Backend, name: str, folder: Path, edits: list[tuple[str, str]] | None = None
) -> Backend:
    """A backend's package under another name in `folder`, with its source edited; its entry.

    Each text to be edited must stand there once, or the edit proves nothing.
    """
    package, _, module = backend.module.rpartition(".")
    spec = importlib.util.find_spec(backend.module)
    assert spec is not None
    assert spec.origin is not None
    # With what the backends share of Keras.
    shared = importlib.util.find_spec("backends.keras")
    assert shared is not None
    assert shared.origin is not None
    for copy, origin in ((name, spec.origin), (f"{name}_keras", shared.origin)):
        shutil.copytree(Path(origin).parent, folder / copy, ignore=lambda *_: ["__pycache__"])
    paths = [*(folder / name).glob("*.py"), *(folder / f"{name}_keras").glob("*.py")]
    sources = {path: path.read_text() for path in paths}
    for text, replacement in edits or []:
        times = sum(source.count(text) for source in sources.values())
        assert times == 1, f"{text!r} stands {times} times in {backend.module}"
        sources = {path: source.replace(text, replacement) for path, source in sources.items()}
    for path, source in sources.items():
        # An operator registered twice under one name is freed under the feet of those who call it.
        renamed = source.replace('Library("benchmark"', f'Library("{name}"')
        renamed = renamed.replace("backends.keras", f"{name}_keras")
        path.write_text(renamed.replace(package, name))
    return replace(backend, name=name, module=f"{name}.{module}", folder=str(folder))


def edited(name: str, edits: list[tuple[str, str]], folder: Path) -> ModuleType:
    """The backend with its source edited."""
    # A new name each: TensorFlow reads the source of what it traces.
    return load(copy_backend(BACKENDS[name], f"mutant_{next(numbers)}", folder, edits))
