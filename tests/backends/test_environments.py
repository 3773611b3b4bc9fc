"""Modes that are started with variables of their own, each in a process that has them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from backends.registry import BACKENDS, missing_packages
from benchmarks.machine.settings import ROOT

CONTRACT = """
import sys
from tests.conftest import Problem, configured
from tests.support.contract_checks import CHECKS, check_synchronise, make, reusing

make_trainer, trainers = configured(sys.argv[1]).TRAINERS["keras-fit"], []
def maker(problem):
    return make(make_trainer, problem, "keras-fit", "streamed")
for check in CHECKS:
    check(reusing(maker, trainers), Problem(17, 11))
check_synchronise(maker)
print("tensorflow" in sys.modules)
"""

POOL = """
from tests.conftest import configured
configured("tensorflow")
import tensorflow
print(tensorflow.config.threading.get_inter_op_parallelism_threads())
"""


def printed(program: str, name: str, mode: str) -> str:
    """What a program prints that is started as the mode's worker is."""
    entry = BACKENDS[name]
    if missing := missing_packages(entry) + missing_packages(entry, mode):
        pytest.skip(f"not installed: {', '.join(missing)}")
    done = subprocess.run(
        [sys.executable, "-c", program, name],
        cwd=ROOT, env=os.environ | entry.modes[mode].environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["jax", "pytorch"])
def test_keras_keeps_the_contract_without_tensorflow(name: str) -> None:
    """Importing TensorFlow takes seconds, and starts threads."""
    assert printed(CONTRACT, name, "keras-fit") == "False"


def test_one_pool_has_one_thread() -> None:
    """Its program is that of another mode."""
    assert printed(POOL, "tensorflow", "compiled-one-pool") == "1"
