"""The rungs of a framework's ladder: how its training is written, from taught to limit.

Each backend declares its own in its `ladder.py`, which imports no framework; `registry.py` collects
them.
"""

import json
from dataclasses import asdict, dataclass, field
from typing import Self

from backends.contract import PRECISIONS, TEXTBOOK, Execution

TAUGHT, EXPERT, LIMIT = TIERS = ("taught", "expert", "limit")
"""By whom one would ask: the framework's own first tutorial; its performance pages; the fastest
program known in it."""
RESIDENT, STREAMED = ("resident",), ("streamed",)
FLOOR = "floor"  # the mode of floors.Floor, the least that a step can be; it trains nothing


@dataclass(frozen=True, kw_only=True)
class Mode:
    """One way of writing the training in a framework: a rung of its ladder."""

    tier: str  # of TIERS
    about: str  # what the program is
    below: str = ""  # the mode that it changes; empty where a ladder begins
    change: str = ""  # the one change from that mode; empty where a ladder begins
    source: str = ""  # the page of the framework's documentation that teaches it
    stands: bool = False  # whether it stands for its tier where tiers are compared
    private: str = ""  # what it calls that the framework does not document; best nothing
    inputs: tuple[str, ...] = RESIDENT + STREAMED
    devices: tuple[str, ...] = ("cpu", "gpu")
    many_steps: bool = False  # whether `train` works in calls of Execution.steps_per_call steps
    packages: tuple[str, ...] = ()  # what it imports besides the backend's packages
    environment: dict[str, str] = field(default_factory=dict)  # variables that it is started with
    overlaps: bool = False  # whether a group sums up gradients while others are still computed
    libraries: tuple[str, ...] = ()  # those that all its products can be told to take, if any


@dataclass(frozen=True, kw_only=True)
class Backend:
    """A framework's entry: where its code lies, what it needs, and what it offers."""

    name: str
    title: str
    module: str  # the dotted name of the module that has what contract.py lists
    packages: tuple[str, ...]  # the names that it imports
    distributions: tuple[str, ...]  # names on PyPI, whose versions a run records
    modes: dict[str, Mode]  # its ladder; a mode comes after the one below it
    group_modes: dict[str, Mode] = field(default_factory=dict)  # those of a group of ranks
    not_in_groups: dict[str, str] = field(default_factory=dict)  # modes that fail in one, and why
    one_machine: bool = False  # whether the ranks of its groups must share a memory
    renamed: dict[str, str] = field(default_factory=dict)  # modes' former names
    devices: tuple[str, ...] = ("cpu", "gpu")
    precisions: tuple[str, ...] = tuple(PRECISIONS)
    adam_forms: tuple[str, ...] = (TEXTBOOK,)  # the forms that its cases can run with
    folder: str = ""  # where `module` is imported from; empty for this checkout

    def steps_per_call(self, execution: Execution) -> int:
        """The number of steps that one call of the framework trains."""
        mode = self.mode(execution.mode)
        many_steps = execution.mode == FLOOR or (mode is not None and mode.many_steps)
        return execution.steps_per_call if many_steps else 1

    def mode(self, name: str) -> Mode | None:
        """Its mode of this name, in one process or in a group; None where it has none."""
        return self.modes.get(name) or self.group_modes.get(name)

    def standing_for(self, tier: str, device: str, *, group: bool = False) -> tuple[str, ...]:
        """The modes that stand for a tier on a device, or do in a `group`: one, or none."""
        return tuple(
            name
            for name, mode in (self.group_modes if group else self.modes).items()
            if mode.stands and mode.tier == tier and device in mode.devices
        )

    def to_json(self) -> str:
        """The entry as text, for another process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The entry that `to_json` has written."""
        fields = json.loads(text)
        ladders = ("modes", "group_modes")
        return cls(**fields | {n: {k: Mode(**m) for k, m in fields[n].items()} for n in ladders})
