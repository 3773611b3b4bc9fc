"""Variants: how a command line names them, what their cases are called, and what they run with."""

from __future__ import annotations

import argparse
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from backends.contract import EPSILON_HAT, TEXTBOOK
from backends.registry import BACKENDS
from benchmarks.commands import measure, running
from benchmarks.errors import UsageError
from benchmarks.machine import processor
from benchmarks.machine.settings import THREAD_COUNTS, available_cpus, worker_environment
from benchmarks.plan.cases import Case, with_control, with_variants
from benchmarks.plan.variants import NOTHING, Overrides, Variant, parse
from benchmarks.privacy import SET
from tests.benchmarks.test_plan import plan_of

FIRST_CPU = str(processor.allowed_cpus()[0])
SCAN = Case(backend="jax", mode="scan", input="resident", precision="float32", device="cpu")


def variant(text: str) -> Variant:
    return parse(f"it={text},threads=1")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("jax scan", ("jax", "scan", "resident", TEXTBOOK)),
        ("jax:scan", ("jax", "scan", "resident", TEXTBOOK)),
        (" jax / scan ", ("jax", "scan", "resident", TEXTBOOK)),
        ("pytorch eager streamed", ("pytorch", "eager", "streamed", TEXTBOOK)),
        ("pytorch/eager/streamed", ("pytorch", "eager", "streamed", TEXTBOOK)),
        ("tensorflow compiled stock-adam", ("tensorflow", "compiled", "resident", EPSILON_HAT)),
    ],
)
def test_a_case_is_named_as_in_reports(text: str, expected: tuple[str, ...]) -> None:
    named = variant(text)
    assert (named.backend, named.mode, named.input, named.adam) == expected


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("threads=1", Overrides(threads=1)),
        ("env:XLA_FLAGS=--a=1", Overrides(environment=(("XLA_FLAGS", "--a=1"),))),
        # Commas within a value.
        ("env:A=1,2,b=3", Overrides(environment=(("A", "1,2,b=3"),))),
        ("env:A=", Overrides(environment=(("A", ""),))),
        ("env:A=x=y, env:B=2,threads=1", Overrides(
            environment=(("A", "x=y"), ("B", "2")), threads=1
        )),
        (f"python={sys.executable}", Overrides(python=sys.executable)),
    ],
)  # fmt: skip
def test_what_it_overrides(settings: str, expected: Overrides) -> None:
    assert parse(f"it=jax scan,{settings}").overrides == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "nothing names no case; write NAME=CASE"),
        ("fast", "fast names no case; write NAME=CASE"),
        ("=jax scan,threads=1", "a variant needs a name"),
        (f"{'x' * 31}=jax scan,threads=1", f"{'x' * 30}… has 31 characters"),
        ("a(b)=jax scan,threads=1", "'a(b)' is no name for a variant"),
        ("a  b=jax scan,threads=1", "'a  b' is no name for a variant"),
        (" a=jax scan,threads=1", "' a' is no name for a variant"),
        ("control=jax scan,threads=1", "control is what a case is called that a run repeats"),
        ("Control 2=jax scan,threads=1", "Control 2 is what a case is called"),
        ("a=jax scan", "a=jax scan changes nothing, and every run repeats one of its cases"),
        ("a=,threads=1", "nothing is no case; write its backend and its mode"),
        ("a=jax,threads=1", "jax is no case; write its backend and its mode"),
        ("a=flax scan,threads=1", "flax is no backend; did you mean jax?"),
        ("a=jax scann,threads=1", "scann is no mode of jax; did you mean scan?"),
        ("a=numpy scan,threads=1", "scan is no mode of numpy; there is eager"),
        ("a=jax multistep,threads=1", "multistep is a former name of jax's mode scan"),
        ("a=jax scan streamed,threads=1", "streamed is no word of a case of jax scan"),
        ("a=pytorch eager streamed resident,threads=1", "names two inputs"),
        ("a=jax eager stock-adam,threads=1", "stock-adam is no word of a case of jax eager"),
        ("a=jax scan,thread=1", "thread is not one of python, env:NAME, threads, products; did you"
            " mean threads=?"),
        ("a=jax scan,colour=red", "colour is not one of python, env:NAME, threads, products"),
        ("a=jax scan,threads=1,pyton=x", "pyton is not one of python, env:NAME, threads, products; "
            "did you mean python=?"),
        ("a=jax scan,env:A=1,env=B", "did you mean env:NAME=?"),
        ("a=jax scan,threads=1,threads=1", "threads is set twice"),
        ("a=jax scan,env:A=1,env:A=2", "env:A is set twice"),
        ("a=jax scan,threads=none", "threads=none is not a positive whole number"),
        ("a=jax scan,threads=0", "threads=0 is not a positive whole number"),
        (f"a=jax scan,threads={available_cpus() + 1}", f"only {available_cpus()} CPUs may be used"),
        ("a=jax scan,python=/nowhere", "/nowhere is no program that can be run"),
        ("a=jax scan,python=", "nothing is no program that can be run"),
        ("a=jax scan,env:A", "env:A sets no variable; write env:NAME=VALUE"),
        ("a=jax scan,env:1A=2", "env:1A=2 sets no variable; write env:NAME=VALUE"),
        ("a=jax scan,env:=2", "env:=2 sets no variable; write env:NAME=VALUE"),
        *((f"a=jax scan,env:{name}=1", f"env:{name} follows the number of threads; use threads=N")
            for name in THREAD_COUNTS),
        ("a=jax scan,env:JAX_PLATFORMS=cpu", "env:JAX_PLATFORMS is set by the session, alike"),
        ("a=jax scan,env:CUDA_VISIBLE_DEVICES=1", "is set by the session, alike for all cases"),
        ("a=jax scan,env:JAX_COMPILATION_CACHE_DIR=x", "names a compiler's cache"),
        ("a=jax scan,env:XLA_FLAGS=--xla_gpu_kernel_cache_file=x", "names a compiler's cache"),
        ("a=jax scan,products=mkl", "products=mkl: jax scan has no choice of libraries"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_library_must_be_one_that_the_mode_can_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    mode = replace(BACKENDS["jax"].modes["scan"], libraries=("mkl", "onednn"))
    monkeypatch.setitem(BACKENDS["jax"].modes, "scan", mode)
    assert parse("it=jax scan,products=mkl").overrides.products == "mkl"
    with pytest.raises(UsageError, match=r"onednnn is no library .* did you mean onednn\?"):
        parse("it=jax scan,products=onednnn")


def test_the_command_line_refuses_it_too(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        measure.parser().read(["--variant", "a=flax scan,threads=1"])
    line = capsys.readouterr().err
    assert line == ("run_all.py: argument --variant: flax is no backend; did you mean jax?\n")


# Which cases run


def chosen(*argv: str) -> list[str]:
    arguments = measure.parser().read(list(argv))
    return [case.name for case in running.choose_cases(arguments)]


def test_variants_alone_run_beside_their_base_cases() -> None:
    one, two = ("--variant", "a=jax scan,threads=1"), ("--variant", "b=jax scan,env:A=1")
    assert chosen(*one) == ["jax scan", "jax scan (a)"]
    assert chosen(*one, *two) == ["jax scan", "jax scan (a)", "jax scan (b)"]
    # One name may serve variants of several cases.
    both = chosen(*one, "--variant", "a=numpy eager,threads=1")
    assert both == ["jax scan", "numpy eager", "jax scan (a)", "numpy eager (a)"]


def test_variants_are_added_to_cases_that_are_named() -> None:
    one = ("--variant", "a=jax scan,threads=1")
    assert chosen(*one, "--backends", "numpy") == ["numpy eager", "jax scan", "jax scan (a)"]
    assert chosen(*one, "--backends", "jax", "--modes", "scan") == ["jax scan", "jax scan (a)"]


@pytest.mark.parametrize("other", ["a", "A"])
def test_two_variants_of_a_case_need_two_names(other: str) -> None:
    with pytest.raises(UsageError, match="two variants are called jax scan"):
        chosen("--variant", "a=jax scan,threads=1", "--variant", f"{other}=jax scan,env:A=1")


def test_a_mode_of_another_device_is_refused() -> None:
    variants = [parse("a=pytorch cuda-graph,threads=1")]
    with pytest.raises(UsageError, match="a: pytorch cuda-graph does not run on the CPU"):
        with_variants([], variants, precision="float32", device="cpu")


def test_the_control_repeats_a_base_case() -> None:
    one = replace(SCAN, variant="a", overrides=Overrides(threads=1))
    assert with_control([SCAN, one])[-1] == replace(SCAN, repetition=1)
    # Unless all are variants, as releases are.
    assert with_control([one])[-1] == replace(one, repetition=1)


def test_more_threads_than_named_cpus_are_refused(images: Path) -> None:
    if available_cpus() < 2:
        pytest.skip("there is one CPU only")
    arguments = measure.parser().read(
        ["--variant", "a=numpy eager,threads=2", "--cpus", FIRST_CPU, "--data-dir", str(images)]
    )
    with pytest.raises(UsageError, match="threads=2: --cpus names only 1"):
        running.prepare(arguments, running.choose_cases(arguments))


def test_a_python_that_cannot_run_a_variant_is_refused(images: Path) -> None:
    arguments = measure.parser().read(
        ["--variant", f"a=numpy eager,python={shutil.which('true')}", "--data-dir", str(images)]
    )
    with pytest.raises(UsageError, match=r"numpy eager \(a\) cannot run: does not import or run"):
        running.prepare(arguments, running.choose_cases(arguments))


# What they run with


def test_a_variant_is_bound_to_cpus_of_its_own_number() -> None:
    one = replace(SCAN, overrides=Overrides(threads=1))
    plan = replace(plan_of(100, SCAN, one), threads=2, named_cpus=(5, 3))
    assert (plan.cpus, plan.cpus_of(SCAN), plan.cpus_of(one)) == ((5, 3), (5, 3), (5,))
    # It may have more than the others, up to those that are named.
    assert replace(plan, threads=1).cpus == (5,)
    more = replace(SCAN, overrides=Overrides(threads=2))
    assert replace(plan, threads=1).cpus_of(more) == (5, 3)


def test_its_variables_come_before_the_users(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XLA_FLAGS", "--of-the-user")
    own = replace(SCAN, overrides=parse("a=jax scan,env:XLA_FLAGS=--own").overrides).environment
    assert worker_environment("cpu", 1, tmp_path)["XLA_FLAGS"] == "--of-the-user"
    assert worker_environment("cpu", 1, tmp_path, own)["XLA_FLAGS"] == "--own"


def test_its_text_has_neither_paths_nor_secrets() -> None:
    overrides = Overrides(
        python="/home/someone/env/bin/python",
        threads=1,
        products="mkl",
        environment=(("API_TOKEN", "abc"), ("LD_PRELOAD", "/home/someone/lib/libjemalloc.so")),
    )
    assert overrides.text() == (
        f"another Python, threads=1, products=mkl, env:API_TOKEN={SET}, "
        "env:LD_PRELOAD=…/libjemalloc.so"
    )
    assert NOTHING.text() == ""


def test_a_link_to_a_python_is_kept(tmp_path: Path) -> None:
    link = tmp_path / "python"
    link.symlink_to(shutil.which("true") or "/bin/true")
    assert parse(f"a=jax scan,python={link}").overrides.program == str(link)


def test_arguments_without_variants_have_none() -> None:
    # As those of `sweep`.
    arguments = argparse.Namespace(**vars(measure.parser().read(["--backends", "numpy"])))
    del arguments.variant
    assert [case.name for case in running.choose_cases(arguments)] == ["numpy eager"]
