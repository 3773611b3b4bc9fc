"""On a GPU: the clock stops when the GPU has finished, and graphs train no further steps."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
import pytest

from backends.contract import Adam, Execution, Network, Trainer, Training, TrainingSet
from backends.ladder import FLOOR
from backends.registry import BACKENDS
from benchmarks.plan.workload import initial_parameters
from benchmarks.validation.card.checks import not_chosen
from benchmarks.worker.clock import train_block
from tests.conftest import STEPS_PER_CALL, Problem, back_to_float64, configured, device
from tests.support.contract_checks import make
from tests.support.floors import training as training_of_floor
from tests.support.gpu import FRAMEWORKS, GPU_MODES

pytestmark = pytest.mark.gpu

LARGE = Network(layer_sizes=(1024, 4096, 4096, 10))
BATCH = 8192
STEPS = 6
"""Steps of some 20 ms each: much longer than a framework takes to launch one, and so few that they
fit the queues of CUDA."""
WAITS = {
    **{
        ("tensorflow", mode): "Keras reads its metrics at the end, and so waits by itself"
        for mode in ("keras-fit", "keras-fit-jit", "keras-fit-xla", "train-on-batch")
    },
    ("jax", "eager"): "JAX lets the host run ahead by 32 operations, which is less than a step",
}
"""Modes in which the host waits by itself, and why."""


@pytest.fixture(autouse=True)
def reset_precision() -> None:
    back_to_float64()


def of_floor(name: str) -> Execution:
    """How a floor is executed."""
    return Execution(
        mode=FLOOR,
        device=device(),
        steps_per_call=STEPS // 2,
        products=not_chosen(name, LARGE),
    )


def seconds(trained: Any, rows: Any) -> float:
    """The shortest of three blocks, by the worker's clock."""
    return min(train_block(trained, rows[:0], rows).seconds for _ in range(3))


@pytest.mark.parametrize(("name", "mode"), GPU_MODES)
def test_a_synchronisation_left_out_shows(
    name: str, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A block without it is faster than its matrix products can be."""
    if (name, mode) in WAITS:
        pytest.skip(WAITS[name, mode])
    if "resident" not in BACKENDS[name].modes[mode].inputs:
        pytest.skip("cuts its batches on the host, which takes longer than a step here")
    module = configured(name)
    execution = Execution(
        mode=mode,
        input=BACKENDS[name].modes[mode].inputs[0],
        device=device(),
        threads=2,
        steps_per_call=STEPS // 2,
    )
    module.configure(execution)
    generator = np.random.default_rng(0)
    training_set = TrainingSet(
        images=generator.random((BATCH, LARGE.layer_sizes[0]), dtype=np.float32),
        labels=generator.integers(0, 10, BATCH).astype(np.int32),
    )
    training = Training(
        network=LARGE,
        adam=Adam(),
        training_set=training_set,
        start=initial_parameters(LARGE, 0),
    )
    trainer: Trainer = module.TRAINERS[mode](training, execution)
    rows = np.tile(np.arange(BATCH, dtype=np.int32), (STEPS, 1))
    floor = module.Floor(training, BATCH, of_floor(name))
    for warmed in (trainer, floor):
        train_block(warmed, rows[:0], rows)
    least, honest = seconds(floor, rows), seconds(trainer, rows)
    assert honest > 0.7 * least

    wait = trainer.synchronise
    left_out = []
    for _ in range(3):
        with monkeypatch.context() as patch:
            patch.setattr(trainer, "synchronise", lambda: None)
            left_out.append(train_block(trainer, rows[:0], rows).seconds)
        wait()
    assert min(left_out) < 0.5 * least


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_a_floor_waits_too(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = configured(name)
    module.configure(of_floor(name))
    floor = module.Floor(training_of_floor("float32", LARGE, BATCH), BATCH, of_floor(name))
    rows = np.tile(np.arange(BATCH, dtype=np.int32), (STEPS, 1))
    train_block(floor, rows[:0], rows)
    honest = seconds(floor, rows)
    wait = floor.synchronise
    monkeypatch.setattr(floor, "synchronise", lambda: None)
    left_out = train_block(floor, rows[:0], rows).seconds
    wait()
    assert left_out < 0.7 * honest


GRAPHED = [
    mode
    for mode, about in BACKENDS["pytorch"].modes.items()
    if about.devices == ("gpu",) and mode != "compiled-reduce-overhead"
]
"""PyTorch's modes that graphs.py records."""


@pytest.mark.parametrize("before", [0, 1, STEPS_PER_CALL - 1])
@pytest.mark.parametrize("mode", GRAPHED)
def test_capturing_a_graph_trains_nothing(
    mode: str, before: int, problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where steps were trained before the first whole call, and with a rest behind it."""
    graphs = import_module("backends.pytorch.graphs")
    trainer_type = configured("pytorch").TRAINERS[mode]
    captured: list[int] = []
    capture = graphs.capture

    def counting(*arguments: Any) -> Any:
        captured.append(1)
        return capture(*arguments)

    monkeypatch.setattr(graphs, "capture", counting)
    graphed: Any = make(trainer_type, problem, mode, "resident")
    plain: Any = make(trainer_type, problem, mode, "resident")
    plain.graphed = False
    for steps in (before, 2 * STEPS_PER_CALL + 1, STEPS_PER_CALL - 1):
        rows = problem.rows(steps)
        if steps:
            graphed.train(rows)
            for batch in rows:  # one a call: no graph
                plain.train(batch[None])
            for trainer in (graphed, plain):
                trainer.synchronise()
    assert len(captured) == 1
    for layer, other in zip(graphed.parameters(), plain.parameters(), strict=True):
        for a, b in zip(layer, other, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize(("name", "mode"), GPU_MODES)
def test_peak_memory_counts_the_training_set_and_what_is_trained(
    name: str, mode: str, problem: Problem
) -> None:
    """The peak is that of the whole process, so here it can only be too large."""
    trainer = make(
        configured(name).TRAINERS[mode], problem, mode, BACKENDS[name].modes[mode].inputs[0]
    )
    trainer.train(problem.rows(1))
    trainer.synchronise()
    peak = trainer.peak_device_bytes()
    assert peak is not None
    # Parameters, gradients and two moments, of eight bytes.
    assert peak > 4 * 8 * problem.network.parameter_count
