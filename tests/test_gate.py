"""The gate of `compare` fails closed: what it cannot judge is never a silent 0."""

from __future__ import annotations

import json
import re
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks import exit_codes
from benchmarks.analysis.between_runs import comparison, gate
from benchmarks.analysis.findings import Findings, compute_findings
from benchmarks.bundle.reader import Bundle
from benchmarks.commands import report
from benchmarks.commands.options import percentage
from tests.support.runs import Result, run
from tests.synthetic_bundles import identity, write_bundle

TIMES = {"numpy eager": 2.0, "jax compiled": 1.0, "jax multistep": 0.8}
GATE = ("--fail-if-slower", "5%")
OK, SLOWER, WRONG, UNJUDGED = (
    exit_codes.OK, exit_codes.FAILED, exit_codes.REFUSED, exit_codes.UNJUDGED,
)  # fmt: skip


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    return Shelf(tmp_path_factory.mktemp("shelf"))


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


Capture = pytest.CaptureFixture[str]


class Shelf:
    """Runs that are written once each, by their cases' times and arguments of `write_bundle`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: dict[str, list[Path]] = {}

    def __call__(self, times: dict[str, float] = TIMES, **arguments: Any) -> list[Path]:
        """Three runs."""
        key = json.dumps([times, arguments])
        if key not in self._made:
            arguments = {"rounds": 4, "spread": 0.002, "seed": 0} | arguments
            # Those of equal times and arguments differ by their own seed alone.
            first = 10 * (zlib.crc32(key.encode()) % 1000) + 10_000 * arguments.pop("seed")
            self._made[key] = [
                write_bundle(
                    self._folder / f"{len(self._made)}-{run}", times, seed=first + run, **arguments
                )
                for run in range(3)
            ]
        return self._made[key]


def start(folder: Path, hour: int) -> None:
    """Let a run have been started at this hour."""
    path = folder / "environment.json"
    content = json.loads(path.read_text()) | {"started": f"2026-01-01T{hour:02d}:00:00+00:00"}
    path.write_text(json.dumps(content))


def gated(
    capsys: Capture, before: list[Path], after: list[Path], *options: Any, turns: bool = True
) -> Result:
    """The gate's result on runs that were made by turns."""
    for number, folder in enumerate(before):
        start(folder, 2 * number)
    for number, folder in enumerate(after):
        start(folder, 2 * number + 1 if turns else 12 + number)
    sides = ["--before", *map(str, before), "--after", *map(str, after)]
    return run(capsys, "compare", *sides, *(options or GATE))


def copied(folders: list[Path], place: Path) -> list[Path]:
    """Copies of runs, which a test may change."""
    return [Path(shutil.copytree(one, place / str(n))) for n, one in enumerate(folders)]


def refused(done: Result) -> str:
    """The one line on standard error with which the gate says that it cannot judge."""
    assert done.code == UNJUDGED
    assert done.errors.startswith("run_all.py: ")
    return done.errors


def test_equal_runs_pass(shelf: Shelf, capsys: Capture) -> None:
    done = gated(capsys, shelf(), shelf(seed=77))
    assert (done.code, done.errors) == (OK, "")
    assert "No case that was compared is shown to be slower by more than 5.0%." in done.output
    assert "Cannot judge" not in done.output


@pytest.mark.parametrize(
    ("limit", "code", "printed"),
    [
        ("5%", SLOWER, "Slower by more than 5.0%: jax compiled."),
        ("5", SLOWER, "Slower by more than 5.0%: jax compiled."),
        ("25%", OK, "No case that was compared is shown to be slower by more than 25.0%"),
    ],
)
def test_the_limit(shelf: Shelf, limit: str, code: int, printed: str, capsys: Capture) -> None:
    slowed = shelf(TIMES | {"jax compiled": 1.105}, seed=2)
    done = gated(capsys, shelf(seed=1), slowed, "--fail-if-slower", limit)
    assert done.code == code
    assert printed in done.output


def test_what_runs_do_not_show_is_not_judged(shelf: Shelf, capsys: Capture) -> None:
    """Runs that vary by 8% would hide a slowdown of 10%; it says how many are needed."""
    wide: dict[str, Any] = {"launches": 2, "rounds": 1, "spread": 0.06}
    line = refused(gated(capsys, shelf(**wide), shelf(seed=4, **wide)))
    assert re.search(r"it would likely take \d+ runs a side: go on with ab … --runs \d+", line)
    wider = wide | {"spread": 0.3}
    line = refused(gated(capsys, shelf(**wider), shelf(seed=3, **wider)))
    assert "use a quieter machine: 24 runs a side would not suffice" in line


def test_one_run_a_side_is_not_judged(shelf: Shelf, capsys: Capture) -> None:
    slowed = shelf(TIMES | {"jax compiled": 3.0}, seed=2)
    for runs in (1, 2):
        line = refused(gated(capsys, shelf()[:runs], slowed[:runs]))
        assert "a side cannot tell a change from what differs from run to run" in line
        assert "python run_all.py ab REV1 REV2" in line
    line = refused(run(capsys, "compare", shelf()[0], slowed[0], *GATE))
    assert "1 run a side cannot tell" in line


def test_runs_that_were_not_made_by_turns_are_not_judged(shelf: Shelf, capsys: Capture) -> None:
    line = refused(gated(capsys, shelf(), shelf(seed=77), turns=False))
    assert "the runs were not made by turns" in line
    line = refused(gated(capsys, shelf(), [*shelf(seed=77), *shelf(seed=78)]))
    assert "unlike numbers of runs" in line


WITHOUT = {case: time for case, time in TIMES.items() if case != "jax compiled"}
LACKING = {
    "is missing": ((WITHOUT, {}), "jax compiled is not in AFTER"),
    "was skipped": ((WITHOUT, {"skipped": ("jax compiled",)}), "jax compiled was skipped in AFTER"),
    "is uncertified": (
        (TIMES, {"uncertified": ("jax compiled",)}),
        "jax compiled failed its certificate in AFTER",
    ),
    "was interrupted": ((TIMES, {"run": {"state": "interrupted"}}), "AFTER 1 was interrupted"),
    "was stopped": (
        (TIMES, {"run": {"state": "stopped by an error"}}), "AFTER 1 was stopped by an error"
    ),
    "has not ended": ((TIMES, {"run": {"state": "running"}}), "AFTER 1 has not ended, or was kill"),
    "is of another machine": (
        (TIMES, {"machine": {"cpu": "Another CPU"}}),
        "the machines differ (cpu Some CPU before, Another CPU after)",
    ),
    "had other threads": ((TIMES, {"run": {"threads": 1}}), "threads are 2 in BEFORE and 1 in AFT"),
    "was spoiled": (
        (TIMES, {"variables": {"PYTHONTRACEMALLOC": "10"}}), "some runs alone were spoiled: PYTHO"
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
    "differs widely": ((TIMES, {"spread": 0.5}), "10% slower, so widely do its runs differ"),
    "has a lead-in": (
        (TIMES, {"run": {"lead_in_steps": 10}}), "blocks of some runs alone have a lead-in; measure"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("other", "reason"), LACKING.values(), ids=LACKING)
def test_what_a_run_lacks_is_a_reason_on_either_side(
    shelf: Shelf, other: tuple[dict[str, float], dict[str, Any]], reason: str, capsys: Capture
) -> None:
    times, arguments = other
    lacking = shelf(times, **arguments)
    line = refused(gated(capsys, shelf(), lacking))
    assert reason in line
    # A case that only AFTER has is a new one, and no reason.
    done = gated(capsys, lacking, shelf())
    assert done.code == (OK if times == WITHOUT and not arguments else UNJUDGED)


def test_one_run_of_three_that_is_unlike_the_others(shelf: Shelf, capsys: Capture) -> None:
    updated = shelf(packages={"jax": "0.11.0"})
    line = refused(gated(capsys, shelf(), [*shelf(seed=77)[:2], updated[2]]))
    assert "the runs AFTER differ in jax; make them alike" in line
    # That is what a comparison is for.
    assert gated(capsys, shelf(), updated).code == OK


def test_a_case_that_failed_or_was_not_reached(
    shelf: Shelf, tmp_path: Path, capsys: Capture
) -> None:
    failed, unreached = (
        copied(shelf(seed=77), tmp_path / name) for name in ("failed", "unreached")
    )
    outcome = {**identity("jax compiled"), "status": "failed", "launch": 1, "reason": "by design"}
    names = (failed[0] / "outcomes.csv").read_text().strip().split(",")
    row = ",".join("" if outcome[name] is None else str(outcome[name]) for name in names)
    (failed[0] / "outcomes.csv").write_text(f"{','.join(names)}\n{row}\n")
    lines = (unreached[0] / "samples.csv").read_text().splitlines(keepends=True)
    others = (line for line in lines if "jax compiled" not in line)
    (unreached[0] / "samples.csv").write_text("".join(others))
    for folders, what in ((failed, "failed"), (unreached, "was not reached")):
        for before, after, side in ((shelf(), folders, "AFTER"), (folders, shelf(), "BEFORE")):
            done = gated(capsys, before, after)
            assert f"jax compiled {what} in {side}" in refused(done)
            done = gated(capsys, before, after, *GATE, "--allow-missing", "jax compiled")
            # A run that says that it finished its launches should have measured the case.
            assert done.code == (OK if folders == failed else UNJUDGED)


def test_a_damaged_run_is_not_judged(shelf: Shelf, tmp_path: Path, capsys: Capture) -> None:
    damaged = copied(shelf(seed=77), tmp_path)
    path = damaged[1] / "samples.csv"
    path.write_text(path.read_text() + path.read_text().splitlines()[-1] + "\n")
    for sides in ((shelf(), damaged), (damaged, shelf())):
        line = refused(gated(capsys, *sides))
        assert "2 is damaged (Left out as damaged: 1 row of samples.csv" in line
    assert run(capsys, "compare", shelf()[0], damaged[1]).code == OK


def test_without_a_gate_the_same_is_shown_and_no_failure(shelf: Shelf, capsys: Capture) -> None:
    done = gated(capsys, shelf(), shelf(WITHOUT), "--baseline", "numpy eager")
    assert done.code == OK
    assert "Not compared: jax compiled, which is not in AFTER." in done.output
    assert "Cannot judge" not in done.output


def test_other_data_is_refused_without_a_gate_too(shelf: Shelf, capsys: Capture) -> None:
    other = shelf(workload={"data_sha256": "1" * 64})
    assert "data_sha256" in refused(run(capsys, "compare", shelf()[0], other[0]))


def test_data_is_told_by_its_content_not_by_its_name(shelf: Shelf, capsys: Capture) -> None:
    renamed = shelf(workload={"data": "raw"})
    assert gated(capsys, shelf(), renamed).code == OK
    # Where the content is not known, the names must at least agree.
    unknown = shelf(workload={"data_sha256": None, "data": "raw"})
    assert "data is mnist in" in refused(run(capsys, "compare", shelf()[0], unknown[0]))
    done = run(capsys, "compare", shelf()[0], shelf(workload={"data_sha256": None})[0])
    assert done.code == OK
    assert "cannot tell by content" in done.output


def test_missing_cases_may_be_allowed_by_name(shelf: Shelf, capsys: Capture) -> None:
    after = shelf(WITHOUT)
    done = gated(capsys, shelf(), after, *GATE, "--allow-missing", "jax compiled")
    assert done.code == OK
    assert "Missing, as --allow-missing allows: jax compiled." in done.output
    # Another case is not.
    fewer = shelf({"numpy eager": 2.0})
    line = refused(gated(capsys, shelf(), fewer, *GATE, "--allow-missing", "jax compiled"))
    assert "jax multistep is not in AFTER" in line
    assert "jax compiled" not in line
    both = ("--allow-missing", "jax compiled", "--allow-missing", "jax multistep")
    assert gated(capsys, shelf(), fewer, *GATE, *both).code == OK
    together = ("--allow-missing", "jax compiled,jax multistep")
    assert gated(capsys, shelf(), fewer, *GATE, *together).code == OK


def test_what_is_uncertified_is_not_missing(shelf: Shelf, capsys: Capture) -> None:
    after = shelf(uncertified=("jax compiled",))
    refused(gated(capsys, shelf(), after, *GATE, "--allow-missing", "jax compiled"))


@pytest.mark.parametrize("option", ["--allow-missing", "--baseline"])
def test_an_unknown_case_is_wrong_usage(shelf: Shelf, option: str, capsys: Capture) -> None:
    done = gated(capsys, shelf(), shelf(seed=77), *GATE, option, "jax compild")
    assert done.code == WRONG
    assert f'{option} "jax compild": is a case of none of the bundles; did you mean jax comp' in (
        done.errors
    )


def test_a_slower_case_outweighs_what_cannot_be_judged(shelf: Shelf, capsys: Capture) -> None:
    after = shelf({"numpy eager": 4.0, "jax multistep": 0.8})
    done = gated(capsys, shelf(), after, *GATE)
    assert done.code == SLOWER
    assert "Slower by more than 5.0%: numpy eager." in done.output
    assert "Cannot judge: jax compiled is not in AFTER" in done.output


def test_a_baseline_makes_machines_comparable(shelf: Shelf, capsys: Capture) -> None:
    other = shelf({case: 3 * time for case, time in TIMES.items()}, machine={"cpu": "Another CPU"})
    baseline = ("--baseline", "numpy eager")
    assert gated(capsys, shelf(), other, *GATE, *baseline).code == OK
    slower = shelf(TIMES | {"jax compiled": 1.3}, machine={"cpu": "Another CPU"})
    assert gated(capsys, shelf(), slower, *GATE, *baseline).code == SLOWER


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"uncertified": ("numpy eager",)}, "--baseline numpy eager: failed its certificate in AF"),
        ({"skipped": ("numpy eager",)}, "--baseline numpy eager: was skipped in AF"),
    ],
)
def test_a_baseline_must_be_judged_itself(
    shelf: Shelf, arguments: dict[str, Any], reason: str, capsys: Capture
) -> None:
    others = {case: time for case, time in TIMES.items() if case != "numpy eager"}
    after = shelf(others if "skipped" in arguments else TIMES, **arguments)
    done = gated(capsys, shelf(), after, *GATE, "--baseline", "numpy eager")
    assert reason in refused(done)


def test_a_baseline_that_is_missing_or_alone(shelf: Shelf, capsys: Capture) -> None:
    alone, missing = shelf({"numpy eager": 2.0}), shelf({"jax multistep": 0.8})
    for after in (alone, missing):
        done = run(capsys, "compare", shelf()[0], after[0], "--baseline", "numpy eager")
        refused(done)


@pytest.mark.parametrize("how", ["the same folder", "a copy", "a link"])
def test_the_same_run_twice_passes_with_a_note(
    shelf: Shelf, how: str, tmp_path: Path, capsys: Capture
) -> None:
    other = tmp_path / "other"
    if how == "a copy":
        shutil.copytree(shelf()[0], other)
    elif how == "a link":
        other.symlink_to(shelf()[0])
    else:
        other = shelf()[0]
    output = tmp_path / "same.md"
    done = run(capsys, "compare", shelf()[0], other, *GATE, "--output", output)
    assert done.code == OK
    for text in (done.output, output.read_text()):
        assert "BEFORE and AFTER hold the same run: nothing is compared." in text
    # Not one that differs in a single figure.
    changed = Path(shutil.copytree(shelf()[0], tmp_path / "changed"))
    samples = pd.read_csv(changed / "samples.csv")
    faster = samples.assign(seconds=samples["seconds"].where(samples.index > 0, 0.05))
    faster.to_csv(changed / "samples.csv", index=False)
    assert "the same run" not in run(capsys, "compare", shelf()[0], changed).output


def test_equal_rows_of_other_data_or_with_damage_are_not_the_same_run(
    shelf: Shelf, tmp_path: Path, capsys: Capture
) -> None:
    torn, other = (Path(shutil.copytree(shelf()[0], tmp_path / name)) for name in ("torn", "other"))
    with (torn / "samples.csv").open("a") as samples:
        samples.write("0,0,1")
    path = other / "environment.json"
    path.write_text(path.read_text().replace('"data_sha256": "0', '"data_sha256": "1'))
    for after, reason in ((torn, "AFTER is damaged"), (other, "data_sha256 is")):
        assert reason in refused(run(capsys, "compare", shelf()[0], after, *GATE))


def test_a_run_named_twice_is_refused(shelf: Shelf, tmp_path: Path, capsys: Capture) -> None:
    one, two, _ = shelf()
    copy = Path(shutil.copytree(two, tmp_path / "copy"))
    # Another start does not make it another run.
    done = gated(capsys, [one, two, copy], shelf(seed=77))
    assert done.code == WRONG
    assert "hold the same run; name each run once" in done.errors


def test_the_wrong_order_is_pointed_out(shelf: Shelf, tmp_path: Path, capsys: Capture) -> None:
    after = Path(shutil.copytree(shelf(seed=77)[0], tmp_path / "after"))
    path = after / "environment.json"
    for started, said in (
        ("2025-12-31T00:00:00+00:00", True), ("2026-01-01T00:30:00+02:00", True),
        ("2026-01-02T00:00:00+00:00", False), ("2026-01-01T00:00:00+00:00", False),
        ("yesterday", False), ("2025-12-31T00:00:00", False),
    ):  # fmt: skip
        path.write_text(json.dumps(json.loads(path.read_text()) | {"started": started}))
        done = run(capsys, "compare", shelf()[0], after)
        assert ("AFTER is older than BEFORE" in done.output) == said, started


@pytest.mark.parametrize(
    "limit",
    ["nan", "-5", "-0.1%", "0", "0%", "1e400", "inf", "%", "", "5%%", "1e300", "five", "5 5"],
)
def test_limits_that_could_never_tell_are_refused(
    shelf: Shelf, limit: str, capsys: Capture
) -> None:
    done = gated(capsys, shelf(), shelf(seed=77), f"--fail-if-slower={limit}")
    assert done.code == WRONG
    too_large = "is more than 1,000, the largest number here"
    assert "is not a percentage above 0" in done.errors or too_large in done.errors


def test_percentages() -> None:
    assert percentage("5%") == percentage("5") == percentage(" 5 % ") == 0.05


def test_a_limit_finer_than_runs_can_tell_is_pointed_out(shelf: Shelf, capsys: Capture) -> None:
    done = gated(capsys, shelf(), shelf(seed=77), "--fail-if-slower", "0.05")
    assert "A limit under 1% is finer than runs can tell apart." in done.output


def test_the_smallest_slowdown_that_would_be_found() -> None:
    """Where runs vary so, 9 of 10 comparisons find it, and equals are named in LEVEL of them."""
    generator, error, limit, cases = np.random.default_rng(0), 0.02, 0.05, 3
    claimed, likely = (
        float(one.iloc[0])
        for one in gate.thresholds(pd.Series([error]), pd.Series([8.0]), cases, limit)
    )
    assert 1 + limit < claimed < likely
    # An error that is estimated with eight degrees of freedom.
    estimates = generator.normal(0, error, 100_000)
    errors = error * np.sqrt(generator.chisquare(8, 100_000) / 8)
    reach = np.log(claimed) / error
    alarms = float(np.mean(estimates > reach * errors))
    assert alarms == pytest.approx(gate.LEVEL / cases, rel=0.15)
    assert np.mean(np.log(likely) + estimates > reach * errors) == pytest.approx(0.9, abs=0.03)


def test_more_runs_are_asked_for_where_they_vary_more() -> None:
    def asked(error: float) -> float:
        return gate._needed(pd.Series({"error": error, "freedom": 4.0}), 3, 2.0, 3, 0.05)

    assert 3 < asked(0.02) < asked(0.03) < asked(0.04)
    assert np.isinf(asked(0.2))


def test_cases_are_taken_against_a_floor_where_that_helps(shelf: Shelf, capsys: Capture) -> None:
    """Runs whose machine differs by 10% from one to the next, alike for all cases."""
    times = TIMES | {"numpy floor": 0.5}
    before, after = list[Path](), list[Path]()
    for number, factor in enumerate((1.0, 1.1, 1.12, 0.9, 0.95, 1.05)):
        changed = {case: time * factor for case, time in times.items()}
        (after if number % 2 else before).append(shelf(changed, seed=number)[0])
    done = gated(capsys, before, after)
    assert done.code == OK
    assert "The baseline itself, numpy floor, takes" in done.output
    # Where the floor is another program, or has become slower, nothing is divided by it.
    updated = shelf(times, seed=7, packages={"numpy": "2.5.0"})
    slower = shelf({case: 1.3 * time for case, time in times.items()}, seed=8)
    for others in (updated, slower):
        assert "The baseline itself" not in gated(capsys, shelf(times), others).output


VARIANTS = TIMES | {"jax compiled (new)": 1.0, "numpy eager (old)": 2.0}


def test_variants_are_judged_within_one_run(shelf: Shelf, capsys: Capture, tmp_path: Path) -> None:
    gate_of_run = ("--fail-if-slower", "5%")
    equal = shelf(VARIANTS, launches=5)[0]
    output = tmp_path / "variants.md"
    done = run(capsys, "compare", equal, *gate_of_run, "--output", output)
    assert (done.code, done.errors) == (OK, "")
    assert "| jax compiled (new) |" in output.read_text()
    slowed = shelf(VARIANTS | {"jax compiled (new)": 1.12}, launches=5)[0]
    done = run(capsys, "compare", slowed, *gate_of_run)
    assert done.code == SLOWER
    assert "Slower by more than 5.0%: jax compiled (new)." in done.output
    assert "1.12" in done.output
    assert run(capsys, "compare", slowed).code == OK


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"launches": 2}, "fewer than 3 launches of a case; measure it with --launches 5"),
        ({"uncertified": ("jax compiled (new)",)}, "jax compiled (new) failed its certificate in"),
        ({"run": {"state": "interrupted"}}, "THE RUN was interrupted; measure it again"),
        ({"spread": 0.2}, "so widely do its launches differ; it would likely take"),
    ],
)
def test_what_a_run_of_variants_lacks(
    shelf: Shelf, arguments: dict[str, Any], reason: str, capsys: Capture
) -> None:
    folder = shelf(VARIANTS, **arguments)[0]
    line = refused(run(capsys, "compare", folder, *GATE))
    assert reason in line or ("launches" in reason and "use a quieter machine" in line)


def test_a_run_without_variants_is_compared_with_another(shelf: Shelf, capsys: Capture) -> None:
    done = run(capsys, "compare", shelf()[0], *GATE)
    assert done.code == WRONG
    assert "has no variants; name AFTER as well" in done.errors
    done = run(capsys, "compare", shelf(VARIANTS)[0], "--baseline", "numpy eager")
    assert done.code == WRONG
    assert "variants are compared with their bases" in done.errors
