"""Which cases of a launch lead: to the state that all set out from, and in learning."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.plan.cases import Case
from benchmarks.session.launch import Launch
from benchmarks.session.worker_process import WorkerError


def case(backend: str, mode: str) -> Case:
    return Case(backend=backend, mode=mode, input="resident", precision="float32", device="cpu")


@dataclass
class Stub:
    """A member whose worker is none."""

    case: Case
    step_seconds: float
    flushes: bool = False
    end_states: list[str] = field(default_factory=lambda: ["same"])
    compares: bool = True
    fails: bool = False
    trains: bool = True
    asked: list[Any] = field(default_factory=list)

    @property
    def warmup(self) -> Any:
        return SimpleNamespace(step_seconds=self.step_seconds)

    def train_to(self, step: int) -> str:
        if self.fails:
            raise WorkerError("gone")
        return f"{self.case.name} at {step}"

    def start_from(self, state: str, step: int) -> None:
        self.asked.append((state, step))


def launch_of(*members: Stub, uncertified: tuple[Case, ...] = (), other_bits: bool = False) -> Any:
    launch: Any = Launch.__new__(Launch)
    launch._members = list(members)
    launch.number = 0
    launch.plan = SimpleNamespace(middle=1000, other_bits=other_bits)
    launch.state = SimpleNamespace(
        uncertified=set(uncertified),
        failures={},
        writer=SimpleNamespace(keep_output=lambda *_: None, append=lambda *_, **__: None),
        progress=SimpleNamespace(failed=lambda *_: None),
    )
    worker = SimpleNamespace(end=lambda: None, output=lambda: "")
    launch._workers = {member.case: worker for member in members}
    return launch


FAST, KEEPS, SLOW = case("jax", "scan"), case("pytorch", "eager"), case("numpy", "eager")


def test_the_fastest_that_keeps_denormal_numbers_trains_to_the_middle() -> None:
    members = Stub(FAST, 1.0, flushes=True), Stub(KEEPS, 2.0), Stub(SLOW, 3.0)
    launch_of(*members)._set_out()
    assert [member.asked for member in members] == [[("pytorch eager at 1000", 1000)]] * 3


@pytest.mark.parametrize(("uncertified", "fails"), [((KEEPS,), False), ((), True)])
def test_one_that_is_not_certified_or_fails_does_not(
    uncertified: tuple[Case, ...], fails: bool
) -> None:
    members = Stub(FAST, 1.0, flushes=True), Stub(KEEPS, 2.0, fails=fails), Stub(SLOW, 3.0)
    launch = launch_of(*members, uncertified=uncertified)
    launch._set_out()
    assert members[0].asked == [("numpy eager at 1000", 1000)]
    assert (KEEPS in launch.state.failures) == fails


def test_each_frameworks_fastest_certified_case_learns() -> None:
    members = (
        *(Stub(FAST, 1.0), Stub(case("jax", "compiled"), 2.0), Stub(KEEPS, 2.0)),
        *(Stub(case("pytorch", "fused"), 1.0), Stub(case("numpy", "floor"), 0.1, compares=False)),
    )
    launch = launch_of(*members, uncertified=(case("pytorch", "fused"),))
    assert [member.case for member in launch._learners()] == [FAST, KEEPS]


def test_of_those_in_other_bits_the_fastest_learns_too_where_that_is_asked_for() -> None:
    members = (
        *(Stub(FAST, 1.0), Stub(case("jax", "compiled"), 2.0)),
        *(Stub(case("jax", "nnx"), 3.0, end_states=["other"]),),
        *(Stub(case("jax", "eager"), 4.0, end_states=["third"]),),
    )
    for other_bits, modes in ((False, ["scan"]), (True, ["scan", "nnx"])):
        learners = launch_of(*members, other_bits=other_bits)._learners()
        assert [member.case.mode for member in learners] == modes
