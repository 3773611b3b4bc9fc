"""The gate of `compare` fails closed: what it cannot judge is never a silent 0."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks.analysis import comparison, gate
from benchmarks.analysis.findings import Findings, compute_findings
from benchmarks.bundle.reader import Bundle
from benchmarks.commands import exit_codes, report
from benchmarks.commands.options import percentage
from tests.support.runs import Result, run
from tests.synthetic_bundles import identity, write_bundle

TIMES = {"numpy eager": 2.0, "jax compiled": 1.0, "jax multistep": 0.8}
GATE = ("--fail-if-slower", "5%")
OK, SLOWER, WRONG, UNJUDGED = (
    exit_codes.OK, exit_codes.FAILED, exit_codes.REFUSED, exit_codes.UNJUDGED,
)  # fmt: skip


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Bundles that are written once each: the cases' times, and arguments of `write_bundle`."""
    folder = tmp_path_factory.mktemp("shelf")
    made: dict[str, Path] = {}

    def bundle(times: dict[str, float] = TIMES, **arguments: Any) -> Path:
        key = json.dumps([times, arguments])
        if key not in made:
            arguments = {"rounds": 4, "spread": 0.002, "seed": len(made)} | arguments
            made[key] = write_bundle(folder / str(len(made)), times, **arguments)
        return made[key]

    return bundle


@pytest.fixture(autouse=True, scope="module")
def findings_once() -> Iterator[None]:
    """Reading bundles and computing their findings, most of a comparison's time, is done once."""
    made: dict[Path, Findings] = {}
    bundles: dict[tuple[Path, bytes], Bundle] = {}

    def read(_command: str, folder: Path) -> Bundle:
        key = (folder, (folder / "environment.json").read_bytes())
        if key not in bundles:
            bundles[key] = Bundle.read(folder)
        return bundles[key]

    def once(bundle: Bundle) -> Findings:
        if bundle.folder not in made:
            made[bundle.folder] = compute_findings(bundle)
        return made[bundle.folder]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparison, "compute_findings", once)
        patch.setattr(report, "read_bundle", read)
        yield


Shelf = Callable[..., Path]
Capture = pytest.CaptureFixture[str]


def refused(done: Result) -> str:
    """The one line on standard error with which the gate says that it cannot judge."""
    assert done.code == UNJUDGED
    assert done.errors.startswith("run_all.py: ")
    return done.errors


def test_equal_runs_pass(shelf: Shelf, capsys: Capture) -> None:
    done = run(capsys, "compare", shelf(), shelf(seed=77), *GATE)
    assert (done.code, done.errors) == (OK, "")
    assert "No case that was compared is shown to be slower by more than 5.0%." in done.output
    assert "Cannot judge" not in done.output


@pytest.mark.parametrize(
    ("limit", "code", "printed"),
    [
        ("5%", SLOWER, "Slower by more than 5.0%: jax compiled."),
        ("5", SLOWER, "Slower by more than 5.0%: jax compiled."),
        ("10%", UNJUDGED, "jax compiled is by its estimate slower by more than 10.0%, which its"),
        ("25%", OK, "No case that was compared is shown to be slower by more than 25.0%"),
    ],
)
def test_the_limit(shelf: Shelf, limit: str, code: int, printed: str, capsys: Capture) -> None:
    # 10.5% slower, so that a limit of 10% lies within the interval and below the estimate.
    old, new = shelf(seed=1), shelf(TIMES | {"jax compiled": 1.105}, seed=2)
    compared = comparison.compare(Bundle.read(old), Bundle.read(new))
    row = compared.rows.set_index("case").loc["jax compiled"]
    assert 1.05 < row["ratio_low"] < 1.1 < row["ratio"]
    done = run(capsys, "compare", old, new, "--fail-if-slower", limit)
    assert done.code == code
    assert printed in done.output


WITHOUT = {case: time for case, time in TIMES.items() if case != "jax compiled"}
LACKING = {
    "is missing": ((WITHOUT, {}), "jax compiled is not in AFTER"),
    "was skipped": ((WITHOUT, {"skipped": ("jax compiled",)}), "jax compiled was skipped in AFTER"),
    "is uncertified": (
        (TIMES, {"uncertified": ("jax compiled",)}),
        "jax compiled failed its certificate in AFTER",
    ),
    "has a single launch": ((TIMES, {"launches": 1}), "fewer than two finished launches"),
    "was interrupted": ((TIMES, {"run": {"state": "interrupted"}}), "AFTER was interrupted"),
    "was stopped": (
        (TIMES, {"run": {"state": "stopped by an error"}}), "AFTER was stopped by an error"
    ),
    "has not ended": ((TIMES, {"run": {"state": "running"}}), "AFTER has not ended, or was killed"),
    "is of another machine": (
        (TIMES, {"machine": {"cpu": "Another CPU"}}),
        "the machines differ (cpu Some CPU before, Another CPU after)",
    ),
    "had other threads": ((TIMES, {"run": {"threads": 1}}), "threads are 2 in BEFORE and 1 in AFT"),
    "was spoiled": (
        (TIMES, {"variables": {"PYTHONTRACEMALLOC": "10"}}), "one run alone was spoiled: PYTHONTRA"
    ),
    "is of other data": (
        (TIMES, {"workload": {"data_sha256": "1" * 64}}), "data_sha256 is 0000"
    ),
    "is of unknown data": (
        (TIMES, {"workload": {"data_sha256": None}}), "cannot tell by content whether it is the sam"
    ),
    "is another workload": (
        (TIMES, {"workload": {"batch_size": 64}}), "different workloads cannot be compared: batch_"
    ),
    "is of another precision": (
        (TIMES, {"precision": "float64"}), "has precision found float32 in BEFORE and float64 in A"
    ),
    "has nothing in common": (({"pytorch eager": 1.0}, {}), "no case in common"),
    "differs widely": ((TIMES, {"launches": 2, "spread": 0.5}), "times as long, so widely do its"),
    "has a lead-in": (
        (TIMES, {"run": {"lead_in_steps": 10}}), "blocks of one run alone have a lead-in; measure b"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("other", "reason"), LACKING.values(), ids=LACKING)
def test_what_a_run_lacks_is_a_reason_on_either_side(
    shelf: Shelf, other: tuple[dict[str, float], dict[str, Any]], reason: str, capsys: Capture
) -> None:
    times, arguments = other
    lacking = shelf(times, **arguments)
    line = refused(run(capsys, "compare", shelf(), lacking, *GATE))
    assert reason in line
    # A case that only AFTER has is a new one, and no reason.
    done = run(capsys, "compare", lacking, shelf(), *GATE)
    assert done.code == (OK if times == WITHOUT and not arguments else UNJUDGED)


def test_a_case_that_failed_or_was_not_reached(
    shelf: Shelf, tmp_path: Path, capsys: Capture
) -> None:
    failed, unreached = (
        Path(shutil.copytree(shelf(seed=77), tmp_path / name)) for name in ("failed", "unreached")
    )
    outcome = {**identity("jax compiled"), "status": "failed", "launch": 1, "reason": "by design"}
    names = (failed / "outcomes.csv").read_text().strip().split(",")
    row = ",".join("" if outcome[name] is None else str(outcome[name]) for name in names)
    (failed / "outcomes.csv").write_text(f"{','.join(names)}\n{row}\n")
    lines = (unreached / "samples.csv").read_text().splitlines(keepends=True)
    others = (line for line in lines if "jax compiled" not in line)
    (unreached / "samples.csv").write_text("".join(others))
    for folder, what in ((failed, "failed"), (unreached, "was not reached")):
        for before, after, side in ((shelf(), folder, "AFTER"), (folder, shelf(), "BEFORE")):
            done = run(capsys, "compare", before, after, *GATE)
            assert f"jax compiled {what} in {side}" in refused(done)
            done = run(capsys, "compare", before, after, *GATE, "--allow-missing", "jax compiled")
            # A run that says that it finished its launches should have measured the case.
            assert done.code == (OK if folder == failed else UNJUDGED)


def test_a_damaged_run_is_not_judged(shelf: Shelf, tmp_path: Path, capsys: Capture) -> None:
    damaged = Path(shutil.copytree(shelf(seed=77), tmp_path / "damaged"))
    path = damaged / "samples.csv"
    path.write_text(path.read_text() + path.read_text().splitlines()[-1] + "\n")
    for sides in ((shelf(), damaged), (damaged, shelf())):
        line = refused(run(capsys, "compare", *sides, *GATE))
        assert "is damaged (Left out as damaged: 1 row of samples.csv" in line
    assert run(capsys, "compare", shelf(), damaged).code == OK


def test_without_a_gate_the_same_is_shown_and_no_failure(shelf: Shelf, capsys: Capture) -> None:
    done = run(capsys, "compare", shelf(), shelf(WITHOUT))
    assert done.code == OK
    assert "Not compared: jax compiled, which is not in AFTER." in done.output
    assert "Cannot judge" not in done.output


def test_other_data_is_refused_without_a_gate_too(shelf: Shelf, capsys: Capture) -> None:
    other = shelf(workload={"data_sha256": "1" * 64})
    assert "data_sha256" in refused(run(capsys, "compare", shelf(), other))


def test_data_is_told_by_its_content_not_by_its_name(shelf: Shelf, capsys: Capture) -> None:
    renamed = shelf(workload={"data": "raw"})
    assert run(capsys, "compare", shelf(), renamed, *GATE).code == OK
    # Where the content is not known, the names must at least agree.
    unknown = shelf(workload={"data_sha256": None, "data": "raw"})
    assert "data is mnist in" in refused(run(capsys, "compare", shelf(), unknown))
    done = run(capsys, "compare", shelf(), shelf(workload={"data_sha256": None}))
    assert done.code == OK
    assert "cannot tell by content" in done.output


def test_missing_cases_may_be_allowed_by_name(shelf: Shelf, capsys: Capture) -> None:
    after = shelf(WITHOUT)
    done = run(capsys, "compare", shelf(), after, *GATE, "--allow-missing", "jax compiled")
    assert done.code == OK
    assert "Missing, as --allow-missing allows: jax compiled." in done.output
    # Another case is not.
    fewer = shelf({"numpy eager": 2.0})
    line = refused(run(capsys, "compare", shelf(), fewer, *GATE, "--allow-missing", "jax compiled"))
    assert "jax multistep is not in AFTER" in line
    assert "jax compiled" not in line
    both = ("--allow-missing", "jax compiled", "--allow-missing", "jax multistep")
    assert run(capsys, "compare", shelf(), fewer, *GATE, *both).code == OK
    together = ("--allow-missing", "jax compiled,jax multistep")
    assert run(capsys, "compare", shelf(), fewer, *GATE, *together).code == OK


def test_what_is_uncertified_is_not_missing(shelf: Shelf, capsys: Capture) -> None:
    after = shelf(uncertified=("jax compiled",))
    refused(run(capsys, "compare", shelf(), after, *GATE, "--allow-missing", "jax compiled"))


@pytest.mark.parametrize("option", ["--allow-missing", "--baseline"])
def test_an_unknown_case_is_wrong_usage(shelf: Shelf, option: str, capsys: Capture) -> None:
    done = run(capsys, "compare", shelf(), shelf(seed=77), *GATE, option, "jax compild")
    assert done.code == WRONG
    assert f'{option} "jax compild": is a case of neither bundle; did you mean jax comp' in (
        done.errors
    )


def test_a_slower_case_outweighs_what_cannot_be_judged(shelf: Shelf, capsys: Capture) -> None:
    after = shelf({"numpy eager": 4.0, "jax multistep": 0.8})
    done = run(capsys, "compare", shelf(), after, *GATE)
    assert done.code == SLOWER
    assert "Slower by more than 5.0%: numpy eager." in done.output
    assert "Cannot judge: jax compiled is not in AFTER" in done.output


def test_a_baseline_makes_machines_comparable(shelf: Shelf, capsys: Capture) -> None:
    other = shelf({case: 3 * time for case, time in TIMES.items()}, machine={"cpu": "Another CPU"})
    baseline = ("--baseline", "numpy eager")
    assert run(capsys, "compare", shelf(), other, *GATE, *baseline).code == OK
    slower = shelf(TIMES | {"jax compiled": 1.3}, machine={"cpu": "Another CPU"})
    assert run(capsys, "compare", shelf(), slower, *GATE, *baseline).code == SLOWER


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"uncertified": ("numpy eager",)}, "--baseline numpy eager: failed its certificate in AF"),
        ({"launches": 1}, "the baseline numpy eager"),
    ],
)
def test_a_baseline_must_be_judged_itself(
    shelf: Shelf, arguments: dict[str, Any], reason: str, capsys: Capture
) -> None:
    after = shelf(**arguments)
    done = run(capsys, "compare", shelf(), after, *GATE, "--baseline", "numpy eager")
    assert reason in refused(done)


def test_a_baseline_that_is_missing_or_alone(shelf: Shelf, capsys: Capture) -> None:
    alone, missing = shelf({"numpy eager": 2.0}), shelf({"jax multistep": 0.8})
    for after in (alone, missing):
        done = run(capsys, "compare", shelf(), after, "--baseline", "numpy eager")
        refused(done)


@pytest.mark.parametrize("how", ["the same folder", "a copy", "a link"])
def test_the_same_run_twice_passes_with_a_note(
    shelf: Shelf, how: str, tmp_path: Path, capsys: Capture
) -> None:
    other = tmp_path / "other"
    if how == "a copy":
        shutil.copytree(shelf(), other)
    elif how == "a link":
        other.symlink_to(shelf())
    else:
        other = shelf()
    output = tmp_path / "same.md"
    done = run(capsys, "compare", shelf(), other, *GATE, "--output", output)
    assert done.code == OK
    for text in (done.output, output.read_text()):
        assert "BEFORE and AFTER hold the same run: nothing is compared." in text
    # Not one that differs in a single figure.
    changed = Path(shutil.copytree(shelf(), tmp_path / "changed"))
    samples = pd.read_csv(changed / "samples.csv")
    faster = samples.assign(seconds=samples["seconds"].where(samples.index > 0, 0.05))
    faster.to_csv(changed / "samples.csv", index=False)
    assert "the same run" not in run(capsys, "compare", shelf(), changed).output


def test_equal_rows_of_other_data_or_with_damage_are_not_the_same_run(
    shelf: Shelf, tmp_path: Path, capsys: Capture
) -> None:
    torn, other = (Path(shutil.copytree(shelf(), tmp_path / name)) for name in ("torn", "other"))
    with (torn / "samples.csv").open("a") as samples:
        samples.write("0,0,1")
    path = other / "environment.json"
    path.write_text(path.read_text().replace('"data_sha256": "0', '"data_sha256": "1'))
    for after, reason in ((torn, "AFTER is damaged"), (other, "data_sha256 is")):
        assert reason in refused(run(capsys, "compare", shelf(), after, *GATE))


def test_the_wrong_order_is_pointed_out(shelf: Shelf, tmp_path: Path, capsys: Capture) -> None:
    after = Path(shutil.copytree(shelf(seed=77), tmp_path / "after"))
    path = after / "environment.json"
    for started, said in (
        ("2025-12-31T00:00:00+00:00", True), ("2026-01-01T00:30:00+02:00", True),
        ("2026-01-02T00:00:00+00:00", False), ("2026-01-01T00:00:00+00:00", False),
        ("yesterday", False), ("2025-12-31T00:00:00", False),
    ):  # fmt: skip
        path.write_text(json.dumps(json.loads(path.read_text()) | {"started": started}))
        done = run(capsys, "compare", shelf(), after, *GATE)
        assert ("AFTER is older than BEFORE" in done.output) == said, started


@pytest.mark.parametrize(
    "limit",
    ["nan", "-5", "-0.1%", "0", "0%", "1e400", "inf", "%", "", "5%%", "1e300", "five", "5 5"],
)
def test_limits_that_could_never_tell_are_refused(
    shelf: Shelf, limit: str, capsys: Capture
) -> None:
    done = run(capsys, "compare", shelf(), shelf(seed=77), f"--fail-if-slower={limit}")
    assert done.code == WRONG
    too_large = "is more than 1,000, the largest number here"
    assert "is not a percentage above 0" in done.errors or too_large in done.errors


def test_percentages() -> None:
    assert percentage("5%") == percentage("5") == percentage(" 5 % ") == 0.05


def test_a_limit_finer_than_runs_can_tell_is_pointed_out(shelf: Shelf, capsys: Capture) -> None:
    done = run(capsys, "compare", shelf(), shelf(seed=77), "--fail-if-slower", "0.05")
    assert "A limit under 1% is finer than two runs can tell apart." in done.output


def rows(ratio: list[float], low: list[float], high: list[float]) -> pd.DataFrame:
    cases = [f"case {number}" for number in range(len(ratio))]
    launches = {"launches_before": 3, "launches_after": 3}
    limits = {"ratio": ratio, "ratio_low": low, "ratio_high": high}
    return pd.DataFrame({"case": cases, **limits}).assign(**launches)


def test_slower_than_the_limit_only_with_confidence() -> None:
    table = rows([1.2, 1.2, 1.2, 1.02], [1.06, 1.04, np.nan, 1.01], [1.3] * 4)
    assert gate.beyond(table, 0.05) == (["case 0"], ["case 1"])


def test_the_smallest_slowdown_that_would_have_been_shown(shelf: Shelf) -> None:
    """A slowdown of that size, with an interval as wide, begins just at the limit."""
    old, new = Bundle.read(shelf()), Bundle.read(shelf(seed=77))
    compared = comparison.compare(old, new)
    judged = gate.judge(compared, old, new, 0.05, [])
    shown = {row["case"]: 1.05 * row["ratio"] / row["ratio_low"] for _, row in
             compared.rows.iterrows()}  # fmt: skip
    assert judged.smallest_shown == pytest.approx(max(shown.values()) - 1)
    assert shown[judged.worst_case] == max(shown.values())


def test_an_interval_beyond_a_doubled_step_time_is_not_judged() -> None:
    table = rows([1.0, 1.0, 4.0, 0.5], [0.6, 0.4, 2.5, 0.2], [1.9, 2.1, 6.0, 1.2])
    reasons = gate._of_intervals(table, 0.05)
    assert len(reasons) == 1
    assert "case 1 may take up to 2.1 times as long" in reasons[0]
    # A limit that allows more than doubling is not itself a doubt.
    assert gate._of_intervals(rows([2.0], [1.9], [2.1]), 1.5) == []
