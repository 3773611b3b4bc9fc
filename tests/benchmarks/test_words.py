"""What a reader is told, for results of every kind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from benchmarks.analysis.findings import Bundle, Findings
from benchmarks.reports import sentences as words
from tests.synthetic_bundles import environment_record

CASES = ("jax multistep", "pytorch eager", "tensorflow fit streamed")


def findings(
    ranks: tuple[int, ...],
    resolution: float = 0.02,
    unfair: tuple[str, ...] = (),
    **columns: Any,
) -> Findings:
    count = len(ranks)
    summary = pd.DataFrame(
        {
            "case": CASES[:count],
            "backend": [case.split()[0] for case in CASES[:count]],
            "precision_found": "float32",
            "device": "cpu",
            "adam": "textbook",
            "status": "measured",
            "certified": True,
            "rank": ranks,
            "steps": 4000,
            "step_ms": [1.5, 3.0, 2.0][:count],
            "times_fastest": [1.0, 2.0, 1.33][:count],
            "times_fastest_low": [1.0, 1.9, 1.3][:count],
            "times_fastest_high": [1.0, 2.1, 1.4][:count],
            "trained_to_end": True,
            "test_accuracy": [0.97, 0.971, 0.972][:count],
            "diverged": "",
        }
    ).assign(**columns)
    best, *others = CASES[:count]
    verdicts = pd.DataFrame(
        [
            {
                "case": best,
                "other": other,
                "verdict": "faster" if rank > 1 else "undecided",
                "launches_needed": float("nan") if rank > 1 else 7.0,
                "margin": 0.02,
            }
            for other, rank in zip(others, ranks[1:], strict=True)
        ],
        columns=["case", "other", "verdict", "launches_needed", "margin"],
    )
    return Findings(
        summary=summary,
        verdicts=verdicts,
        ledger=pd.DataFrame(),
        unfair=list(unfair),
        settled=True,
        resolution=resolution,
        floors=pd.DataFrame(),
        break_even=pd.DataFrame(),
        totals=pd.DataFrame(),
        curves=pd.DataFrame(),
        accuracies=pd.DataFrame(),
        equivalences=pd.DataFrame(),
        time_to_accuracy=pd.DataFrame(),
        tutorial=pd.DataFrame(),
    )


def bundle(disturbed: int = 0, steady: bool = True, lost: str = "", **run: Any) -> Bundle:
    """Of 20 rounds and two cases; `lost` is a floor that failed."""
    outcomes = [(lost, "floor", "killed by signal 9")] if lost else []
    tables = {
        "outcomes": pd.DataFrame(outcomes, columns=["case", "mode", "reason"]),
        "rounds": pd.DataFrame({"disturbed": [True] * disturbed + [False] * (20 - disturbed)}),
        "launches": pd.DataFrame({"case": CASES[:2], "warmup_steady": [True, steady]}),
    }
    facts = {"state": "complete", "finished_launches": 3, "launches": 3, "out_of_time": False}
    return Bundle(folder=Path(), environment=environment_record(run=facts | run), tables=tables)


def test_a_clear_winner_is_named_with_its_lead() -> None:
    said = " ".join(words.fastest(findings((1, 3, 2))))
    assert "**jax multistep** trains fastest in float32 on the CPU: 1.50 ms a step." in said
    assert "The best of PyTorch, pytorch eager, takes 2.00 [1.90, 2.10] times as long" in said
    assert "TensorFlow/Keras" in said


def test_a_tie_is_not_called_a_win() -> None:
    said = " ".join(words.fastest(findings((1, 3, 1))))
    assert "No single case is shown to be fastest" in said
    assert "jax multistep and tensorflow fit streamed cannot be told apart" in said
    assert "trains fastest" not in said
    assert "About 7 launches would likely decide it." in said


def test_what_is_shown_to_be_equal_is_called_a_tie() -> None:
    found = findings((1, 3, 1))
    found.verdicts["verdict"] = found.verdicts["verdict"].replace("undecided", "tie")
    said = " ".join(words.fastest(found))
    assert "jax multistep and tensorflow fit streamed are a tie, within 3.0%" in said
    assert "launches" not in said


def test_one_case_alone_wins_nothing() -> None:
    said = " ".join(words.fastest(findings((1,))))
    assert "nothing to compare it with" in said
    assert "fastest" not in said


def learned(verdict: str, needed: float = 11.0, other: str = "tensorflow") -> Findings:
    """JAX, PyTorch and a third, of which the last pair has a verdict of its own."""
    groups = ["jax", "pytorch", other]
    accuracies = pd.DataFrame(
        {
            "group": groups,
            "backend": [group.split()[0] for group in groups],
            "test_accuracy": [0.97, 0.971, 0.972],
            "test_accuracy_low": 0.96,
            "test_accuracy_high": 0.98,
        }
    )
    equivalences = pd.DataFrame(
        {
            "group": ["jax", "jax", "pytorch"],
            "other": ["pytorch", other, other],
            "seeds": 3,
            "difference_points": [-0.1, -0.2, -0.52],
            "difference_points_low": [-0.2, -0.25, -0.6],
            "difference_points_high": [0.0, -0.15, -0.4],
            "margin_points": 0.3,
            "verdict": ["equivalent", "equivalent", verdict],
            "seeds_needed": [float("nan")] * 2 + [needed],
        }
    )
    return replace(findings((1, 2, 3)), accuracies=accuracies, equivalences=equivalences)


ALL = "JAX/Flax, PyTorch and TensorFlow/Keras (test accuracies from 97.00% to 97.20%)"


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (
            learned("equivalent"),
            f"Accuracy does not differ: {ALL} are equivalent within 0.3 points.",
        ),
        (
            learned("different"),
            "**Accuracy differs**: PyTorch tests 0.52 points below TensorFlow/Keras.",
        ),
        (
            learned("too few seeds"),
            f"Whether accuracy differs is open: over 3 seeds {ALL} are shown neither to differ nor "
            "to be equivalent; about 11 seeds would likely tell.",
        ),
        (
            learned("too few seeds", float("nan")),
            f"Whether accuracy differs is open: over 3 seeds {ALL} are shown neither to differ nor "
            "to be equivalent; more than 100 seeds would likely tell.",
        ),
        # Another algorithm may differ; that is not a difference between frameworks.
        (
            learned("different", other="tensorflow (stock-adam)"),
            "Accuracy does not differ: JAX/Flax and PyTorch (test accuracies from 97.00% to "
            "97.10%) are equivalent within 0.3 points.",
        ),
    ],
)
def test_the_headline_says_whether_accuracy_differs(found: Findings, said: str) -> None:
    assert words.accuracy(found) == [said]


def test_accuracy_speaks_of_trained_cases_only() -> None:
    assert "No case was trained to the end" in words.accuracy(findings((1, 2, 3)))[0]
    found = learned("equivalent")
    alone = replace(found, accuracies=found.accuracies[:1], equivalences=found.equivalences[:0])
    assert words.accuracy(alone) == [
        "The mean test accuracy of JAX/Flax is 97.00% [96.00%, 98.00%]."
    ]


@pytest.mark.parametrize(
    ("verdict", "seeds", "needed", "said"),
    [
        ("equivalent", 3, float("nan"), "equivalent within 0.3 points"),
        ("not certified", 3, float("nan"), "within 0.3 points, but not certified to train alike"),
        ("different", 3, float("nan"), "different"),
        ("too few seeds", 3, 8.0, "too few seeds to tell, about 8 needed"),
        ("too few seeds", 3, float("nan"), "too few seeds to tell, more than 100 needed"),
        ("too few seeds", 1, float("nan"), "too few seeds to tell"),
    ],
)
def test_verdicts_on_accuracy(verdict: str, seeds: int, needed: float, said: str) -> None:
    row = {"verdict": verdict, "seeds": seeds, "seeds_needed": needed, "margin_points": 0.3}
    assert words.equivalence(pd.Series(row)) == said


def test_the_resolution_bounds_what_is_ranked() -> None:
    assert "differences under 2.0% are not ranked" in words.certainty(findings((1,)))[0]
    # Not finer than what counts as equal, however quiet the machine.
    assert "differences under 1.0%" in words.certainty(findings((1,), resolution=0.001))[0]
    assert "unknown" in words.certainty(findings((1,), resolution=float("nan")))[0]


@pytest.mark.parametrize(
    ("run", "columns", "said"),
    [
        ({"state": "interrupted", "finished_launches": 1}, {}, "**Incomplete**: interrupted"),
        ({"out_of_time": True, "launches": 5}, {}, "left 2 of 5 launches out"),
        ({"out_of_time": True}, {"trained_to_end": False}, "before their last step"),
        ({"finished_launches": 1}, {}, "no verdict"),
        ({"finished_launches": 2}, {}, "Two launches only"),
        ({}, {"trained_to_end": False, "steps": 400}, "jax multistep (400 steps)"),
        ({"disturbed": 2}, {}, "10.0% of the rounds were disturbed from outside"),
        ({"lost": "jax floor"}, {}, "jax floor failed and is not among the floors: killed by"),
        ({"steady": False}, {}, "getting faster when the timing began: pytorch eager"),
        (
            {},
            {"diverged": ["", "diverged: the loss is not finite from step 400 in seed 1", ""]},
            "**pytorch eager diverged: the loss is not finite from step 400 in seed 1.**",
        ),
        ({}, {"certified": [True, False, True]}, "Not comparable, and not ranked: pytorch eager"),
    ],
)
def test_cautions(run: dict[str, Any], columns: dict[str, Any], said: str) -> None:
    assert said in " ".join(words.cautions(bundle(**run), findings((1, 2, 3), **columns)))


def test_what_is_unfair_is_said() -> None:
    said = words.cautions(bundle(), findings((1, 2, 3), unfair=("threads set: 1 in a; 2 in b",)))
    assert "**Unfair**: threads set: 1 in a; 2 in b." in said


def test_another_algorithm_is_ranked_apart_and_said_not_to_be_comparable() -> None:
    found = findings((1, 2, 1), adam=["textbook", "textbook", "epsilon-hat"])
    assert [where for where, _ in words.groups(found)] == [
        "in float32 on the CPU",
        "in float32 on the CPU with Keras' own Adam",
    ]
    assert "not comparable with the others" in " ".join(words.cautions(bundle(), found))
    said = " ".join(words.fastest(found))
    assert "tensorflow fit streamed takes 2.00 ms a step" in said
    assert "nothing to compare it with" in said


@pytest.mark.parametrize("parameter", ["layer 2 bias", float("nan")])
def test_a_departure_names_stage_and_parameter(parameter: Any) -> None:
    said = words.departure(
        {
            "level": "exact",
            "stage": "parameters_1_step",
            "parameter": parameter,
            "relative_error": 1e-3,
            "bound": 1e-9,
        }
    )
    where = "parameters 1 step" + (", layer 2 bias" if isinstance(parameter, str) else "")
    assert said == f"{where} (exact): relative error 1.0e-03 where the bound is 1.0e-09"


def test_a_good_run_has_one_caution_only() -> None:
    assert len(words.cautions(bundle(), findings((1, 2, 3)))) == 1


@pytest.mark.parametrize(
    ("figures", "text"),
    [
        ((1.5, 1.4, 1.6), "1.50 [1.40, 1.60]"),
        ((1.5, float("nan"), float("nan")), "1.50"),
        ((float("nan"),) * 3, "–"),
    ],
)
def test_interval(figures: tuple[float, float, float], text: str) -> None:
    assert words.interval(*figures) == text


def test_milliseconds_have_three_digits() -> None:
    assert [words.number(value, words.MS) for value in (0.0312, 3.3, 12.0, 437.4)] == [
        "0.0312",
        "3.30",
        "12.0",
        "437",
    ]


def test_joined() -> None:
    assert words.joined([]) == ""
    assert words.joined(["a"]) == "a"
    assert words.joined(["a", "b", "c"]) == "a, b and c"
