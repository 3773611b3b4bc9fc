"""Which floors a run has, and how the libraries that one worker chooses come to the others."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from backends.contract import Adam, Network, product_names
from backends.ladder import FLOOR
from backends.registry import BACKENDS, missing_packages
from benchmarks.bundle.writer import Rows
from benchmarks.commands import certify, measure, running
from benchmarks.machine import probe
from benchmarks.machine.probe import Probe
from benchmarks.plan import data
from benchmarks.plan.blocks import BlockLength
from benchmarks.plan.cases import Case
from benchmarks.plan.plan import Plan
from benchmarks.plan.presets import PRESETS
from benchmarks.plan.variants import Overrides
from benchmarks.plan.workload import Workload
from benchmarks.session import certifying, launch
from benchmarks.session.jobs import make_job
from benchmarks.worker.messages import Block, Certified, Job, Ready, WarmUp

INSTALLED = {name for name, backend in BACKENDS.items() if not missing_packages(backend)}
PYTORCH = Case(backend="pytorch", mode="eager", input="resident", precision="float32", device="cpu")
ONE_THREAD = replace(PYTORCH, variant="one", overrides=Overrides(threads=1))
NO_DATA: Any = None
REFERENCES: Any = {("float32", "textbook", size): None for size in (2, 32, 128)}
LENGTH = BlockLength(lead_in=0, timed=50)
BLOCK = Block(steps=50, seconds=1.0, dispatch_seconds=1.0, cpu_seconds=1.0)
WARM = WarmUp(steps=50, seconds=1.0, steady=True, block=LENGTH, last=BLOCK)
CERTIFIED = Certified(checks=(), ledger={}, versions={}, parts={}, seconds=0.0)
READY = Ready(import_seconds=1, build_seconds=1, first_call_seconds=1, first_call_steps=1)


def plan_of(monkeypatch: pytest.MonkeyPatch, *words: str, broken: tuple[str, ...] = ()) -> Plan:
    """The plan of a command line, where the backends that are `broken` cannot run."""

    def probes(programs: list[Any], _: str) -> dict[Any, Probe]:
        problems = {one: "lib.so missing" if one.backend in broken else "" for one in programs}
        return {one: Probe(problem=problem) for one, problem in problems.items()}

    monkeypatch.setattr(probe, "probe_each", probes)
    arguments = measure.parser().read(["--backends", "numpy", *words])
    cases = running.choose_cases(arguments, PRESETS[arguments.preset].inputs)
    return running.prepare(arguments, cases)[0]


def floors(plan: Plan) -> set[str]:
    assert {floor.mode for floor in plan.floors} <= {FLOOR}
    return {floor.backend for floor in plan.floors}


def test_floors_are_of_all_that_can_run_whatever_is_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert floors(plan_of(monkeypatch)) == INSTALLED
    assert floors(plan_of(monkeypatch, "--floors", "jax,numpy")) == {"jax", "numpy"}
    for without in (("--floors", "none"), ("--preset", "quick")):
        assert floors(plan_of(monkeypatch, *without)) == set()
    # NumPy has no products in bfloat16.
    arguments = ("--backends", "jax", "--precision", "bfloat16")
    assert floors(plan_of(monkeypatch, *arguments)) == INSTALLED - {"numpy"}


def test_a_floor_that_cannot_run_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of(monkeypatch, broken=("jax",))
    assert floors(plan) == INSTALLED - {"jax"}
    assert "jax floor cannot run: lib.so missing" in plan.notes


def test_what_is_only_certified_has_no_floors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "probe_each", lambda programs, _: dict.fromkeys(programs, Probe()))
    arguments = certify.parser().read(["numpy"])
    assert running.prepare(arguments, running.choose_cases(arguments))[0].floors == ()


@pytest.fixture
def plan() -> Plan:
    """A case, its control, a variant and its floor."""
    return Plan(
        name="test",
        workload=Workload(
            network=Network(layer_sizes=(784, 16, 10)),
            adam=Adam(),
            batch_size=32,
            steps=600,
            training_images=55_000,
            data_dir=str(data.EMBEDDED),
        ),
        cases=(PYTORCH, replace(PYTORCH, repetition=1), ONE_THREAD),
        skipped={},
        floors=(replace(PYTORCH, mode=FLOOR),),
        launches=2,
        seed=0,
        threads=2,
        time_limit_seconds=60,
    )


class Workers:
    """Workers that note their jobs, and make a choice of their own where a job has none."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, module: Any) -> None:
        self.jobs: list[Job] = []
        monkeypatch.setattr(module, "start_worker", lambda *_: SimpleNamespace(end=lambda: None))
        monkeypatch.setattr(module, "make_ready", self.ready)

    def ready(self, _: object, job: Job, *_others: object) -> tuple[Ready, Certified, WarmUp]:
        self.jobs.append(job)
        products = job.execution.products or {"forward 1": f"library {len(self.jobs)}"}
        return READY, replace(CERTIFIED, products=products), WARM

    def choices(self, mode: str, threads: int = 2) -> list[dict[str, str]]:
        """The libraries that the workers of a mode with so many threads were given."""
        executions = [job.execution for job in self.jobs]
        return [e.products for e in executions if (e.mode, e.threads) == (mode, threads)]


def check_choices(given: list[dict[str, str]]) -> None:
    """The first was given no libraries, and all others what the first has chosen."""
    first, *later = given
    assert first == {}
    assert later
    assert len({tuple(one.items()) for one in later}) == 1
    assert all(later)


def shared_by(plan: Plan) -> launch.SharedState:
    """What the launches of a plan share, where nothing is written or shown."""
    nothing = SimpleNamespace(append=lambda *_, **__: None, columns={})
    events = ("launch", "starting", "ready")
    return launch.SharedState(
        plan=plan,
        writer=SimpleNamespace(rows=lambda **_: Rows(nothing, {})),  # type: ignore[arg-type]
        progress=SimpleNamespace(**dict.fromkeys(events, lambda *_: None)),  # type: ignore[arg-type]
        training=SimpleNamespace(),  # type: ignore[arg-type]
    )


def test_no_worker_but_the_first_is_started_when_the_time_is_over(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is ready can then still be timed."""
    workers, state = Workers(monkeypatch, launch), shared_by(plan)
    launch.Launch(0, state).start(REFERENCES, tmp_path, end=0.0)
    assert len(workers.jobs) == 1
    assert state.out_of_time


def test_the_first_choice_of_libraries_is_handed_to_all_later_workers(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers, state = Workers(monkeypatch, launch), shared_by(plan)
    for number in range(2):
        launch.Launch(number, state).start(REFERENCES, tmp_path, end=math.inf)
    assert len(workers.choices("eager")) == 4
    check_choices(workers.choices("eager"))
    # A floor may call more, and what a variant does otherwise may make others the fastest.
    check_choices(workers.choices(FLOOR))
    check_choices(workers.choices("eager", threads=1))


def test_the_choice_is_handed_on_where_cases_are_only_certified(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers = Workers(monkeypatch, certifying)
    monkeypatch.setattr(certifying, "make_references", lambda *_: REFERENCES)
    checked = SimpleNamespace(checks=(), passed=True)
    monkeypatch.setattr(certifying, "train_and_check", lambda *_: (None, checked))
    assert all(one.passed for one in certifying.certify_cases(plan, NO_DATA))
    check_choices(workers.choices("eager"))


def test_a_case_may_name_the_library_of_all_its_products(plan: Plan) -> None:
    case = replace(PYTORCH, overrides=Overrides(products="onednn"))
    job = make_job(plan, case, 0, REFERENCES, products={"forward 1": "mkl"})
    assert job.products == "onednn"
    assert job.execution.products == dict.fromkeys(product_names(plan.workload.network), "onednn")
