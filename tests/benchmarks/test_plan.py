"""The cases that a command line selects, and the plan of a run."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from backends.contract import Adam, Network
from backends.registry import BACKENDS
from benchmarks.errors import UsageError
from benchmarks.plan.blocks import STEPS_PER_CALL
from benchmarks.plan.cases import Case, select_cases, with_control
from benchmarks.plan.plan import Plan
from benchmarks.plan.presets import PRESETS
from benchmarks.plan.workload import Workload
from benchmarks.session.jobs import make_job


def names(preset: str = "default", **named: list[str] | None) -> list[str]:
    wanted = {"backends": None, "modes": None, "inputs": None} | named
    cases = select_cases(preset=PRESETS[preset], precision="float32", device="cpu", **wanted)  # type: ignore[arg-type]
    return [case.name for case in cases]


def test_keras_adam() -> None:
    def chosen(keras_adam: str) -> list[tuple[str, str]]:
        cases = select_cases(
            preset=PRESETS["quick"], backends=None, modes=None, inputs=None,
            precision="float32", device="cpu", keras_adam=keras_adam,
        )  # fmt: skip
        return [(case.name, case.adam) for case in cases]

    stock = ("tensorflow compiled stock-adam", "epsilon-hat")
    common = ("tensorflow compiled", "textbook")
    assert stock not in chosen("textbook")
    assert stock in chosen("stock")
    assert common not in chosen("stock")
    assert {stock, common} <= set(chosen("both"))
    # No other backend has a second form of Adam.
    assert all(adam == "textbook" for name, adam in chosen("both") if name != stock[0])


def plan_of(steps: int, *cases: Case) -> Plan:
    return Plan(
        name="test",
        workload=Workload(
            network=Network(layer_sizes=(4, 3)),
            adam=Adam(),
            batch_size=2,
            steps=steps,
            training_images=10,
            data_dir="",
        ),
        cases=cases,
        skipped={},
        launches=1,
        seed=0,
        threads=1,
        time_limit_seconds=1,
    )


def case(backend: str, mode: str) -> Case:
    return Case(backend=backend, mode=mode, input="resident", precision="float32", device="cpu")


def test_every_preset_has_every_framework() -> None:
    for preset in PRESETS:
        assert {"pytorch", "tensorflow", "jax"} <= {name.split()[0] for name in names(preset)}


def test_full_has_every_case_there_is() -> None:
    modes = [mode for backend in BACKENDS.values() for mode in backend.modes.values()]
    inputs = [len(mode.inputs) for mode in modes if "cpu" in mode.devices]
    assert len(names("full")) == len(set(names("full"))) == sum(inputs)


def test_a_mode_that_offers_no_resident_input_is_streamed() -> None:
    assert names(backends=["tensorflow"], modes=["keras-fit-xla"]) == [
        "tensorflow keras-fit-xla streamed"
    ]


def test_a_backend_outside_the_preset_runs_all_its_modes() -> None:
    assert names(backends=["numpy"]) == ["numpy eager"]


def test_named_modes_replace_the_presets() -> None:
    assert names(backends=["jax"], modes=["eager"]) == ["jax eager"]


def test_named_inputs_select() -> None:
    selected = names(backends=["pytorch"], modes=["eager"], inputs=["streamed", "resident"])
    assert selected == ["pytorch eager", "pytorch eager streamed"]


def test_a_combination_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(UsageError, match=r"run_all\.py list"):
        names(backends=["jax"], modes=["keras-fit-xla"])


def test_the_control_repeats_a_tuned_case() -> None:
    cases = with_control([case("jax", "scan"), case("numpy", "eager")])
    assert [c.name for c in cases] == ["jax scan", "numpy eager", "jax scan (control)"]
    assert [c.name for c in with_control([case("numpy", "eager")])][1] == "numpy eager (control)"


@pytest.mark.parametrize(
    ("mode", "steps", "lead_in", "timed", "rounds"),
    [
        # Whole calls of 50 steps where two of them fit.
        *(("scan", 4000, 50, 200, 16), ("scan", 4001, 50, 200, 16)),
        *(("scan", 500, 50, 50, 5), ("scan", 120, 50, 50, 1)),
        *(("scan", 60, 10, 50, 1), ("scan", 7, 1, 6, 1), ("scan", 1, 0, 1, 1)),
        *(("compiled", 4000, 10, 200, 19), ("compiled", 500, 10, 50, 8)),
        *(("compiled", 60, 10, 50, 1), ("compiled", 40, 6, 34, 1), ("compiled", 3, 0, 3, 1)),
    ],
)
def test_blocks_fill_the_training(
    mode: str, steps: int, lead_in: int, timed: int, rounds: int
) -> None:
    plan = plan_of(steps, case("jax", mode))
    assert (plan.block.lead_in, plan.block.timed, plan.rounds) == (lead_in, timed, rounds)


def test_all_that_is_compared_has_blocks_of_one_length() -> None:
    """Of whole calls as soon as one case works in such calls, floors included."""
    plan = plan_of(4000, case("jax", "compiled"), case("tensorflow", "xla-loop"))
    cases = (*plan.cases, case("numpy", "floor"))
    plan = replace(plan, floors=cases[2:])
    lengths = [make_job(plan, one, 0, references_for(plan)).block for one in cases]
    assert {(one.lead_in, one.timed) for one in lengths} == {(50, 200)}
    with_floor = replace(plan, cases=cases[:1])
    assert with_floor.block == plan.block


def references_for(plan: Plan) -> Any:
    """References that are only handed on."""
    return {(one.precision, one.adam, plan.workload.batch_size): None for one in plan.cases}


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({}, ""),
        ({"steps": 3}, "a block has no lead-in"),
        ({"steps": 60}, "60 steps are one block"),
        ({"launches": 1}, "one launch gives no intervals"),
        ({"launches": 1, "until_settled": True}, ""),
        (
            {"time_limit_seconds": 2},
            "the time limit of 2 s is short for the start of 1 worker twice",
        ),
        ({"shuffled": True}, "the training images are sorted by class"),
    ],
)
def test_what_a_plan_lacks_is_said_before_it_starts(changes: dict[str, Any], note: str) -> None:
    sound = replace(plan_of(500, case("numpy", "eager")), launches=3, time_limit_seconds=100)
    work = {key: changes.pop(key) for key in ("steps", "shuffled") if key in changes}
    plan = replace(sound, workload=replace(sound.workload, **work), **changes)
    assert len(plan.notes) == bool(note)
    assert note in "".join(plan.notes)


def test_what_memory_cannot_hold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of(500, case("numpy", "eager"))
    assert plan.memory_problem() == ""
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=2 * 2**30))
    many = replace(plan, cases=plan.cases * 2, floors=plan.cases)
    assert "the 2 GiB of this machine hold about 2: name fewer" in many.memory_problem()
    monkeypatch.undo()
    wide = replace(plan.workload, network=Network(layer_sizes=(784, 2**20, 2**20, 10)))
    assert "GiB of memory" in replace(plan, workload=wide).memory_problem()
    long = replace(plan.workload, steps=2**31 - 1, batch_size=55_000)
    assert "GiB of memory" in replace(plan, workload=long).memory_problem()


HOST_SECONDS = 50e-6
"""What starting and ending a block takes the host, at most: rows copied, a launch, a wait."""


@pytest.mark.parametrize(
    ("steps", "block", "rounds"),
    [(4000, 250, 11), (4001, 250, 11), (700, 250, 2), (360, 250, 1), (200, 150, 1), (7, 6, 1)],
)
def test_blocks_on_a_gpu_are_long_enough_for_steps_of_20_microseconds(
    steps: int, block: int, rounds: int
) -> None:
    plan = plan_of(steps, replace(case("jax", "scan"), device="gpu"))
    assert (plan.block.timed, plan.rounds) == (block, rounds)
    assert block % STEPS_PER_CALL == 0 or steps < 2 * STEPS_PER_CALL
    if steps > 350:
        assert 0.01 * block * 20e-6 >= HOST_SECONDS
        floor = replace(case("jax", "floor"), device="gpu")
        given = make_job(plan, floor, 0, {})
        assert given.block == plan.block


def test_slow_modes_have_shorter_blocks() -> None:
    plan = plan_of(4000, case("jax", "eager"))
    assert plan.block.timed == 200
