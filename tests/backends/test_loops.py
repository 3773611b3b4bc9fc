"""Loops inside a compiled program: how many steps they have is known when it is compiled.

Where it is not, a GPU hands the loop's condition back to the host at every step.
"""

from __future__ import annotations

import re
from typing import Any

from backends.contract import Execution, Network
from tests.backends.test_contract import make
from tests.conftest import STEPS_PER_CALL, Problem, configured


def trip_counts(program: str) -> list[str]:
    """Of the loops in an optimized HLO program."""
    assert " while(" in program
    return re.findall(r'"known_trip_count":\{"n":"(\d+)"', program)


def tensorflow_program(function: Any, *arguments: Any) -> str:
    return str(function.experimental_get_compiler_ir(*arguments)(stage="optimized_hlo"))


def test_tensorflow_knows_how_many_steps_it_trains(problem: Problem) -> None:
    module = configured("tensorflow")
    trainer: Any = make(module.TRAINERS["multistep"], problem, "multistep", "resident")
    rows = module.tf.constant(problem.rows(STEPS_PER_CALL))
    assert trip_counts(tensorflow_program(trainer._train_steps, rows)) == [str(STEPS_PER_CALL)]


def test_tensorflow_knows_how_many_steps_its_floor_has() -> None:
    module = configured("tensorflow")
    execution = Execution(mode="floor", steps_per_call=STEPS_PER_CALL)
    floor = module.Floor(Network(layer_sizes=(5, 4, 3)), 2, execution)
    assert trip_counts(tensorflow_program(floor._train_steps, 9)) == ["9"]


def test_a_loop_whose_steps_are_not_known_is_noticed() -> None:
    module = configured("tensorflow")

    def steps(x: Any, count: Any) -> Any:
        for _ in module.tf.range(count):
            x = x * 1.5 + 1.0
        return x

    program = module.tf.function(steps, jit_compile=True)
    count = module.tf.constant(7)
    assert trip_counts(tensorflow_program(program, module.tf.constant(1.0), count)) == []


def test_jax_knows_how_many_steps_it_trains(problem: Problem) -> None:
    module = configured("jax")
    trainer: Any = make(module.TRAINERS["multistep"], problem, "multistep", "resident")
    rows = problem.rows(STEPS_PER_CALL)
    arguments = trainer._state, trainer._images, trainer._labels, rows
    program = trainer._jitted_steps.lower(*arguments).compile().as_text()
    assert trip_counts(program) == [str(STEPS_PER_CALL)]


def test_jax_knows_how_many_steps_its_floor_has() -> None:
    module = configured("jax")
    execution = Execution(mode="floor", steps_per_call=STEPS_PER_CALL)
    floor = module.Floor(Network(layer_sizes=(5, 4, 3)), 2, execution)
    program = floor._jitted_steps.lower(floor._state, floor._images, 9).compile().as_text()
    assert trip_counts(program) == ["9"]
