"""The presets: ready-made choices of cases and effort."""

from dataclasses import dataclass

from backends.contract import Adam
from backends.registry import BACKENDS


@dataclass(frozen=True, kw_only=True)
class BatchReadings:
    """When to read loss and accuracy on a batch of validation images, as a training loop prints."""

    every: int
    """Updates between two readings; the first reading follows the first update."""
    images: int
    """Images in each batch."""


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A ready-made choice of cases and effort."""

    about: str
    modes: dict[str, tuple[str, ...]]
    """The modes of each backend."""
    inputs: tuple[str, ...] | None
    """The inputs of every mode that offers them; None for the first that a mode offers."""
    steps: int
    """Training steps in a launch."""
    time_limit_minutes: float
    launches: int = 3
    floors: bool = True
    """Whether cases are compared with the machine's limit, which takes start-ups of its own."""
    learning_rate: float = Adam.learning_rate
    """The default is that of Adam's paper and of every framework. At the tutorial's 0.01 this
    network ends at 97.0 to 97.3%, differently for each seed, so that a few seeds say nothing about
    the backends."""
    readings: BatchReadings | None = None


PRESETS = {
    "quick": Preset(
        about="what each framework's tutorials teach, 500 steps a launch; under 2 minutes",
        modes={"pytorch": ("eager",), "tensorflow": ("compiled",), "jax": ("compiled",)},
        inputs=None,
        steps=500,
        time_limit_minutes=1.9,
        floors=False,
    ),
    "default": Preset(
        about="the modes that people choose between, 4,000 steps a launch; under 12 minutes",
        modes={
            "pytorch": ("eager", "compiled", "multistep"),
            "tensorflow": ("compiled", "multistep", "fit"),
            "jax": ("compiled", "multistep"),
        },
        inputs=None,
        steps=4000,
        time_limit_minutes=11.5,
    ),
    "full": Preset(
        about="every mode with every input, 4,000 steps a launch; up to an hour and a half",
        modes={name: tuple(backend.modes) for name, backend in BACKENDS.items()},
        inputs=("resident", "streamed"),
        steps=4000,
        time_limit_minutes=90.0,
    ),
    "tutorial": Preset(
        about="the original tutorial's loop in each framework, 4,001 steps of streamed batches, "
        "and what it prints; under 7 minutes",
        modes={"pytorch": ("eager",), "tensorflow": ("compiled",), "jax": ("compiled",)},
        inputs=("streamed",),
        steps=4001,
        time_limit_minutes=6.5,
        floors=False,
        learning_rate=0.01,
        readings=BatchReadings(every=1000, images=512),
    ),
}
