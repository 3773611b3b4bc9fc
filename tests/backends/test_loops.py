"""Loops inside a compiled program: how many steps they have is known when it is compiled.

Where it is not, a GPU hands the loop's condition back to the host at every step.
"""

from __future__ import annotations

from typing import Any

import pytest

from backends.contract import Execution, Network, Program
from tests.conftest import STEPS_PER_CALL, Problem, configured
from tests.support.contract_checks import make
from tests.support.programs import trip_counts


def optimized(name: str, program: Program) -> str:
    """The optimized HLO of a program that XLA compiles."""
    function, arguments = program
    if name == "jax":
        return str(function.lower(*arguments).compile().as_text())
    return str(function.experimental_get_compiler_ir(*arguments)(stage="optimized_hlo"))


@pytest.mark.parametrize("name", ["tensorflow", "jax"])
def test_the_number_of_steps_is_known(name: str, problem: Problem) -> None:
    trainer = make(configured(name).TRAINERS["multistep"], problem, "multistep", "resident")
    program = trainer.program(problem.rows(STEPS_PER_CALL))
    assert trip_counts(optimized(name, program)) == [str(STEPS_PER_CALL)]


@pytest.mark.parametrize("name", ["tensorflow", "jax"])
def test_the_number_of_steps_of_a_floor_is_known(name: str) -> None:
    execution = Execution(mode="floor", steps_per_call=STEPS_PER_CALL)
    floor = configured(name).Floor(Network(layer_sizes=(5, 4, 3)), 2, execution)
    assert trip_counts(optimized(name, floor.program(9))) == ["9"]


def test_a_loop_whose_steps_are_not_known_is_noticed() -> None:
    configured("tensorflow")
    tf = pytest.importorskip("tensorflow")

    def steps(x: Any, count: Any) -> Any:
        for _ in tf.range(count):
            x = x * 1.5 + 1.0
        return x

    program = Program(tf.function(steps, jit_compile=True), (tf.constant(1.0), tf.constant(7)))
    assert trip_counts(optimized("tensorflow", program)) == []
