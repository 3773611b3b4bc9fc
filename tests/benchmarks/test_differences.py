"""How cases differ in what they did, and which differences are unfair."""

from __future__ import annotations

import pandas as pd
import pytest

from benchmarks.analysis import ledger_differences
from benchmarks.schema import NO_OVERRIDES


def entries(**cases: dict[str, str]) -> pd.DataFrame:
    rows = [
        (case, entry, value) for case, values in cases.items() for entry, value in values.items()
    ]
    return pd.DataFrame(rows, columns=["case", "entry", "value"])


def test_only_what_differs_is_listed() -> None:
    rows = ledger_differences.find_differences(
        entries(a={"threads": "2", "device": "cpu"}, b={"threads": "1", "device": "cpu"}),
        ["b", "a"],
    )
    assert rows[["title", "value", "cases"]].to_numpy().tolist() == [
        ["threads set", "1", ["b"]],
        ["threads set", "2", ["a"]],
    ]
    assert rows["unfair"].all()


def test_a_case_that_differs_between_launches_shows_both() -> None:
    table = pd.concat(
        [
            entries(a={"product": "float32"}, b={"product": "float32"}),
            entries(a={"product": "tf32"}),
        ]
    )
    assert list(ledger_differences.find_differences(table, ["a", "b"])["value"]) == [
        "float32",
        "float32 or tf32",
    ]


def test_only_unfair_differences_make_a_ranking_unfair() -> None:
    table = entries(
        a={"threads": "2", "compiler": "x"}, b={"threads": "1", "compiler": "y"}, c={"threads": "9"}
    )
    assert ledger_differences.unfair(table, ["a", "b"]) == ["threads set: 1 in b; 2 in a"]
    assert ledger_differences.unfair(table, ["a"]) == []


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"compiler": "torch.compile", "programs": "0"}, "compiled nothing"),
        ({"compiler": "torch.compile", "programs": "1"}, ""),
        ({"compiler": "none: XLA for each operation", "programs": "0"}, ""),
        ({"compiler": "XLA", "programs": "1", "compiled_while_timed": "3"}, "3 programs within"),
    ],
)
def test_a_compiler_that_did_not_work_is_named(values: dict[str, str], expected: str) -> None:
    sentences = ledger_differences.compilation_problems(entries(a=values))
    assert len(sentences) == bool(expected)
    assert expected in "".join(sentences)


def test_entries_that_follow_from_timed_blocks() -> None:
    samples = pd.DataFrame(
        {
            "case": ["a", "a", "b"],
            "seconds": [1.0, 1.0, 2.0],
            "cpu_seconds": [1.9, 2.1, 1.0],
            "compilations": [0, 1, 0],
        }
    )
    values = ledger_differences.timed_entries(samples).set_index(["case", "entry"])["value"]
    assert values["a", "cpus_used"] == "2.0"
    assert values["b", "cpus_used"] == "0.5"
    assert values["a", "compiled_while_timed"] == "1"
    assert values["b", "compiled_while_timed"] == "0"


def with_one_thread(overrides: str, threads: str = "1") -> pd.DataFrame:
    """Entries of a case and of a variant of it that has one thread and another governor."""
    alone = {"threads": threads, "cpus_allowed": "1", "cores": "1", "governor": "powersave"}
    base = {"threads": "2", "cpus_allowed": "2", "cores": "2", "governor": "performance"}
    return entries(
        base={**base, "overrides": NO_OVERRIDES}, variant={**alone, "overrides": overrides}
    )


def test_what_a_variant_overrides_is_not_unfair() -> None:
    unfair = ledger_differences.unfair(with_one_thread("threads=1"), ["base", "variant"])
    assert unfair == ["CPU frequency governor: performance in base; powersave in variant"]
    unfair = ledger_differences.unfair(with_one_thread("env:A=1, threads=1"), ["base", "variant"])
    assert len(unfair) == 1
    # Another override does not explain it, whatever the value of a variable says.
    for other in ("env:A=threads=1", "another Python", NO_OVERRIDES):
        unfair = ledger_differences.unfair(with_one_thread(other), ["base", "variant"])
        assert len(unfair) == 4, other


def test_what_differs_on_purpose_is_listed_all_the_same() -> None:
    rows = ledger_differences.find_differences(with_one_thread("threads=1"), ["base", "variant"])
    assert {"threads", "cores", "overrides"} <= set(rows["entry"])
