"""How long the program of a trainer is: its lines of code that train.

These are the lines, without blank lines, comments and docstrings, of the methods `__init__` and
`train` of a trainer's class, and of every method, function, class and constant of the backends that
these name, or that what they name does in turn. What only certificate and ledger read is not
reached from there, and the contract is nobody's code. The sources are read, nothing is run.
"""

import ast
import importlib
import inspect
from collections.abc import Iterator
from functools import cache
from types import ModuleType

from backends.contract import Trainer

ENTRANCES = ("__init__", "train")
Place = tuple[str, str, str]
"""A module, a class in it or nothing, and the name of what is defined there."""


def _source(module: str) -> str:
    """The source of a module; raises OSError where there is none."""
    return inspect.getsource(importlib.import_module(module))


@cache
def definitions(module: str) -> dict[tuple[str, str], ast.stmt]:
    """What a module defines, by class (or nothing) and name; raises OSError without a source."""
    tree = ast.parse(_source(module))
    found = {("", name): node for node in tree.body for name in _names(node)}
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            found |= {(node.name, name): part for part in node.body for name in _names(part)}
    return found


def _names(node: ast.stmt) -> list[str]:
    """The names that a statement defines; none for an import."""
    match node:
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.Assign(targets=targets):
            return [target.id for target in targets if isinstance(target, ast.Name)]
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr()):
            return [name]
    return []


def code_lines(trainer: type[Trainer]) -> int:
    """Count the lines of code that train; raises OSError where a source cannot be read."""
    # backends.jax.taught lies in backends, as does backends.keras.trainer.
    package = trainer.__module__.rpartition(".")[0].rpartition(".")[0]
    classes = [one for one in trainer.__mro__ if _within(one.__module__, package)]
    own = {(one.__module__, "", one.__name__) for one in classes}
    lines: set[tuple[str, int]] = set()
    seen: set[Place] = set()
    waiting = [place for name in ENTRANCES for place in _in_effect(classes, name)]
    while waiting:
        place = waiting.pop()
        if place in seen:
            continue
        seen.add(place)
        module, class_name, name = place
        node = definitions(module)[class_name, name]
        lines |= {(module, number) for number in _code(module, node)}
        named = _named_by(node, module, class_name, classes, package)
        # A class of the trainer's own is counted by what is used of it.
        waiting += [place for place in named if place not in own]
    return len(lines)


def _within(module: str, package: str) -> bool:
    """Whether a module lies in a folder of `package`, as a backend's do, and not in that itself."""
    return bool(package) and module.startswith(f"{package}.") and module.count(".") > 1


def _in_effect(classes: list[type], name: str, after: str = "") -> Iterator[Place]:
    """Where the first of `classes`, or the first after the one called `after`, defines a name."""
    names = [one.__name__ for one in classes]
    for one in classes[names.index(after) + 1 if after in names else 0 :]:
        if (one.__name__, name) in definitions(one.__module__):
            yield one.__module__, one.__name__, name
            return


def _named_by(
    node: ast.stmt, module: str, class_name: str, classes: list[type], package: str
) -> Iterator[Place]:
    """What a definition names of the trainer's own classes and of the package's modules."""
    for part in ast.walk(node):
        match part:
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name):
                yield from _in_effect(classes, name)
            case ast.Attribute(value=ast.Call(func=ast.Name(id="super")), attr=name):
                yield from _in_effect(classes, name, after=class_name)
            case ast.Attribute(value=ast.Name(id=owner), attr=name):
                value = getattr(importlib.import_module(module), owner, None)
                if isinstance(value, ModuleType) and _within(value.__name__, package):
                    yield from _defined(value.__name__, name)
            case ast.Name(id=name):
                yield from _resolved(module, name, package)


def _defined(module: str, name: str) -> Iterator[Place]:
    if ("", name) in definitions(module):
        yield module, "", name


def _resolved(module: str, name: str, package: str) -> Iterator[Place]:
    """Where a name that a module uses is defined: there, or where it imports it from."""
    if ("", name) in definitions(module):
        yield module, "", name
        return
    origin = _imports(module).get(name, "")
    if _within(origin, package):
        yield from _resolved(origin, name, package)


@cache
def _imports(module: str) -> dict[str, str]:
    """The modules that a module imports names from, by name; a name must not be changed by `as`."""
    return {
        alias.name: node.module
        for node in ast.parse(_source(module)).body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }


def _code(module: str, node: ast.stmt) -> set[int]:
    """The numbers of a definition's lines that hold more than blanks, comment or docstring."""
    lines = _source(module).splitlines()
    texts = {
        number
        for part in ast.walk(node)
        if isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant)
        for number in range(part.lineno, (part.end_lineno or part.lineno) + 1)
    }
    first = min(part.lineno for part in (node, *getattr(node, "decorator_list", ())))
    return {
        number
        for number in range(first, (node.end_lineno or node.lineno) + 1)
        if (line := lines[number - 1].strip()) and not line.startswith("#") and number not in texts
    }
