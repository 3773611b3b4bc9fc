"""What is asked of the backends, how it is measured, and what people read of it."""

from typing import Any


def __getattr__(name: str) -> Any:
    """`load_bundle`, for notebooks; imported on demand, since workers need nothing of it."""
    if name == "load_bundle":
        from benchmarks.reports.notebooks import load_bundle

        return load_bundle
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
