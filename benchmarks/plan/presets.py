"""The presets: ready-made choices of cases and effort."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from backends.contract import Adam
from backends.ladder import EXPERT, TIERS
from backends.registry import BACKENDS

Modes = dict[str, tuple[str, ...]]
"""Modes of each backend."""


def standing(tiers: tuple[str, ...], device: str, *, group: bool = False) -> Modes:
    """The modes that stand for these tiers on a device, of the backends that have any.

    Those of one process, or those of a `group` of ranks.
    """
    found = {
        name: tuple(
            mode for tier in tiers for mode in entry.standing_for(tier, device, group=group)
        )
        for name, entry in BACKENDS.items()
    }
    return {name: modes for name, modes in found.items() if modes}


standing_in_groups = partial(standing, TIERS, group=True)


def groups(device: str) -> Modes:
    """All modes in which a group of ranks trains on a device."""
    return {
        name: tuple(mode for mode, about in entry.group_modes.items() if device in about.devices)
        for name, entry in BACKENDS.items()
        if entry.group_modes
    }


def rungs(device: str) -> Modes:
    """All modes on a device of the backends whose modes stand for a tier."""
    return {
        name: tuple(mode for mode, about in BACKENDS[name].modes.items() if device in about.devices)
        for name in standing(TIERS, device)
    }


def every(device: str) -> Modes:
    """All modes of all backends on a device."""
    return {
        name: tuple(mode for mode, about in entry.modes.items() if device in about.devices)
        for name, entry in BACKENDS.items()
    }


def of_the_tutorial(_device: str) -> Modes:
    """What is nearest to the original tutorial's loop in each framework."""
    return {"pytorch": ("eager",), "tensorflow": ("compiled",), "jax": ("compiled",)}


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
    modes: Callable[[str], Modes]
    """The modes of each backend on a device."""
    group_modes: Callable[[str], Modes] = standing_in_groups
    """Those of groups of ranks, where any are asked for."""
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
    learning_seeds: int = 4
    """Whole trainings of each framework's fastest case, at the least; see Plan."""
    other_bits: bool = False


PRESETS = {
    "quick": Preset(
        about="the expert tier's speeds; under 2 minutes",
        modes=partial(standing, (EXPERT,)),
        inputs=None,
        steps=500,
        time_limit_minutes=1.9,
        floors=False,
        learning_seeds=0,
    ),
    "default": Preset(
        about="each framework's taught, expert and limit case, and whether the frameworks learn "
        "alike in 2,000 steps; under 12 minutes",
        modes=partial(standing, TIERS),
        inputs=None,
        steps=2000,
        time_limit_minutes=11.5,
    ),
    "ladders": Preset(
        about="every rung of every framework's ladder; under 40 minutes",
        modes=rungs,
        group_modes=groups,
        inputs=None,
        steps=1000,
        time_limit_minutes=39.0,
    ),
    "full": Preset(
        about="every mode with every input, and what they learn in 4,000 steps; up to an hour and "
        "a half",
        modes=every,
        group_modes=groups,
        inputs=("resident", "streamed"),
        steps=4000,
        time_limit_minutes=90.0,
        other_bits=True,
    ),
    "tutorial": Preset(
        about="the original tutorial's loop in each framework, 4,001 steps of streamed batches, "
        "and what it prints; under 7 minutes",
        modes=of_the_tutorial,
        inputs=("streamed",),
        steps=4001,
        time_limit_minutes=6.5,
        floors=False,
        learning_rate=0.01,
        readings=BatchReadings(every=1000, images=512),
        learning_seeds=0,
    ),
}
