"""A floor does the work it stands for in every framework; no product, pass or gather is missing."""

from __future__ import annotations

import numpy as np
import pytest

from backends import floors
from backends.contract import Execution, product_names
from backends.registry import BACKENDS
from tests.support.floors import NETWORK, ROWS, check_arrays, check_floor, check_pieces, floor_of

KINDS = [
    pytest.param(name, precision, error, id=f"{name}-{precision}")
    for name, backend in BACKENDS.items()
    for precision, error in (("float32", 1e-4), ("bfloat16", 0.1))
    if precision in backend.precisions
]


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which library is the fastest does not matter here."""
    monkeypatch.setattr(floors, "TIMING_SECONDS", 0.0)


@pytest.mark.parametrize(("name", "precision", "error"), KINDS)
def test_a_floor_does_its_products_and_its_pass(name: str, precision: str, error: float) -> None:
    check_floor(name, precision, error)


@pytest.mark.parametrize("name", BACKENDS)
def test_every_piece_is_timed_by_each_library(name: str) -> None:
    check_pieces(floor_of(name, Execution(mode="floor")), product_names(NETWORK))


OTHERS = {
    "numpy": ("openblas", "openblas-exchanged"),
    "pytorch": ("mkl", "mkl-exchanged", "onednn", "onednn-exchanged"),
    "jax": ("xla", "xla-transposed", "xla-inputs-first"),
    "tensorflow": ("xla-transposed", "xla-transposed-inputs-first"),
}


@pytest.mark.parametrize(("name", "library"), [(n, one) for n in OTHERS for one in OTHERS[n]])
def test_every_library_computes_the_same(name: str, library: str) -> None:
    products = dict.fromkeys(product_names(NETWORK), library)
    floor = floor_of(name, Execution(mode="floor", steps_per_call=len(ROWS)), products=products)
    floor.train(ROWS)
    floor.synchronise()
    check_arrays(floor, 1e-4)
    assert floor.products() == products


@pytest.mark.parametrize("name", BACKENDS)
def test_a_library_that_it_does_not_have_is_refused_in_one_line(name: str) -> None:
    products = dict.fromkeys(product_names(NETWORK), "abacus")
    with pytest.raises(ValueError, match="abacus") as refused:
        floor_of(name, Execution(mode="floor"), products=products)
    assert "\n" not in str(refused.value)


def test_a_floor_without_its_gather_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    floor = floor_of("numpy", Execution(mode="floor"))
    gather = floor._gather  # type: ignore[attr-defined]
    monkeypatch.setattr(floor, "_gather", lambda batch: gather(np.sort(batch) * 0))
    floor.train(ROWS)
    with pytest.raises(AssertionError):
        check_arrays(floor, 1e-4)


def test_pieces_are_timed_in_turn_and_the_hopeless_no_more() -> None:
    now, calls, repeats = 0.0, list[str](), 10

    def candidate(library: str, seconds: float) -> floors.Candidate:
        def repeat() -> None:
            nonlocal now
            now += seconds * repeats
            calls.append(library)

        return floors.Candidate("adam", library, repeat)

    times = {"mkl": 0.3, "onednn": 0.2, "abacus": 0.5}
    pieces = floors.time_candidates(
        [candidate(*one) for one in times.items()], lambda: None, repeats, lambda: now
    )
    assert {piece.library: piece.seconds for piece in pieces} == pytest.approx(times)
    assert calls[:6] == [*times, *times]
    assert calls[6:] == ["mkl", "onednn"] * 2


def test_products_are_chosen_alike_where_they_bear_on_one_another() -> None:
    times = {"a": (1.0, 2.0), "b": (3.0, 1.5)}
    pieces = [
        floors.Piece(piece=name, library=library, seconds=seconds)
        for name, both in times.items()
        for library, seconds in zip(("mkl", "mkl-exchanged"), both, strict=True)
    ]
    assert floors.choose_alike(pieces) == dict.fromkeys(times, "mkl-exchanged")


def test_a_weight_lies_as_is_best_for_all_products_of_its_layer() -> None:
    times = {
        "forward 1": {"xla": 1.0, "xla-inputs-first": 2.0},
        "forward 2": {"xla": 1.0, "xla-inputs-first": 2.0},
        "weights 2": {"xla": 5.0, "xla-transposed": 4.5, "xla-inputs-first": 3.0},
    }
    pieces = [
        floors.Piece(piece=name, library=library, seconds=seconds)
        for name, by_library in times.items()
        for library, seconds in by_library.items()
    ]
    chosen = floors.choose_by_layer(pieces)
    assert chosen == {
        "forward 1": "xla",
        "forward 2": "xla-inputs-first",
        "weights 2": "xla-inputs-first",
    }
    assert list(chosen) == list(times)
    assert floors.layers_inputs_first(chosen) == {2}


@pytest.mark.parametrize("name", ["jax", "tensorflow"])
def test_a_weight_cannot_lie_in_two_ways(name: str) -> None:
    products = dict.fromkeys(product_names(NETWORK), "xla") | {"forward 2": "xla-inputs-first"}
    with pytest.raises(ValueError, match="XLA multiplies weights 2 by xla-inputs-first"):
        floor_of(name, Execution(mode="floor"), products=products)
