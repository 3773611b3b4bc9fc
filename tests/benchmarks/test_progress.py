"""What a run says of itself while it goes on, and what it expects to take."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console

from benchmarks.plan import expected
from benchmarks.plan.cases import Case
from benchmarks.plan.plan import Plan
from benchmarks.terminal.progress import RunProgress
from benchmarks.worker.messages import Block, Certified, Ready
from tests.benchmarks.test_plan import plan_of

CASES = tuple(
    Case(backend=name, mode="eager", input="resident", precision="float32", device="cpu")
    for name in ("pytorch", "jax", "tensorflow", "numpy")
)
TIME = re.compile(r"\[(\d+):(\d\d) of about (\d+):(\d\d)\] ")


def plan(**changes: Any) -> Plan:
    return replace(plan_of(2000, *CASES), launches=3, time_limit_seconds=3600, **changes)


class Watch:
    """A clock that is set by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_estimate_counts_start_ups_and_certificates() -> None:
    bare = replace(plan(), cases=CASES[:1])
    more = expected.seconds(plan()) - expected.seconds(bare)
    starts = sum(expected.START_SECONDS[case.backend] for case in CASES[1:])
    assert more > 3 * starts + 3 * (expected.CERTIFICATE_SECONDS + 3 * expected.CHECK_SECONDS)


def test_the_estimate_follows_what_launches_take_and_the_time_limit() -> None:
    before = expected.seconds(plan())
    assert expected.seconds(plan(), [200.0, 100.0]) == 200 + 100 + 100 + expected.CLOSING_SECONDS
    assert expected.seconds(plan(), [400.0]) > expected.seconds(plan(), [40.0])
    assert expected.seconds(replace(plan(), time_limit_seconds=30.0)) == 30.0
    assert before < expected.seconds(replace(plan(), launches=6))


def test_plain_lines_have_times_and_are_ten_a_minute_at_most() -> None:
    watch, console = Watch(), Console(file=io.StringIO(), width=80)
    started = cast(Ready, SimpleNamespace(import_seconds=1, build_seconds=1, first_call_seconds=1))
    passed = cast(Certified, SimpleNamespace(passed=True, checks=(1,)))
    block = Block(steps=10, seconds=0.1, dispatch_seconds=0.0, cpu_seconds=0.0)
    with RunProgress(plan(), console, watch) as progress:
        for launch in range(3):
            progress.launch(launch, launch)
            for case in CASES:
                progress.starting(case)
                watch.now += 1.5
                progress.ready(case, started, passed)
            for number in range(40):
                for case in CASES:
                    progress.block(case, number, block)
                    watch.now += 0.4
    printed = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    times = [TIME.match(line) for line in printed]
    assert all(times), printed
    assert printed[0].endswith("in all")
    seconds = [60 * int(found[1]) + int(found[2]) for found in times if found]
    for begin in seconds:
        assert sum(begin <= one < begin + 60 for one in seconds) <= 10 + 1, printed
    # What is left shrinks to nothing, and is never less than what was spent.
    ends = [60 * int(found[3]) + int(found[4]) for found in times if found]
    assert all(end >= spent for end, spent in zip(ends, seconds, strict=True))
    assert ends[-1] - seconds[-1] < 0.2 * ends[0] + expected.CLOSING_SECONDS


def test_a_failure_is_always_said() -> None:
    console = Console(file=io.StringIO(), width=80)
    with RunProgress(plan(), console, Watch()) as progress:
        progress.failed(CASES[0], "no [memory]")
        progress.departed(CASES[1])
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    assert "pytorch eager failed: no [memory]" in printed
    assert "jax eager: a timed block departs from the training" in printed.replace("\n", " ")


@pytest.mark.parametrize(("seconds", "shown"), [(0, "0:00"), (65.9, "1:05"), (690, "11:30")])
def test_durations(seconds: float, shown: str) -> None:
    assert expected.clock(seconds) == shown
