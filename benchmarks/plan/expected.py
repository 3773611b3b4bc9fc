"""What a run is expected to take: start-ups, certificates, blocks and what is learned.

Before the first launch has ended, the parts are those of two cores of an AMD EPYC (Zen 4); from
then on what the run itself took.
"""

from collections.abc import Sequence

from benchmarks.plan.blocks import READ_EVERY
from benchmarks.plan.cases import Case
from benchmarks.plan.plan import Plan

START_SECONDS = {"pytorch": 4.0, "tensorflow": 6.0, "jax": 3.0, "numpy": 1.0}
"""Import, build and first call with filled caches, and warm-up, by framework."""
FIRST_SECONDS = {"pytorch": 8.0, "tensorflow": 2.0, "jax": 1.0, "numpy": 0.0}
"""What the first call takes longer with empty caches."""
OTHER_SECONDS = 4.0
"""The same for a framework that is not named here."""
CERTIFICATE_SECONDS, CHECK_SECONDS = 6.0, 2.2
"""Certifying a case of which no evidence is kept; training a timed block again."""
FLOPS = 5e10
"""Operations a second and thread in a typical training step."""
READING_SECONDS = 0.05
"""A reading of a training whose learning is measured."""
CLOSING_SECONDS = 6.0
"""For the report."""


def seconds(plan: Plan, launches: Sequence[float] = ()) -> float:
    """What the whole run is expected to take, in seconds; never more than its time limit.

    `launches` are the seconds that finished ones took, the first with its certificates and what
    was learned in it.
    """
    first, later = _first(plan), _later(plan)
    if len(launches) > 1:
        later = launches[-1]
    elif launches:
        later *= launches[0] / first
    spent = sum(launches) or first
    # Beyond those that are planned, one that is under way is all that is known of.
    left = max(plan.launches - max(len(launches), 1), 1 if launches else 0)
    return min(spent + left * later + CLOSING_SECONDS, plan.time_limit_seconds)


def _step(plan: Plan) -> float:
    """Seconds of a typical step."""
    workload = plan.workload
    return workload.network.step_flops(workload.batch_size) / (FLOPS * plan.threads)


def _later(plan: Plan) -> float:
    """A launch after the first one."""
    workers = (*plan.cases, *plan.floors)
    blocks = plan.rounds * plan.block.steps * len(workers) * _step(plan)
    return sum(map(_start, workers)) + blocks + CHECK_SECONDS * len(plan.cases)


def _first(plan: Plan) -> float:
    """The first launch, which certifies programs, compiles them anew and learns."""
    frameworks = {case.backend for case in plan.cases}
    learned_steps = plan.learning_seeds * len(frameworks) * plan.workload.steps
    learning = learned_steps * (_step(plan) + READING_SECONDS / READ_EVERY)
    compiling = sum(FIRST_SECONDS.get(case.backend, OTHER_SECONDS) for case in plan.cases)
    return _later(plan) + learning + compiling + CERTIFICATE_SECONDS * len(plan.cases)


def _start(worker: Case) -> float:
    return START_SECONDS.get(worker.backend, OTHER_SECONDS)


def clock(seconds: float) -> str:
    """A duration as minutes and seconds: 2:05."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
