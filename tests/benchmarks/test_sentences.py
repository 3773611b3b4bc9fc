"""The sentences of a report, for results of every kind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from benchmarks.analysis import statistics
from benchmarks.analysis.findings import Findings
from benchmarks.bundle.reader import Bundle
from benchmarks.reports import formats
from benchmarks.reports.cases import comparable_groups
from benchmarks.reports.run import leads, sentences
from benchmarks.reports.sections import Note
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
            "ranks": 1,
            "tier": "limit",
            "status": "measured",
            "certified": True,
            "held_back": "",
            "substituted": "",
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
            }
            for other, rank in zip(others, ranks[1:], strict=True)
        ],
        columns=["case", "other", "verdict", "launches_needed"],
    ).assign(ratio=0.5, ratio_low=0.4, ratio_high=0.6, launches=3)
    return Findings(
        summary=summary,
        verdicts=verdicts,
        ratios=pd.DataFrame(),
        ladders=pd.DataFrame(),
        ledger=pd.DataFrame(),
        unfair=list(unfair),
        settled=True,
        resolution=resolution,
        control=statistics.NOTHING,
        other_speeds=pd.DataFrame(columns=["launch", "case", "times"]),
        apart=False,
        learned=False,
        floors=pd.DataFrame(),
        bounds=pd.DataFrame(),
        group_floors=pd.DataFrame(),
        scaling=pd.DataFrame(),
        break_even=pd.DataFrame(),
        totals=pd.DataFrame(),
        curves=pd.DataFrame(),
        accuracies=pd.DataFrame(),
        equivalences=pd.DataFrame(),
        time_to_accuracy=pd.DataFrame(),
        tutorial=pd.DataFrame(),
    )


def bundle(
    disturbed: int = 0,
    steady: bool = True,
    lost: str = "",
    leaks: int = 0,
    others: float = 0.01,
    **run: Any,
) -> Bundle:
    """A bundle of 20 rounds and two cases; `lost` is a floor that failed.

    In `leaks` of its 20 blocks, threads of another case still ran; other processes took the share
    `others` of the processors' time.
    """
    outcomes = [(lost, "floor", "killed by signal 9")] if lost else []
    tables = {
        "outcomes": pd.DataFrame(outcomes, columns=["case", "mode", "reason"]),
        "rounds": pd.DataFrame(
            {"disturbed": [True] * disturbed + [False] * (20 - disturbed), "other_share": others}
        ),
        "launches": pd.DataFrame({"case": CASES[:2], "warmup_steady": [True, steady]}),
        "ledger": pd.DataFrame(columns=["case", "entry", "value"]),
        "samples": pd.DataFrame(
            {"running_threads": [1] * leaks + [0] * (20 - leaks), "wait_seconds": 0.5}
        ),
    }
    complete = {"state": "complete", "finished_launches": 3, "launches": 3, "out_of_time": False}
    environment = environment_record(run=complete | run)
    return Bundle(folder=Path(), environment=environment, tables=tables)


def test_a_clear_winner_is_named_with_its_lead() -> None:
    (text,) = leads.fastest(findings((1, 3, 2)))
    assert text == (
        "At the limit, in float32 on the CPU, **jax multistep** trains fastest: 1.50 ms a step; "
        "the best of TensorFlow/Keras, tensorflow fit streamed, takes 1.33 [1.30, 1.40] times as "
        "long as jax multistep; the best of PyTorch, pytorch eager, takes 2.00 [1.90, 2.10] times. "
        "This run holds the limit tier alone."
    )


def test_a_tie_is_not_called_a_win() -> None:
    (text,) = leads.fastest(findings((1, 3, 1)))
    assert text == (
        "At the limit, in float32 on the CPU, **jax multistep** and **tensorflow fit streamed** "
        "are not shown to be slower than the fastest of them: 1.50 and 2.00 ms a step (a new "
        "run with --launches 7 would likely decide); the best of PyTorch, pytorch eager, takes "
        "2.00 [1.90, 2.10] times as long as jax multistep. This run holds the limit tier alone."
    )


def test_cases_shown_to_be_equal_are_called_a_tie() -> None:
    results = findings((1, 3, 1))
    results.verdicts["verdict"] = results.verdicts["verdict"].replace("undecided", "tie")
    (text,) = leads.fastest(results)
    assert "1.50 and 2.00 ms a step (a tie, within 3%)" in text
    assert "launches" not in text


def test_where_no_number_of_launches_would_decide_none_is_given() -> None:
    results = findings((1, 3, 1))
    results.verdicts["launches_needed"] = float("nan")
    assert "(no run of 100 launches would likely decide)" in leads.fastest(results)[0]
    # One launch does not tell how many more would.
    results.verdicts["launches"] = 1
    assert "(one launch decides nothing)" in leads.fastest(results)[0]


def test_one_case_alone_wins_nothing() -> None:
    (text,) = leads.fastest(findings((1,)))
    assert "nothing to compare it with" in text
    assert "fastest" not in text


def test_each_tier_has_a_sentence_and_none_speaks_of_another() -> None:
    results = findings((1, 1, 2), tier=["limit", "expert", "limit"])
    limit, expert = leads.fastest(results)
    assert "pytorch" not in limit
    assert expert == (
        "Written by an expert, pytorch eager takes 3.00 ms a step; there is nothing to compare it "
        "with."
    )


def test_a_tier_that_is_not_known_has_no_name() -> None:
    (text,) = leads.fastest(findings((1, 3, 2), tier=""))
    assert text.startswith("In float32 on the CPU, **jax multistep** trains fastest: 1.50 ms")


def learned(verdict: str, needed: float = 11.0, other: str = "tensorflow") -> Findings:
    """JAX, PyTorch and a third backend; PyTorch and the third have this verdict."""
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
    ("results", "text"),
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
            f"Whether accuracy differs is open: over 3 seeds, {ALL} are shown neither to differ "
            "nor to be equivalent; a new run of about 11 seeds would likely decide it.",
        ),
        (
            learned("too few seeds", float("nan")),
            f"Whether accuracy differs is open: over 3 seeds, {ALL} are shown neither to differ "
            "nor to be equivalent; a new run of more than 100 seeds would likely decide it.",
        ),
        # Another algorithm may differ; that is not a difference between frameworks.
        (
            learned("different", other="tensorflow (stock-adam)"),
            "Accuracy does not differ: JAX/Flax and PyTorch (test accuracies from 97.00% to "
            "97.10%) are equivalent within 0.3 points.",
        ),
    ],
)
def test_the_headline_says_whether_accuracy_differs(results: Findings, text: str) -> None:
    assert sentences.accuracy(results) == text


def test_accuracy_speaks_of_trained_cases_only() -> None:
    assert "No case was trained to the end" in sentences.accuracy(findings((1, 2, 3)))
    several = learned("equivalent")
    one = replace(several, accuracies=several.accuracies[:1], equivalences=several.equivalences[:0])
    mean = "The mean test accuracy of JAX/Flax is 97.00% [96.00%, 98.00%]."
    assert sentences.accuracy(one) == mean


def test_a_backend_that_is_not_registered_here_goes_by_its_name() -> None:
    results = learned("different", other="mxnet")
    assert sentences.accuracy(results).endswith("PyTorch tests 0.52 points below mxnet.")
    results.summary["backend"] = ["jax", "pytorch", "mxnet"]
    assert "the best of mxnet, tensorflow fit streamed," in " ".join(leads.fastest(results))


@pytest.mark.parametrize(
    ("verdict", "seeds", "needed", "text"),
    [
        ("equivalent", 3, float("nan"), "equivalent within 0.3 points"),
        ("not certified", 3, float("nan"), "within 0.3 points, but not certified to train alike"),
        ("different", 3, float("nan"), "different"),
        ("too few seeds", 3, 8.0, "too few seeds to tell, about 8 needed"),
        ("too few seeds", 3, float("nan"), "too few seeds to tell, more than 100 needed"),
        ("too few seeds", 1, float("nan"), "too few seeds to tell"),
    ],
)
def test_verdicts_on_accuracy(verdict: str, seeds: int, needed: float, text: str) -> None:
    row = {"verdict": verdict, "seeds": seeds, "seeds_needed": needed, "margin_points": 0.3}
    assert sentences.equivalence(pd.Series(row)) == text


def test_the_resolution_says_how_far_a_typical_interval_reaches() -> None:
    coarse = sentences.resolution(findings((1, 2)))
    assert "The interval of a typical ratio reaches 2.0% to either side." in coarse
    assert "unknown" in sentences.resolution(findings((1,), resolution=float("nan")))


@pytest.mark.parametrize(
    ("run", "columns", "text"),
    [
        ({"state": "interrupted", "finished_launches": 1}, {}, "Incomplete: interrupted"),
        ({"out_of_time": True, "launches": 5}, {}, "left out 2 of 5 launches"),
        ({"out_of_time": True}, {"trained_to_end": False}, "before their last step"),
        ({"finished_launches": 1}, {}, "no verdicts"),
        ({"finished_launches": 2}, {}, "only two launches"),
        ({}, {"trained_to_end": False, "steps": 400}, "jax multistep (400 steps)"),
        ({"others": 0.12}, {}, "Spoiled: other processes took 12% of the processors' time"),
        ({"disturbed": 2}, {}, "10.0% of rounds were disturbed by other load"),
        ({"lost": "jax floor"}, {}, "jax floor failed and is not among the floors: killed by"),
        ({"leaks": 1}, {}, "5.0% of blocks began while threads of another case still ran"),
        ({"steady": False}, {}, "getting faster when timing began: pytorch eager"),
        (
            {},
            {"diverged": ["", "diverged: the loss is not finite from step 400 in seed 1", ""]},
            "pytorch eager diverged: the loss is not finite from step 400 in seed 1.",
        ),
        ({}, {"certified": [True, False, True]}, "Not comparable, and not ranked: pytorch eager"),
    ],
)
def test_cautions(run: dict[str, Any], columns: dict[str, Any], text: str) -> None:
    notes = sentences.cautions(bundle(**run), findings((1, 2, 3), **columns))
    (note,) = [note for note in notes if text in note.text]
    serious = text.startswith(("Incomplete", "Spoiled", "pytorch eager diverged"))
    assert note.severity == ("warning" if serious else "note")


def cautions(results: Findings) -> list[Note]:
    """The cautions of a whole run, but for what every run of few launches says of its processes."""
    notes = sentences.cautions(bundle(), results)
    return [note for note in notes if "slower than its case's others" not in note.text]


def test_the_control_is_said_to_be_told_apart_or_not() -> None:
    for low, said in ((0.99, "are not told apart: 1.005 [0.990, 1.010]"), (1.001, "differed by")):
        control = statistics.Estimate(value=1.005, low=low, high=1.01)
        assert said in sentences.resolution(replace(findings((1, 2)), control=control))


def test_processes_on_another_speed_are_counted() -> None:
    others = pd.DataFrame({"launch": [1], "case": ["jax scan"], "times": [1.143]})
    (said,) = sentences.other_speeds(replace(findings((1, 2)), other_speeds=others), 5)
    assert said.startswith("jax scan ran on another speed in 1 of 5 launches: 1.14 times its usual")
    (unseen,) = sentences.other_speeds(findings((1, 2)), 3)
    assert "up to 63% of all processes may be" in unseen
    assert sentences.other_speeds(findings((1, 2)), 2) == []


def test_an_unfair_ranking_is_a_warning() -> None:
    unfair = findings((1, 2, 3), unfair=("threads set: 1 in a; 2 in b",))
    warning = Note("Unfair: threads set: 1 in a; 2 in b.", "warning")
    assert cautions(unfair) == [warning]
    assert warning.markdown == "**Unfair: threads set: 1 in a; 2 in b.**"


def test_another_algorithm_is_ranked_apart_and_called_not_comparable() -> None:
    results = findings((1, 2, 1), adam=["textbook", "textbook", "epsilon-hat"])
    assert [group.name for group in comparable_groups(results)] == [
        "Limit, in float32 on the CPU",
        "Limit, in float32 on the CPU with Keras' own Adam",
    ]
    (note,) = cautions(results)
    assert "not comparable with the others" in note.text
    text = " ".join(leads.fastest(results))
    assert "tensorflow fit streamed takes 2.00 ms a step" in text
    assert "nothing to compare it with" in text


@pytest.mark.parametrize("parameter", ["layer 2 bias", float("nan")])
def test_a_departure_names_stage_and_parameter(parameter: Any) -> None:
    text = sentences.departure(
        {
            "level": "exact",
            "stage": "parameters_1_step",
            "parameter": parameter,
            "relative_error": 1e-3,
            "bound": 1e-9,
            "reason": float("nan"),
        }
    )
    where = "parameters 1 step" + (", layer 2 bias" if isinstance(parameter, str) else "")
    departs = f"departs from the reference at {where} (exact)"
    assert text == f"{departs}: relative error 1.0e-03, allowed 1.0e-09"


def test_a_good_run_has_no_caution() -> None:
    assert cautions(findings((1, 2, 3))) == []


@pytest.mark.parametrize(
    ("figures", "text"),
    [
        ((1.5, 1.4, 1.6), "1.50 [1.40, 1.60]"),
        ((1.5, float("nan"), float("nan")), "1.50"),
        ((float("nan"),) * 3, "–"),
    ],
)
def test_interval(figures: tuple[float, float, float], text: str) -> None:
    assert formats.interval(*figures) == text


def test_milliseconds_have_three_digits() -> None:
    assert [formats.number(value, formats.MS) for value in (0.0312, 3.3, 12.0, 437.4)] == [
        "0.0312",
        "3.30",
        "12.0",
        "437",
    ]


def test_joined() -> None:
    assert formats.joined([]) == ""
    assert formats.joined(["a"]) == "a"
    assert formats.joined(["a", "b", "c"]) == "a, b and c"
