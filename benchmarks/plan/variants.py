"""Variants: what a case does otherwise than the run, and how a command line names it."""

import re
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from backends.contract import EPSILON_HAT, TEXTBOOK
from backends.ladder import RESIDENT, STREAMED, Mode
from backends.registry import BACKENDS
from benchmarks.errors import UsageError
from benchmarks.machine.settings import available_cpus, own_problem
from benchmarks.privacy import shown
from benchmarks.schema import repetition_in
from benchmarks.words import similar_to

KEYS = ("python", "env", "threads", "products")
"""What a variant can override; `env` is followed by a colon and the name of a variable."""
FORM = "NAME=CASE[,python=PROGRAM][,env:NAME=VALUE][,threads=N][,products=LIBRARY]"
LONGEST_NAME = 30
# A value may hold commas, as XLA_FLAGS does, so a comma separates only where a key follows.
_SEPARATOR = re.compile(r",\s*(?=(?:python|threads|products)=|env:)")
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._+ -]*[A-Za-z0-9._+-])?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, kw_only=True)
class Overrides:
    """What a case does otherwise than the run. Fields that are empty are as in the run."""

    python: str = ""
    """The program that runs its worker, such as that of another virtual environment."""
    environment: tuple[tuple[str, str], ...] = ()
    """Environment variables and their values."""
    threads: int = 0
    products: str = ""
    """The library of all its products, in a mode that can choose."""

    @property
    def program(self) -> str:
        """The Python that runs the worker."""
        return self.python or sys.executable

    def text(self) -> str:
        """What is otherwise, as the ledger has it: "threads=1, env:XLA_FLAGS=--x"; may be empty.

        It may be written into a bundle: no program's path, and no value that may be a secret.
        """
        parts = ["another Python"] if self.python else []
        parts += [f"threads={self.threads}"] if self.threads else []
        parts += [f"products={self.products}"] if self.products else []
        variables = (f"env:{name}={shown(name, value)}" for name, value in self.environment)
        return ", ".join([*parts, *variables])


NOTHING = Overrides()


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A variant of a case, as a command line names it."""

    name: str
    backend: str
    mode: str
    input: str
    adam: str
    overrides: Overrides


def parse(text: str) -> Variant:
    """The variant that a text in the FORM above names; raises UsageError."""
    name, equals, rest = text.partition("=")
    if not equals:
        raise UsageError(f"{text or 'nothing'} names no case; write {FORM}")
    case, *settings = _SEPARATOR.split(rest)
    check_name(name)
    if "," in case:
        raise UsageError(_unknown_key(case.partition(",")[2].strip()))
    backend, mode, input_, adam = find_case(case)
    overrides = _overrides(settings, f"{backend} {mode}", BACKENDS[backend].modes[mode])
    if overrides == NOTHING:
        problem = f"{text} changes nothing, and every run repeats one of its cases as its control"
        raise UsageError(f"{problem}; name what differs: {FORM}")
    return Variant(
        name=name, backend=backend, mode=mode, input=input_, adam=adam, overrides=overrides
    )


def check_name(name: str) -> None:
    """Raise UsageError where a variant cannot have this name, which reports show in brackets."""
    if not name:
        raise UsageError(f"a variant needs a name; write {FORM}")
    if len(name) > LONGEST_NAME:
        problem = f"has {len(name)} characters, and a variant's name at most {LONGEST_NAME}"
        raise UsageError(f"{name[:LONGEST_NAME]}… {problem}")
    if not _NAME.fullmatch(name) or "  " in name:
        raise UsageError(
            f"{name!r} is no name for a variant: letters, digits, single blanks and . _ + - only"
        )
    if repetition_in(f"case ({name.lower()})"):
        raise UsageError(f"{name} is what a case is called that a run repeats; name it otherwise")


def find_case(text: str) -> tuple[str, str, str, str]:
    """The backend, mode, input and form of Adam of a case's name; raises UsageError.

    The name is as reports show it, or with : or / instead of blanks. A name without an input has
    the first that the mode offers.
    """
    words = [word for word in re.split(r"[\s:/]+", text) if word]
    if len(words) < 2:
        raise UsageError(f"{text.strip() or 'nothing'} is no case; write its backend and its mode")
    backend, mode, *others = words
    _check("backend", backend, BACKENDS)
    entry = BACKENDS[backend]
    if now := entry.renamed.get(mode):
        raise UsageError(f"{mode} is a former name of {backend}'s mode {now}")
    _check(f"mode of {backend}", mode, entry.modes)
    forms = {"stock-adam": EPSILON_HAT} if EPSILON_HAT in entry.adam_forms else {}
    inputs = entry.modes[mode].inputs
    for word in others:
        _check(f"word of a case of {backend} {mode}", word, (*inputs, *forms))
    named = [word for word in others if word in RESIDENT + STREAMED]
    if len(named) > 1:
        raise UsageError(f"{text.strip()} names two inputs")
    adam = next((forms[word] for word in others if word in forms), TEXTBOOK)
    return backend, mode, (named or inputs)[0], adam


def _check(kind: str, word: str, known: Iterable[str]) -> None:
    """Raise UsageError where a word is not one of the known ones, with the nearest that is."""
    names = tuple(known)
    if word not in names:
        similar = similar_to(word, names)
        hint = f"; did you mean {similar}?" if similar else f"; there is {', '.join(names)}"
        raise UsageError(f"{word} is no {kind}{hint}")


def _overrides(settings: Iterable[str], case: str, mode: Mode) -> Overrides:
    """The overrides of a variant of `case`, as in "threads=1"; raises UsageError."""
    fields: dict[str, str] = {}
    variables: dict[str, str] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        name = key.removeprefix("env:")
        kept, what = (variables, name) if name != key else (fields, key)
        if what in kept:
            raise UsageError(f"{key} is set twice")
        # A comma that should have separated has become part of the value.
        for piece in re.findall(r",\s*([A-Za-z_]+[=:])", value):
            if similar_to(piece[:-1], KEYS):
                raise UsageError(_unknown_key(piece))
        if kept is variables:
            if not _VARIABLE.fullmatch(name) or not equals:
                raise UsageError(f"{setting} sets no variable; write env:NAME=VALUE")
            if problem := own_problem(name, value):
                raise UsageError(f"env:{name} {problem}")
        kept[what] = value
    read: dict[str, Callable[[str], object]] = {
        "python": program,
        "threads": _threads,
        "products": lambda library: _library(library, case, mode),
    }
    values = {key: read[key](value) for key, value in fields.items()}
    return Overrides(environment=tuple(variables.items()), **values)  # type: ignore[arg-type]


def _unknown_key(piece: str) -> str:
    """The message on something after a comma that no key begins."""
    key = re.split("[=:]", piece)[0]
    similar = {"env": "env:NAME"}.get(near := similar_to(key, KEYS), near)
    hint = f"; did you mean {similar}=?" if similar else ""
    return f"{key or 'nothing'} is not one of python, env:NAME, threads, products{hint}"


def program(text: str) -> str:
    """The absolute path of a program that can be run; raises UsageError."""
    path = shutil.which(text)
    if path is None:
        raise UsageError(f"{text or 'nothing'} is no program that can be run")
    # Links are kept: a virtual environment is recognised by the link that its Python is.
    return str(Path(path).absolute())


def _threads(text: str) -> int:
    count = int(text) if text.isascii() and text.isdigit() else 0
    if count < 1:
        raise UsageError(f"threads={text} is not a positive whole number")
    if count > available_cpus():
        raise UsageError(f"threads={text}: only {available_cpus()} CPUs may be used here")
    return count


def _library(text: str, case: str, mode: Mode) -> str:
    if not mode.libraries:
        raise UsageError(f"products={text}: {case} has no choice of libraries")
    _check(f"library that {case} can choose", text, mode.libraries)
    return text
