"""The libraries of PyTorch's products: how they are chosen, and that a choice is what computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np
import pytest

from backends.contract import Network, Trainer, TrainingSet, product_names
from benchmarks.certificates import certificate
from benchmarks.certificates.reference import make_reference
from tests.conftest import Problem, back_to_float64, configured, set_up
from tests.support.certifying import make_workload, random_images, training_of

SMALL = Problem(17, 11)
NETWORK = SMALL.network


@pytest.fixture(autouse=True)
def reset_precision() -> Iterator[None]:
    yield
    back_to_float64()


@pytest.fixture(scope="module")
def products() -> Any:
    configured("pytorch")
    return import_module("backends.pytorch.products")


class Clock:
    """A clock that only the libraries of a test advance, each by what it says it takes."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def library(self, multiply: Any, seconds: Callable[[Any, Any], float]) -> Any:
        def timed(a: Any, b: Any, out: Any = None) -> Any:
            self.now += seconds(a, b)
            return multiply(a, b, out)

        return timed


def choose(
    products: Any, exchanged: float = 1.0, **seconds: Callable[[Any, Any], float]
) -> dict[str, str]:
    """The choice among libraries that take so many seconds for the factors of a product.

    A whole sequence takes a second, or `exchanged` with operands exchanged.
    """
    clock, torch = Clock(), import_module("torch")
    libraries = {name: clock.library(products.by_blas, s) for name, s in seconds.items()}

    def sequence_of(choice: dict[str, str]) -> Callable[[], None]:
        exchanges = all(name.endswith(products.EXCHANGED) for name in choice.values())

        def sequence() -> None:
            clock.now += exchanged if exchanges else 1.0

        return sequence

    chosen: dict[str, str] = products.choose(
        NETWORK, 19, libraries, torch.empty(0), sequence_of, clock
    )
    return chosen


def trainer_of(mode: str, precision: str = "float32", **choice: str) -> Any:
    """A trainer of the small network, with the products that are given."""
    module, execution = set_up("pytorch", mode, precision)
    images = SMALL.training_set.images.astype(execution.stored)
    training_set = TrainingSet(images=images, labels=SMALL.training_set.labels)
    training = replace(SMALL.training, training_set=training_set)
    return module.TRAINERS[mode](training, replace(execution, products=dict(choice)))


def all_by(name: str, network: Network = NETWORK) -> dict[str, str]:
    return dict.fromkeys(product_names(network), name)


def test_each_product_gets_the_library_that_is_fastest_for_it(products: Any) -> None:
    chosen = choose(
        products,
        plain=lambda a, _: 2.0 if a.shape[0] == 19 else 1.0,
        other=lambda a, _: 1.0 if a.shape[0] == 19 else 2.0,
    )
    # Those with a row for each image, and those with one for each unit: the weights' gradients.
    assert {name.split()[0]: library for name, library in chosen.items()} == {
        "forward": "other",
        "inputs": "other",
        "weights": "plain",
    }
    assert list(chosen) == product_names(NETWORK)


def test_operands_are_exchanged_where_whole_sequences_are_faster(products: Any) -> None:
    plain = lambda *_: 1.0  # noqa: E731
    assert set(choose(products, 1.1, plain=plain).values()) == {"plain"}
    assert set(choose(products, 0.99, plain=plain).values()) == {"plain"}
    assert set(choose(products, 0.9, plain=plain).values()) == {"plain-exchanged"}


def test_noise_changes_no_choice(products: Any) -> None:
    chosen = choose(products, plain=lambda *_: 1.0, other=lambda *_: 0.99)
    assert set(chosen.values()) == {"plain"}


def test_a_choice_ends_in_time(products: Any) -> None:
    clock, calls = Clock(), list[float]()

    def a_second(*_: Any) -> float:
        calls.append(1.0)
        return 1.0

    slow = clock.library(products.by_blas, a_second)
    like, nothing = import_module("torch").empty(0), lambda _: lambda: None
    products.choose(NETWORK, 19, {"slow": slow}, like, nothing, clock)
    assert len(calls) == 2 * 2 * len(product_names(NETWORK))  # a single round


@pytest.mark.parametrize("mode", ["handwritten", "handwritten-private"])
def test_what_a_trainer_says_is_what_computes(
    mode: str, products: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each library once for all products, in whole trainings; given ones are used as given."""
    table = products.PRIVATE if mode == "handwritten-private" else products.PUBLIC
    calls: list[str] = []

    def noted(name: str, multiply: Any) -> Any:
        def call(*arguments: Any) -> Any:
            calls.append(name)
            return multiply(*arguments)

        return call

    for name, multiply in dict(table).items():
        monkeypatch.setitem(table, name, noted(name, multiply))
    for library in products.names_of(table):
        choice = all_by(library)
        trainer = trainer_of(mode, **choice)
        calls.clear()
        trainer.train(SMALL.rows(2))
        assert calls == [library.removesuffix(products.EXCHANGED)] * 2 * len(choice)
        assert trainer.products() == choice
        assert f"forward 1: {library}" in trainer.describe().products


@pytest.mark.parametrize("precision", ["float32", "float64", "bfloat16"])
def test_every_library_trains_the_same(precision: str, products: Any) -> None:
    """Also in the precisions that other libraries do not have: PyTorch's BLAS stands in there."""
    rows, trained = SMALL.rows(3), []
    mixed = dict(zip(product_names(NETWORK), products.names_of(products.PRIVATE) * 3, strict=False))
    for choice in (*map(all_by, products.names_of(products.PRIVATE)), mixed):
        trainer: Trainer = trainer_of("handwritten-private", precision, **choice)
        trainer.train(rows)
        trained.append(np.concatenate([weight.ravel() for weight, _ in trainer.parameters()]))
    bound = {"float32": 1e-4, "float64": 1e-9, "bfloat16": 1e-1}[precision]
    start = np.concatenate([weight.ravel() for weight, _ in SMALL.start])
    moved = np.linalg.norm(trained[0] - start)
    for other in trained[1:]:
        assert np.linalg.norm(other - trained[0]) < bound * moved


def test_a_wrong_library_fails_the_certificate(
    products: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the certificate sees the library that is chosen, and not another."""
    training = random_images()
    work = make_workload(16, training=training, batch_size=19, learning_rate=0.01)
    reference = make_reference(work, "float64", training, 12)
    monkeypatch.setitem(products.PUBLIC, products.BLAS, lambda a, b, _=None: 1.001 * (a @ b))
    module, execution = set_up("pytorch", "handwritten", "float64")
    given = replace(execution, products=all_by(products.BLAS, work.network))
    # float64 has no other library than the one that is replaced here.
    monkeypatch.setattr(products, "by_blas", products.PUBLIC[products.BLAS])
    trainer = module.TRAINERS["handwritten"](training_of(work, reference, "float64"), given)
    checks = certificate.certify(
        trainer, work.adam, reference, reference.batch_rows[:1], "float64", "exact"
    )
    assert certificate.first_failure(checks) is not None


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (all_by("cublas"), "no library is called 'cublas': choose from mkl, mkl-exchanged"),
        ({"forward 1": "mkl"}, "choose a library for each of these products: forward 1, "),
    ],
)
def test_a_choice_that_cannot_be_is_refused(
    choice: dict[str, str], message: str, products: Any
) -> None:
    if products.BLAS != "mkl":
        pytest.skip("this PyTorch has no MKL")
    with pytest.raises(ValueError, match=message):
        trainer_of("handwritten", **choice)


def test_other_modes_leave_the_choice_alone() -> None:
    """A choice is for the modes that make one; the step by hand below them has torch.mm."""
    assert trainer_of("eager", **all_by("mkl")).products() == {}
    trainer = trainer_of("handwritten-mm", **all_by("mkl-exchanged"))
    trainer.train(SMALL.rows(1))
    assert trainer.products() == {}
