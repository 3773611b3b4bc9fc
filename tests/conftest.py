"""What several tests share: backends set up once a process, and small workloads."""

from __future__ import annotations

import itertools
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from _pytest.mark import ParameterSet

from backends.contract import Adam, Array, Execution, Network, Parameters, Training, TrainingSet
from backends.ladder import FLOOR
from backends.registry import BACKENDS, load, missing_packages
from benchmarks.machine import disturbance, lock
from benchmarks.machine.probe import trial
from benchmarks.machine.settings import SHARED_GPU
from benchmarks.reports import page
from benchmarks.reports.figures import marks as figure_marks
from tests.support.images import write_image_set
from tests.support.runs import SMALL

QUICK = (("numpy", "eager"), ("pytorch", "eager"))
"""The backends and modes of the quick loop; the others compile, which takes seconds each."""


@pytest.fixture(scope="session", autouse=True)
def kept_elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What a run keeps for later runs is kept away from what the user's have."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


def marks(name: str, mode: str) -> list[pytest.MarkDecorator]:
    """The marks of the tests of a backend's mode."""
    return [] if (name, mode) in QUICK else [pytest.mark.slow]


def cases_on(device: str) -> list[ParameterSet]:
    """Every backend, mode and input on a device.

    Without the modes that are started with variables of their own: see test_environments.py.
    """
    return [
        pytest.param(name, mode, input_, id=f"{name}-{mode}-{input_}", marks=marks(name, mode))
        for name, backend in BACKENDS.items()
        for mode, about in backend.modes.items()
        for input_ in about.inputs
        if device in backend.devices and device in about.devices and not about.environment
    ]


def modes_on(device: str) -> list[ParameterSet]:
    """Every backend and mode on a device."""
    return [
        pytest.param(name, mode, id=f"{name}-{mode}", marks=marks(name, mode))
        for name, backend in BACKENDS.items()
        for mode, about in backend.modes.items()
        if device in backend.devices and device in about.devices and not about.environment
    ]


def first_input(name: str, mode: str) -> str:
    """The first of the inputs that a mode can take."""
    return BACKENDS[name].modes[mode].inputs[0]


def stands(case: ParameterSet) -> bool:
    """Whether a case's mode stands for its tier, or is its backend's only one."""
    modes = BACKENDS[str(case.values[0])].modes
    return modes[str(case.values[1])].stands or len(modes) == 1


CASES, MODES = cases_on("cpu"), modes_on("cpu")
STANDING, STANDING_MODES = list(filter(stands, CASES)), list(filter(stands, MODES))
RUNGS = [
    case
    for case in CASES
    if not stands(case)
    and case.values[2] == BACKENDS[str(case.values[0])].modes[str(case.values[1])].inputs[0]
]
"""The other rungs of the ladders, each with its first input: compiling them takes most time."""


STEPS_PER_CALL = 4
THREADS = 2
BATCH_SIZE = 19
IMAGES = 200


_device = "cpu"


def device() -> str:
    """What the tests of this process compute on: one device, since JAX's is set once a process."""
    return _device


def pytest_configure(config: pytest.Config) -> None:
    """`pytest -m gpu` computes on the GPU; everything else on the CPU, and sees no GPU."""
    global _device
    _device = "gpu" if config.option.markexpr == "gpu" else "cpu"
    # Before a framework is imported; all of them share the GPU.
    os.environ.update(SHARED_GPU if _device == "gpu" else {"CUDA_VISIBLE_DEVICES": "-1"})


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if device() == "cpu":
        reason = "tests on a GPU have a process of their own: pytest -m gpu"
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason=reason))


_configured: dict[str, ModuleType] = {}
_problems: dict[str, str] = {}


def configured(name: str) -> ModuleType:
    """A backend, set up for float64 on `device()`: its settings are those of the whole process.

    Skips where it cannot compute there.
    """
    if name not in _configured:
        missing = missing_packages(BACKENDS[name])
        if missing:
            pytest.skip(f"not installed: {', '.join(missing)}")
        module = load(BACKENDS[name])
        if name == "pytorch":
            # It gives up compiling a function after eight trainers; a reset after each test would
            # compile again what several tests share.
            sys.modules["torch"]._dynamo.config.recompile_limit = 10_000  # type: ignore[attr-defined]
        if device() == "gpu":
            if name not in _problems:
                _problems[name] = trial(module, "gpu", THREADS)
            if _problems[name]:
                pytest.skip(f"{name} sees no usable GPU: {_problems[name]}")
        _configured[name] = module
        back_to_float64()
    return _configured[name]


def set_up(
    name: str, mode: str, precision: str, steps_per_call: int = STEPS_PER_CALL
) -> tuple[ModuleType, Execution]:
    """A backend, set up anew for a mode with its first input in a precision, and that execution.

    To be undone by `back_to_float64`.
    """
    module = configured(name)
    execution = Execution(
        mode=mode,
        input="resident" if mode == FLOOR else first_input(name, mode),
        precision=precision,
        device=device(),
        threads=THREADS,
        steps_per_call=steps_per_call,
    )
    module.configure(execution)
    return module, execution


def back_to_float64() -> None:
    """Undo what a test has set: others rely on the precision that `configured` sets."""
    for module in _configured.values():
        module.configure(
            Execution(mode="eager", precision="float64", device=device(), threads=THREADS)
        )


class Problem:
    """A small workload: random images, a network of odd sizes, and batches."""

    def __init__(self, *hidden: int, learning_rate: float = 0.01, seed: int = 0) -> None:
        generator = np.random.default_rng(seed)
        self.network = Network(layer_sizes=(23, *hidden, 7))
        self.adam = Adam(learning_rate=learning_rate)
        self.training_set = TrainingSet(
            images=generator.random((IMAGES, 23)),
            labels=generator.integers(0, 7, IMAGES).astype(np.int32),
        )
        sizes = self.network.layer_sizes
        self.start: Parameters = [
            (generator.uniform(-1, 1, (m, n)) * m**-0.5, generator.uniform(-1, 1, n) * m**-0.5)
            for m, n in itertools.pairwise(sizes)
        ]
        self.generator = generator

    @property
    def training(self) -> Training:
        """The whole of it, as a trainer is given it."""
        return Training(
            network=self.network,
            adam=self.adam,
            training_set=self.training_set,
            start=self.start,
        )

    def rows(self, steps: int) -> Array:
        """Batches drawn anew."""
        shape = (steps, BATCH_SIZE)
        return self.generator.integers(0, IMAGES, shape).astype(np.int32)


@pytest.fixture
def problem() -> Problem:
    return Problem(17, 11)


@pytest.fixture(scope="session", autouse=True)
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tests wait for no run on this machine, and refuse none; nor do they mind other load."""
    disturbance.LOOK_SECONDS, disturbance.OTHER_SECONDS = 0, math.inf
    os.environ[lock.FOLDER] = str(tmp_path_factory.mktemp("lock"))


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small image set that can be learned, for --data-dir."""
    return write_image_set(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="session")
def small(images: Path) -> tuple[str, ...]:
    """Arguments for NumPy on a tiny network and the small image set."""
    return ("--data-dir", str(images), *SMALL)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """No figure is drawn and Vega is in no page, which takes as long as a short run itself."""
    monkeypatch.setattr(figure_marks, "image", lambda *_: b"<svg/>")
    monkeypatch.setattr(page, "_vega", lambda: "")


@pytest.fixture
def broken_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A PyTorch that processes started from here cannot import; the error's message."""
    package, message = tmp_path / "broken" / "torch", "libfoo.so missing"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(f"raise ImportError({message!r})")
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    return message
