"""Which pairs are judged: within a tier, up a ladder, and of a variant; and no others."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from backends.registry import tier_of
from benchmarks.analysis.pairs import contenders, judged, rung_below
from tests.support.ladders import register


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch)


def rows(*cases: str, **columns: Any) -> pd.DataFrame:
    """Cases by name, as in "hare walk streamed (old)"."""
    found = []
    for case in cases:
        plain, _, variant = case.rstrip(")").partition(" (")
        backend, mode, *other = plain.split()
        found.append(
            {
                "case": case,
                "backend": backend,
                "mode": mode,
                "input": "streamed" if other else "resident",
                "variant": variant or None,
                "tier": tier_of(backend, mode),
            }
        )
    matched: dict[str, Any] = {
        "precision_found": "float32",
        "device": "cpu",
        "adam": "textbook",
        "ranks": 1,
    }
    return pd.DataFrame(found).assign(**matched | columns)


def pairs(*cases: str, **columns: Any) -> dict[tuple[str, str], str]:
    """The relation of each pair that is judged among these cases."""
    return {(case, other): how for case, other, how in judged(rows(*cases, **columns))}


def test_cases_are_judged_within_their_tier_and_against_the_rung_below() -> None:
    assert pairs("hare walk", "hare run", "snail walk", "snail run") == {
        ("hare walk", "snail walk"): "tier",
        ("hare run", "snail run"): "tier",
        ("hare run", "hare walk"): "rung",
        ("snail run", "snail walk"): "rung",
    }


def test_rungs_that_stand_for_no_tier_are_judged_on_their_ladder_alone() -> None:
    found = pairs("hare walk", "hare jog", "hare ride", "snail walk")
    assert found == {("hare walk", "snail walk"): "tier", ("hare jog", "hare walk"): "rung"}


def test_where_one_framework_alone_stands_for_a_tier_all_its_cases_contend() -> None:
    assert contenders(rows("hare walk", "hare jog", "snail jog")) == [
        *("hare walk", "hare jog", "snail jog")
    ]
    # A rung in the same tier as the one below it is one pair, in the tier.
    found = pairs("hare walk", "hare jog")
    assert found == {("hare walk", "hare jog"): "tier"}


@pytest.mark.parametrize(
    ("column", "other"),
    [("precision_found", "tf32"), ("device", "gpu"), ("adam", "epsilon-hat"), ("ranks", 2)],
)
def test_what_is_not_alike_is_not_compared(column: str, other: str) -> None:
    cases = ("hare walk", "snail walk", "hare run", "hare run (old)")
    alike = rows(*cases)[column].iloc[0]
    assert pairs(*cases, **{column: [alike, other, other, alike]}) == {}


def test_modes_that_the_registry_does_not_know_are_a_group_of_their_own() -> None:
    found = pairs("hare crawl", "yak crawl", "hare walk", "snail walk")
    assert found == {
        ("hare crawl", "yak crawl"): "tier",
        ("hare walk", "snail walk"): "tier",
    }


def test_a_former_name_has_the_tier_of_what_it_stands_for_now() -> None:
    assert [tier_of("hare", mode) for mode in ("dash", "hurry", "crawl")] == ["limit", "", ""]
    assert pairs("hare dash", "hare sprint", "snail sprint").keys() == {
        *(("hare dash", "hare sprint"), ("hare dash", "snail sprint")),
        ("hare sprint", "snail sprint"),
    }


def test_variants_are_judged_against_their_base_and_one_another() -> None:
    cases = ("hare run", "hare run (new)", "snail run", "hare run (old)", "hare limp (old)")
    assert pairs(*cases) == {
        ("hare run", "snail run"): "tier",
        ("hare run (new)", "hare run (old)"): "variant",
        ("hare run (new)", "hare run"): "variant",
        ("hare run (old)", "hare run"): "variant",
    }


def below(case: str, *cases: str) -> tuple[str, list[str]]:
    comparable = rows(case, *cases)
    return rung_below(comparable.iloc[0], comparable)


def test_the_rung_below_is_the_nearest_that_was_measured() -> None:
    assert below("hare sprint", "hare run", "hare walk", "snail run") == ("hare run", [])
    assert below("hare sprint", "hare walk") == ("hare walk", ["run", "jog"])
    assert below("hare sprint", "hare limp", "hare ride")[0] == ""
    assert below("hare walk", "hare jog")[0] == ""


def test_the_rung_below_has_the_same_input_where_both_have_it() -> None:
    both = ("hare walk", "hare walk streamed")
    assert below("hare jog streamed", *both)[0] == "hare walk streamed"
    assert below("hare jog", *both)[0] == "hare walk"
    assert below("hare jog", "hare walk streamed", "hare walk (old)")[0] == "hare walk streamed"
