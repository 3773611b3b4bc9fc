"""A floor does the work it stands for, in every framework: no product or pass is left out."""

from __future__ import annotations

import pytest

from backends.registry import BACKENDS
from tests.support.floors import check_floor

KINDS = [
    pytest.param(name, precision, error, id=f"{name}-{precision}")
    for name, backend in BACKENDS.items()
    for precision, error in (("float32", 1e-4), ("bfloat16", 5e-2))
    if precision in backend.precisions
]


@pytest.mark.parametrize(("name", "precision", "error"), KINDS)
def test_a_floor_does_its_products_and_its_pass(name: str, precision: str, error: float) -> None:
    check_floor(name, precision, error)
