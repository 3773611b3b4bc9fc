"""PyTorch's CUDA graphs, with stand-ins for CUDA's part: what is captured, replayed and restored.

Capturing executes nothing, and replaying executes what was captured: the stand-in runs the steps
while they are captured, puts everything back, and runs them again when replayed. That a real graph
does the same is tested on a GPU: see tests/gpu.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from backends.contract import Execution, Trainer, product_names
from benchmarks.certificates import certificate
from benchmarks.certificates.reference import STEPS as CERTIFIED_STEPS
from benchmarks.certificates.reference import make_reference
from tests.conftest import STEPS_PER_CALL, Problem, configured
from tests.support.certifying import make_workload, random_images, training_of
from tests.support.contract_checks import CHECKS, make, reusing
from tests.support.floors import NETWORK, ROWS, expected, floor_of


class FakeCuda:
    """The part of `torch.cuda` that graphs are made with; counts what is captured."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        configured("pytorch")
        torch: Any = import_module("torch")
        self.captured = 0
        graphs = import_module("backends.pytorch.graphs")
        self._capture = graphs.capture
        stream = SimpleNamespace(wait_stream=lambda _: None)
        fakes = {
            "Stream": lambda: stream,
            "current_stream": lambda: stream,
            "stream": nullcontext,
            "CUDAGraph": SimpleNamespace,
            "graph": self.graph,
        }
        for name, fake in fakes.items():
            patch.setattr(torch.cuda, name, fake)
        patch.setattr(graphs, "capture", self.capture)

    def capture(self, steps: Callable[[], Any], state: list[Any]) -> tuple[Any, Any]:
        """Capture as the backend does; a replay runs the steps into the captured results."""
        self._state = state
        graph, results = self._capture(steps, state)

        def replay() -> None:
            replayed = steps()
            if results is not None:
                results.copy_(replayed)

        graph.replay = replay
        return graph, results

    @contextmanager
    def graph(self, _: Any) -> Iterator[None]:
        """Undo what runs inside: capturing executes nothing."""
        before = [(tensor, tensor.clone()) for tensor in self._state]
        yield
        self.captured += 1
        for tensor, value in before:
            tensor.copy_(value)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    return FakeCuda(monkeypatch)


def cuda_graph(problem: Problem, *, graphed: bool) -> Any:
    """A trainer that trains as on a GPU, or as on a CPU."""
    trainer: Any = make(
        configured("pytorch").TRAINERS["cuda-graph"], problem, "cuda-graph", "resident"
    )
    trainer.graphed = graphed
    return trainer


def leave_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sabotage: what the warm-up of a capture trains is not put back."""
    monkeypatch.setattr("backends.pytorch.graphs.put_back", lambda *_: None)


@pytest.fixture(scope="module")
def compiled() -> list[Trainer]:
    """The trainers, compiled once."""
    return []


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.usefixtures("fake")
def test_the_contract_through_graphs(check: Any, problem: Problem, compiled: list[Trainer]) -> None:
    check(reusing(lambda given: cuda_graph(given, graphed=True), compiled), problem)


@pytest.mark.parametrize("before", [0, 1, STEPS_PER_CALL - 1])
def test_capturing_trains_nothing_but_the_requested_steps(
    before: int, problem: Problem, fake: FakeCuda
) -> None:
    """Also where steps were trained before the first whole call, and with a rest behind it."""
    graphed, plain = (cuda_graph(problem, graphed=graphed) for graphed in (True, False))
    for steps in (before, 2 * STEPS_PER_CALL + 1):
        rows = problem.rows(steps)
        if steps:
            graphed.train(rows)
            plain.train(rows)
    assert fake.captured == 1
    for layer, other in zip(graphed.parameters(), plain.parameters(), strict=True):
        for a, b in zip(layer, other, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)


@pytest.mark.parametrize("restored", [True, False])
def test_the_certificate_is_that_of_the_graph(
    restored: bool, fake: FakeCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a graph has more steps than are compared; here warming up has advanced one."""
    steps = CERTIFIED_STEPS + 2
    training = random_images()
    work = make_workload(7, training=training, batch_size=19, learning_rate=0.01)
    reference = make_reference(work, "float64", training, steps)
    execution = Execution(mode="cuda-graph", precision="float64", steps_per_call=steps)
    trainer: Any = configured("pytorch").TRAINERS["cuda-graph"](
        training_of(work, reference, "float64"), execution
    )
    trainer.graphed = True
    assert trainer.describe().steps_per_call == steps
    if not restored:
        leave_trained(monkeypatch)
    checks = certificate.certify(
        trainer, work.adam, reference, reference.batch_rows, "float64", "exact"
    )
    assert fake.captured == 1
    failed = certificate.first_failure(checks)
    assert (failed.stage if failed else "") == ("" if restored else "loss_10_steps")


@pytest.mark.usefixtures("fake")
def test_a_warm_up_that_counts_is_noticed(
    problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_trained(monkeypatch)
    graphed, plain = (cuda_graph(problem, graphed=graphed) for graphed in (True, False))
    rows = problem.rows(STEPS_PER_CALL)
    graphed.train(rows)
    plain.train(rows)
    assert not np.allclose(graphed.parameters()[0][0], plain.parameters()[0][0], rtol=1e-6)


def test_a_floor_takes_the_requested_steps_through_graphs(fake: FakeCuda) -> None:
    products = dict.fromkeys(product_names(NETWORK), "mkl")
    execution = Execution(mode="floor", precision="float64", steps_per_call=3, products=products)
    floor: Any = floor_of("pytorch", execution)
    floor.graphed = True
    floor.train(ROWS)
    assert fake.captured == 2  # of three steps, and of the one left over
    for arrays, references in zip(floor.arrays(), expected(), strict=True):
        for array, reference in zip(arrays, references, strict=True):
            np.testing.assert_allclose(array, reference, rtol=1e-9, atol=1e-12)
