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
from benchmarks.certificates.reference import Reference, make_candidate, make_reference
from benchmarks.plan import data
from benchmarks.plan.workload import Workload
from tests.conftest import STEPS_PER_CALL, Problem, back_to_float64, configured
from tests.support.certifying import certify, make_workload, random_images, training_of
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
        stream = self._stream = SimpleNamespace(wait_stream=lambda _: None)
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
    def graph(self, _: Any, stream: Any) -> Iterator[None]:
        """Undo what runs inside: capturing executes nothing."""
        assert stream is self._stream, "captured where it was warmed up"
        before = [(tensor, tensor.clone()) for tensor in self._state]
        yield
        self.captured += 1
        for tensor, value in before:
            tensor.copy_(value)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    return FakeCuda(monkeypatch)


def cuda_graph(problem: Problem, *, graphed: bool, mode: str = "cuda-graph") -> Any:
    """A trainer that trains as on a GPU, or as on a CPU."""
    trainer: Any = make(configured("pytorch").TRAINERS[mode], problem, mode, "resident")
    trainer.graphed = graphed
    return trainer


BY_HAND = [
    "handwritten-graph",
    "handwritten-streams",
    "handwritten-epilogues",
    pytest.param("handwritten-fused", marks=pytest.mark.slow),
]


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


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("mode", ["step-graph", *BY_HAND])
def test_other_rungs_keep_the_contract_through_graphs(mode: str, problem: Problem) -> None:
    """All checks in one test take less time than one by one."""
    trainers: list[Trainer] = []
    for check in CHECKS:
        check(reusing(lambda p: cuda_graph(p, graphed=True, mode=mode), trainers), problem)
    steps = trainers[0].describe().steps_per_call
    assert steps == (1 if mode == "step-graph" else STEPS_PER_CALL)


@pytest.mark.usefixtures("fake")
def test_a_graph_of_a_step_is_captured_once(problem: Problem, fake: FakeCuda) -> None:
    trainer = cuda_graph(problem, graphed=True, mode="step-graph")
    trainer.train(problem.rows(3))
    assert fake.captured == 1


@pytest.fixture(scope="module")
def references() -> tuple[Workload, dict[str, Reference]]:
    training = data.load().training
    work = make_workload(64, 48, training=training, batch_size=64, learning_rate=0.01)
    precisions = ("float32", "bfloat16")
    return work, {
        one: make_candidate(work, one, training, CERTIFIED_STEPS, seed=0) for one in precisions
    }


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("mode", BY_HAND)
def test_steps_by_hand_for_a_gpu_earn_their_certificate(
    mode: str, precision: str, references: tuple[Workload, dict[str, Reference]]
) -> None:
    work, by_precision = references
    try:
        checks = certify("pytorch", mode, work, by_precision[precision], "as timed",
            timed=precision)  # fmt: skip
    finally:
        back_to_float64()
    assert certificate.first_failure(checks) is None


def beside(problem: Problem, mode: str, *, joins: bool = True) -> Trainer:
    """A trainer that makes what lies beside as late as the streams allow, or never."""
    trainer: Any = cuda_graph(problem, graphed=False, mode=mode)
    waiting: list[Callable[[], None]] = []

    def join() -> None:
        assert len(waiting) == len(problem.network.layer_sizes) - 1
        while joins and waiting:
            waiting.pop()()
        waiting.clear()

    trainer._beside, trainer._join = waiting.append, join
    return trainer


@pytest.mark.parametrize("mode", BY_HAND[1:])
def test_nothing_is_overwritten_that_is_read_beside(mode: str, problem: Problem) -> None:
    """Gradients of weights may come at any time before the update, and in any order."""
    late, plain = beside(problem, mode), cuda_graph(problem, graphed=False, mode=mode)
    rows = problem.rows(3)
    for trainer in (late, plain):
        trainer.train(rows)
    for layer, other in zip(late.parameters(), plain.parameters(), strict=True):
        for a, b in zip(layer, other, strict=True):
            np.testing.assert_array_equal(a, b)
    lost = beside(problem, mode, joins=False)
    lost.train(rows)
    assert not np.allclose(lost.parameters()[0][0], plain.parameters()[0][0])


def test_the_stream_beside_waits_and_is_waited_for(
    problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each layer it waits for what was launched, and the update waits for all of it."""
    trainer = cuda_graph(problem, graphed=False, mode="handwritten-streams")
    torch: Any = import_module("torch")
    said: list[str] = []
    main = SimpleNamespace(wait_stream=lambda _: said.append("join"))
    trainer._other = SimpleNamespace(wait_stream=lambda _: said.append("fork"))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: main)
    monkeypatch.setattr(torch.cuda, "stream", lambda _: nullcontext())
    update = trainer._update

    def updating() -> None:
        said.append("update")
        update()

    trainer._update = updating
    trainer.train(problem.rows(1))
    assert said == ["fork", "fork", "fork", "join", "update"]
