"""One step and one block of 200 steps of every case, timed by pytest-benchmark.

    pytest benchmarks/                                      all cases that can run here
    pytest benchmarks/ -k "jax and block"                   some of them
    pytest benchmarks/ --benchmark-json=now.json            keep the figures
    pytest benchmarks/ --benchmark-compare                  compare with the last saved run

The trainers are those that `run_all.py` times, the device is synchronised inside the timed call,
and all cases of a table train equally many steps. The cases are those that stand for a tier:
taught, expert and limit. All frameworks share one process here, in the order of the list, and what
the first case sets for the whole process holds for later ones where it cannot be set again. For
figures to quote use `run_all.py`, where each case has its own process and they take turns.
"""

import itertools
import os
import warnings
from collections.abc import Iterator
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from backends.contract import Adam, Array, Execution, Network, Trainer, Training
from backends.registry import BACKENDS, load, missing_packages
from benchmarks.errors import UsageError
from benchmarks.machine import lock
from benchmarks.machine.environment import gpus
from benchmarks.machine.probe import trial
from benchmarks.machine.settings import SHARED_GPU, affinity, best_cpus, default_threads
from benchmarks.plan import data
from benchmarks.plan.blocks import STEPS_PER_CALL, TIMED_STEPS
from benchmarks.plan.workload import batch_rows, initial_parameters
from benchmarks.worker.ledger import described

BATCH_SIZE = 128
TRAINED_STEPS = 4000

CASES = [
    pytest.param(name, mode, input_, device, id=f"{name}-{mode}-{input_}-{device}", marks=marks)
    for device, marks in (("cpu", []), ("gpu", [pytest.mark.gpu]))
    for name, backend in BACKENDS.items()
    for mode, about in backend.modes.items()
    for input_ in about.inputs[:1]
    if device in backend.devices and device in about.devices
    if about.stands or name == "numpy"
]


@pytest.fixture(scope="session", autouse=True)
def alone() -> Iterator[None]:
    """The lock and the CPUs of this process; pytest ends with one line where a run is going on."""
    try:
        with lock.held(wait=False, say=warnings.warn), affinity(best_cpus(default_threads())):
            yield
    except UsageError as error:
        pytest.exit(str(error), returncode=2)


@cache
def dataset() -> data.Dataset:
    """MNIST, read once."""
    return data.load()


@cache
def backend_for(name: str, device: str) -> ModuleType:
    """The backend, configured for this process; skips the test where it cannot run."""
    if missing := missing_packages(BACKENDS[name]):
        pytest.skip(f"not installed: {', '.join(missing)}")
    if device == "gpu" and not gpus():
        pytest.skip("no GPU here")
    if device == "cpu" and gpus():
        pytest.skip("a process uses one device, and there is a GPU here")
    # The frameworks share the GPU here; JAX reads this when it is imported.
    os.environ.update(SHARED_GPU)
    module = load(BACKENDS[name])
    if problem := trial(module, device, default_threads()):
        pytest.skip(f"{name} cannot compute on the {device}: {problem}")
    return module


def make_trainer(name: str, mode: str, input_: str, device: str) -> tuple[Trainer, dict[str, str]]:
    """A trainer of a case, and what it really uses, with the versions of its packages."""
    module = backend_for(name, device)
    network = Network(layer_sizes=(dataset().pixels, 512, 512, dataset().classes))
    training = Training(
        network=network,
        adam=Adam(),
        training_set=dataset().training.stored_as("float32"),
        start=initial_parameters(network, seed=0),
    )
    threads = default_threads()
    execution = Execution(
        mode=mode, input=input_, device=device, threads=threads, steps_per_call=STEPS_PER_CALL
    )
    module.configure(execution)
    trainer: Trainer = module.TRAINERS[mode](training, execution)
    return trainer, described(trainer.describe()) | module.versions()


def blocks_of(steps: int) -> Iterator[Array]:
    """The blocks of a training run one after another, (steps, BATCH_SIZE) each, again and again."""
    rows = batch_rows(len(dataset().training.labels), BATCH_SIZE, TRAINED_STEPS, seed=0)
    return itertools.cycle(rows.reshape(-1, steps, BATCH_SIZE))


@pytest.mark.parametrize("steps", [1, TIMED_STEPS["cpu"]], ids=["step", "block"])
@pytest.mark.parametrize(("name", "mode", "input_", "device"), CASES)
def test_training(
    benchmark: Any, name: str, mode: str, input_: str, device: str, steps: int
) -> None:
    trainer, used = make_trainer(name, mode, input_, device)
    blocks = blocks_of(steps)

    def train() -> None:
        trainer.train(next(blocks))
        trainer.synchronise()

    train()
    benchmark.group = "one step" if steps == 1 else f"one block of {steps} steps"
    benchmark.extra_info |= used | {"steps": steps, "batch_size": BATCH_SIZE}
    benchmark(train)
    assert all(np.isfinite(weight).all() for weight, _ in trainer.parameters())
