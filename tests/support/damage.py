"""Damages bundles, at random or as the schema suggests, and tries what reads them.

`python -m tests.support.damage COUNT [FIRST]` tries that many random ones, from seed FIRST on, and
prints how they ended and each one that ended in an exception.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.analysis import findings
from benchmarks.analysis.between_runs import comparison, gate
from benchmarks.analysis.findings import Findings
from benchmarks.bundle.checks import describe_damage
from benchmarks.bundle.reader import Bundle
from benchmarks.errors import UnjudgedError, UsageError
from benchmarks.reports import formats
from benchmarks.reports.between_runs import comparison as comparison_report
from benchmarks.reports.between_runs import several
from benchmarks.reports.run import document as run
from benchmarks.schema.tables import IDENTITY, MEASURED
from tests.synthetic_bundles import write_bundle

LEARNED = {"jax compiled": [0.97, 0.971], "numpy eager": [0.97, 0.972]}
TIMES = {"jax compiled": 1.0, "jax compiled (control)": 1.0, "numpy eager": 2.0}
CELLS = (
    *("", "nan", "inf", "-inf", "0", "0.0", "-1", "1", "2", "1.5", "1e9", "1e300", "1e999", "-0.0"),
    *("9" * 18, "9" * 400, "True", "False", "fast", '"', '"0,5"', "0,5", "jax compiled", "floor"),
    *("exact", "as timed", "logits", "epsilon-hat", "gpu", "failed", "tf32", "é", "\0", "a|b<c>"),
)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 10**9, 10**30, 0.5, -0.5, 1e300, "", "jax", "\ud800", "a|b"),
    *([], [1], [0, 0], ["a"], {}, {"a": 1}, {"a": "b"}, float("nan"), float("inf"), 10**400),
)
Files = dict[str, bytes | None]
"""The files of a bundle; None for a folder in the place of a file."""


def small_bundle(folder: Path) -> Path:
    """A small bundle that has rows in every table, and has learned apart from what was timed."""
    floors = {"numpy floor": 0.5}
    write_bundle(
        folder, TIMES | floors, launches=2, rounds=2, skipped=("pytorch eager",), learned=LEARNED
    )
    record = json.loads((folder / "environment.json").read_text())
    cases = record["run"]["cases"]
    record["run"]["floors"] = [case for case in cases if case["mode"] == "floor"]
    record["run"]["cases"] = [case for case in cases if case["mode"] != "floor"]
    (folder / "environment.json").write_text(json.dumps(record, indent=2))
    # Fewer readings, which are what takes most time to analyse.
    readings = (folder / "accuracy.csv").read_text().splitlines(keepends=True)
    step = MEASURED["accuracy"].names.index("step")
    kept = [row for row in readings[1:] if int(row.split(",")[step]) in (0, 250, 300, 500)]
    (folder / "accuracy.csv").write_text("".join([readings[0], *kept]))
    count = len(("launch", "seed", *IDENTITY))
    identity = ",".join((folder / "ledger.csv").read_text().splitlines()[1].split(",")[:count])
    with (folder / "readings.csv").open("a") as file:
        file.write(f"{identity},0,1,32,2.3,0.125\n{identity},50,51,32,2.0,0.5\n")
    return folder


def read_files(folder: Path) -> Files:
    """The files of a bundle that commands read."""
    names = [*(f"{table}.csv" for table in MEASURED), "environment.json"]
    return {name: (folder / name).read_bytes() for name in names}


def write_files(files: Files, folder: Path) -> Path:
    """Write the files of a bundle into a new folder, or one that is replaced."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir()
    for name, content in files.items():
        if content is None:
            (folder / name).mkdir()
        else:
            (folder / name).write_bytes(content)
    return folder


def change_bytes(content: bytes, chance: random.Random) -> bytes:
    """Overwrite, remove, insert or cut off some bytes."""
    start = chance.randrange(len(content) + 1)
    end = min(len(content), start + chance.choice((0, 1, 1, 8, 100)))
    new = chance.choice((b"", b"\0", b"\n", b'"', b",", b"\r", b"\xff", b"7", b"-", b"\0" * 64))
    return content[:start] + (b"" if chance.random() < 0.1 else new + content[end:])


def change_lines(content: bytes, chance: random.Random) -> bytes:
    """Remove, repeat, swap or join lines, or put a semicolon or a line of another system in."""
    lines = content.split(b"\n")
    one, other = chance.randrange(len(lines)), chance.randrange(len(lines))
    match chance.randrange(6):
        case 0:
            del lines[min(one, other) : max(one, other) + 1]
        case 1:
            lines.insert(other, lines[one])
        case 2:
            lines[one], lines[other] = lines[other], lines[one]
        case 3:
            lines[one] = lines[one] + lines[other]
        case 4:
            lines[one] = lines[one].replace(b",", b";")
        case 5:
            return b"\r\n".join(lines)
    return b"\n".join(lines)


def change_cell(content: bytes, chance: random.Random) -> bytes:
    """Put another value into a cell, or that of another cell of its column."""
    lines = content.decode("utf-8", "replace").split("\n")
    rows = [line.split(",") for line in lines]
    row = chance.choice(rows)
    place = chance.randrange(len(row))
    others = [one[place] for one in rows if len(one) > place]
    row[place] = chance.choice((*CELLS, *chance.choices(others, k=4)))
    return "\n".join(",".join(row) for row in rows).encode("utf-8", "replace")


def change_entry(content: bytes, chance: random.Random) -> bytes:
    """Replace, remove or add an entry of environment.json, or one that it should not have twice."""
    try:
        record = json.loads(content)
    except ValueError:
        return content
    at: Any = record
    while isinstance(at, dict | list) and at:
        keys = list(at) if isinstance(at, dict) else range(len(at))
        key = chance.choice(keys)
        if not isinstance(at[key], dict | list) or not at[key] or chance.random() < 0.2:
            if chance.random() < 0.2:
                del at[key]
            else:
                at[key] = chance.choice(VALUES)
            break
        at = at[key]
    text = json.dumps(record)
    return (text.replace("{", '{"launch": 1, ', 1) if chance.random() < 0.1 else text).encode()


def damage(files: Files, seed: int) -> Files:
    """A copy of a bundle with one to four random changes."""
    chance, files = random.Random(seed), dict(files)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 4))):
        name = chance.choice([name for name in files if files[name]] or ["environment.json"])
        content = files.get(name) or b""
        changes: Sequence[Callable[[bytes, random.Random], bytes]]
        changes = (change_bytes, change_cell, change_cell, change_lines)
        if name == "environment.json":
            changes = (*[change_entry] * 6, change_bytes)
        match chance.randrange(20):
            case 0:
                files[name] = b""
            case 1:
                del files[name]
            case 2:
                files[name] = chance.choice([files.get("samples.csv"), content + content, None])
            case _:
                files[name] = chance.choice(changes)(content, chance)
    return files


def try_all(folder: Path, whole: tuple[Bundle, Findings], target: Path) -> str:
    """Do with a bundle what `report` and `compare` do: how it ended, in a word.

    It is compared with the bundle that is whole. Figures and page are left out: they take seconds.
    What is not foreseen raises an exception.
    """
    try:
        bundle = Bundle.read(folder)
    except UsageError as error:
        return "refused" if "\n" not in str(error) else "refused in several lines"
    found = findings.compute_findings(bundle)
    findings.write(found, target)
    report = run.document(bundle, found).markdown()
    assert formats.text(describe_damage(bundle.problems)) in report
    several.document({"one": (bundle, found), "two": (bundle, found)}).markdown()
    computed = {id(bundle): found, id(whole[0]): whole[1]}
    for sides in ((whole[0], bundle), (bundle, whole[0])):
        # Each is computed once, which spares half of the time.
        with (
            patch.object(comparison, "compute_findings", lambda one: computed[id(one)]),
            suppress(UsageError, UnjudgedError),
        ):
            before, after = ((side,) for side in sides)
            result = comparison.compare(before, after)
            judged = gate.judge(result, {"before": before, "after": after}, 0.05, [])
            comparison_report.markdown(result, "one", "other", gate=judged)
            assert judged.unjudged or not bundle.problems, "a gate passed what is damaged"
    return "damage was named" if bundle.problems else "nothing was found"


def main(count: int, first: int = 0) -> None:
    """Try `count` random damages."""
    warnings.simplefilter("error", RuntimeWarning)
    ends: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        folder = small_bundle(place / "whole")
        files, bundle = read_files(folder), Bundle.read(folder)
        whole = bundle, findings.compute_findings(bundle)
        assert try_all(folder, whole, place) == "nothing was found"
        for seed in range(first, first + count):
            damaged = write_files(damage(files, seed), place / "damaged")
            try:
                ends[try_all(damaged, whole, place)] += 1
            except Exception as error:
                frames = traceback.extract_tb(error.__traceback__)
                own = [f for f in frames if "benchmarks" in f.filename]
                at = " < ".join(f"{Path(f.filename).name}:{f.lineno}" for f in own[::-1])
                what = f"{type(error).__name__} {str(error)[:80]} at {at}"
                if not ends[what]:
                    print(f"seed {seed}: {what}", flush=True)
                ends[what] += 1
    for end, times in ends.most_common():
        print(times, end)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
