"""PyTorch's CUDA graphs, with stand-ins for CUDA's part: what is captured, replayed and restored.

Capturing executes nothing, and replaying executes what was captured: the stand-in runs the steps
while they are captured, puts everything back, and runs them again when replayed. That a real graph
does the same is tested on a GPU: see tests/gpu.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from backends.contract import Array, Execution, Trainer
from benchmarks.worker import certificate
from benchmarks.worker.reference import STEPS as CERTIFIED_STEPS
from benchmarks.worker.reference import make_reference
from tests.backends.test_certificates import make_workload, random_images
from tests.backends.test_contract import CHECKS, make
from tests.backends.test_floor import BATCH_SIZE, NETWORK, STEPS, expected
from tests.conftest import STEPS_PER_CALL, Problem, configured


class FakeCuda:
    """The part of `torch.cuda` that graphs are made with, for one owner of `state` and `steps`."""

    def __init__(self, state: Any, steps: Any) -> None:
        self.state, self.steps = state, steps
        self.captured = 0

    def install(self, torch: Any, patch: pytest.MonkeyPatch) -> None:
        stream = SimpleNamespace(wait_stream=lambda _: None)
        fakes = {
            "Stream": lambda: stream,
            "current_stream": lambda: stream,
            "stream": nullcontext,
            "synchronize": lambda: None,
            "CUDAGraph": lambda: SimpleNamespace(),
            "graph": self.graph,
        }
        for name, fake in fakes.items():
            patch.setattr(torch.cuda, name, fake)

    @contextmanager
    def graph(self, graph: Any) -> Iterator[None]:
        before = [(tensor, tensor.clone()) for tensor in self.state()]
        yield
        self.captured += 1
        replay = self.steps()
        for tensor, value in before:
            tensor.detach().copy_(value)
        graph.replay = replay


@pytest.fixture
def torch() -> Any:
    return configured("pytorch").torch


@pytest.fixture
def patch(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    return monkeypatch


def on_fake_gpu(trainer: Any, torch: Any, patch: pytest.MonkeyPatch) -> FakeCuda:
    """Have the trainer train as it does on a GPU."""

    def steps() -> Any:
        return lambda: trainer._graph_losses.copy_(trainer._graph_steps())

    fake = FakeCuda(
        lambda: [*trainer._model.parameters(), *trainer._optimizer_tensors()],
        steps,
    )
    fake.install(torch, patch)
    trainer.train = lambda rows: trainer._replay(torch.from_numpy(rows))
    return fake


@pytest.mark.parametrize("traces", [True, False], ids=["one program", "forward and backward"])
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_contract_through_graphs(
    check: Any, traces: bool, problem: Problem, torch: Any, patch: pytest.MonkeyPatch
) -> None:
    """Also as by older versions, whose compiler takes no derivative into a program."""
    module = configured("pytorch")
    if traces and not module.TRACES_DERIVATIVES:
        pytest.skip("this version of torch.compile takes no derivative into a program")
    patch.setattr(module, "TRACES_DERIVATIVES", traces)
    patch.setattr(torch._dynamo.config, "trace_autograd_ops", False, raising=False)

    def maker(given: Problem) -> Trainer:
        trainer_type = configured("pytorch").TRAINERS["multistep"]
        trainer = make(trainer_type, given, "multistep", "resident")
        on_fake_gpu(trainer, torch, patch)
        return trainer

    check(maker, problem)


@pytest.mark.parametrize("before", [0, 1, STEPS_PER_CALL - 1])
def test_capturing_trains_nothing_but_the_steps_asked(
    before: int, problem: Problem, torch: Any, patch: pytest.MonkeyPatch
) -> None:
    """Also where steps were trained before the first whole call, and with a rest behind it."""
    module = configured("pytorch")
    graphed, plain = (
        make(module.TRAINERS["multistep"], problem, "multistep", "resident") for _ in range(2)
    )
    fake = on_fake_gpu(graphed, torch, patch)
    for steps in (before, 2 * STEPS_PER_CALL + 1):
        rows = problem.rows(steps)
        if steps:
            graphed.train(rows)
            plain.train(rows)
    assert fake.captured == 1
    for own, other in zip(graphed.parameters(), plain.parameters(), strict=True):
        for a, b in zip(own, other, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)


@pytest.mark.parametrize("restored", [True, False])
def test_the_certificate_is_that_of_the_graph(
    restored: bool, torch: Any, patch: pytest.MonkeyPatch
) -> None:
    """Also of one of more steps than are looked at; here of one that warming up has advanced."""
    module, steps = configured("pytorch"), CERTIFIED_STEPS + 2
    training = random_images()
    work = make_workload(7, training=training, batch_size=19, learning_rate=0.01)
    reference = make_reference(work, "float64", training, steps)
    trainer = module.TRAINERS["multistep"](
        work.network,
        work.adam,
        Execution(mode="multistep", precision="float64", steps_per_call=steps),
        reference.batches.stored_as("float64"),
        reference.start,
    )
    fake = on_fake_gpu(trainer, torch, patch)
    patch.setattr(trainer, "describe", lambda: {"steps_per_call": str(steps)})
    if not restored:
        patch.setattr(module, "put_back", lambda *_: None)
    checks = certificate.certify(
        trainer, work.adam, reference, reference.batch_rows, "float64", "exact"
    )
    assert fake.captured == 1
    failed = certificate.first_failure(checks)
    assert (failed.stage if failed else "") == ("" if restored else "loss_10_steps")


def test_a_warm_up_that_counts_is_noticed(
    problem: Problem, torch: Any, patch: pytest.MonkeyPatch
) -> None:
    module = configured("pytorch")
    patch.setattr(module, "put_back", lambda *_: None)
    graphed, plain = (
        make(module.TRAINERS["multistep"], problem, "multistep", "resident") for _ in range(2)
    )
    on_fake_gpu(graphed, torch, patch)
    rows = problem.rows(STEPS_PER_CALL)
    graphed.train(rows)
    plain.train(rows)
    assert not np.allclose(graphed.parameters()[0][0], plain.parameters()[0][0], rtol=1e-6)


def test_a_floor_takes_the_steps_asked_through_graphs(
    torch: Any, patch: pytest.MonkeyPatch
) -> None:
    floor = configured("pytorch").Floor(
        NETWORK, BATCH_SIZE, Execution(mode="floor", precision="float64", steps_per_call=3)
    )
    counted, step = [0], floor._step

    def counting() -> None:
        counted[0] += 1
        step()

    def steps() -> Any:
        captured, counted[0] = counted[0] - 1, 0  # one before, to warm up
        return lambda: [step() for _ in range(captured)]

    state = [*floor._weights, *floor._first_moments, *floor._second_moments]
    fake = FakeCuda(lambda: state, steps)
    fake.install(torch, patch)
    patch.setattr(floor, "_step", counting)
    rows: Array = np.empty((STEPS, 0))
    patch.setattr(floor, "_device", SimpleNamespace(type="cuda"))
    floor.train(rows)
    assert fake.captured == 2  # of three steps, and of the one left over
    for found, wanted in zip(floor.arrays(), expected(), strict=True):
        for own, other in zip(found, wanted, strict=True):
            np.testing.assert_allclose(own, other, rtol=1e-9, atol=1e-12)
