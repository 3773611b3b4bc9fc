"""How many lines of code train, counted in trainers whose code is known."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from benchmarks.worker.code_lines import code_lines

BASE = '''
    """A module."""
    from toys.two.parts import Net, step

    RATE = 0.1  # 1
    UNUSED = 0.2


    class Eager:  # not counted: its methods are
        """A class."""

        compiler = "none"
        passes = (  # 2
            1,  # 3
        )  # 4

        def __init__(self, start):  # 5
            """Docstring,

            of several lines.
            """
            self.net = Net(start)  # 6
            self.reset(start)  # 7

        def reset(self, start):  # 8
            # A comment.

            self.start = start  # 9

        def train(self, rows):  # 10
            for row in rows:  # 11
                self.once(row)  # 12

        def once(self, row):  # 13
            step(self.net, row, RATE, self.passes)  # 14

        # Read by certificate and ledger; never timed.

        def losses(self):
            return self.reader()

        def reader(self):
            return [UNUSED, self.compiler]
'''
PARTS = '''
    import functools


    class Net:  # 15
        """Counted as a whole."""

        def __init__(self, start):  # 16
            self.start = start  # 17


    @functools.cache  # 18
    def step(net, row, rate, passes):  # 19
        text = "# no comment"  # 20
        return net.start + len(text)  # 21


    def other():
        return 1
'''
CHILD = """
    from toys.two import parts
    from toys.two.base import Eager


    class Compiled(Eager):
        def __init__(self, start):  # 1 more, and the one above it still
            super().__init__(start)  # 2

        def once(self, row):  # 3; the one above it does not count, nor what it alone names
            parts.step(self.net, row)  # 4
            assert isinstance(self, Eager)  # 5; a class of its own, of which nothing else counts
"""
NUMBERS = count()


@pytest.fixture
def toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Imports a module of the toy backend, in a package with a name of its own."""
    name = f"toys{next(NUMBERS)}"
    folder = tmp_path / name / "two"
    folder.mkdir(parents=True)
    monkeypatch.syspath_prepend(tmp_path)
    for module, text in (("base", BASE), ("parts", PARTS), ("child", CHILD)):
        (folder / f"{module}.py").write_text(dedent(text).replace("toys.two", f"{name}.two"))
    yield lambda module: importlib.import_module(f"{name}.two.{module}")
    for module in [module for module in sys.modules if module.partition(".")[0] == name]:
        del sys.modules[module]


def test_what_training_names_is_counted_once_and_nothing_else(toys: Any) -> None:
    assert code_lines(toys("base").Eager) == 21


def test_of_overridden_methods_the_one_in_effect_counts(toys: Any) -> None:
    # Less `once` of the parent (2), and the constants that only it names (1 and 3).
    assert code_lines(toys("child").Compiled) == 21 + 5 - 2 - 1 - 3


def test_a_class_without_a_source_has_no_count() -> None:
    made: Any = type("Made", (), {"__module__": "nowhere.to.be"})
    with pytest.raises(ImportError):
        code_lines(made)
