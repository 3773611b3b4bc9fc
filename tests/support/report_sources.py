"""The sources of the numbers in the tables of a report.

`doubts` compares every cell with the bundle's CSVs. The source of each column is written here a
second time, independently of the program, so that neither a number typed by hand nor one of
another row or column passes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from numbers import Real
from pathlib import Path
from typing import Any

import pandas as pd

from backends.registry import BACKENDS
from benchmarks.schema import BLOCK_CHECKS, ENTRIES, HORIZON, STAGES
from tests.support.report_tables import ReadTable

NUMBER = re.compile(r"-?\d+(?:,\d{3})*(?:\.\d+)?(?:e[+-]\d+)?%?")


def shows(text: str, value: Any) -> bool:
    """Whether `text` is `value`, rounded to the digits that are shown."""
    if text in ("–", ""):
        return bool(pd.isna(value)) or value == ""
    if not NUMBER.fullmatch(text) or not isinstance(value, Real):
        return text == str(value)
    digits = text.rstrip("%").replace(",", "")
    mantissa, _, exponent = digits.partition("e")
    decimals = len(mantissa.partition(".")[2])
    scaled = 100 * float(value) if text.endswith("%") else float(value)
    if not exponent:
        return float(f"{scaled:.{decimals}f}") == float(digits)
    return float(f"{scaled:.{decimals}e}") == float(digits)


MARK = "‡"
"""Behind the name of a case whose products were certified by another library's."""


@dataclass
class Sources:
    """The CSVs of a bundle."""

    folder: Path

    def __getattr__(self, name: str) -> pd.DataFrame:
        table = pd.read_csv(self.folder / f"{name}.csv")
        setattr(self, name, table)
        return table

    @cached_property
    def by_seed(self) -> pd.DataFrame:
        """The accuracies of each case and seed: of trainings of their own, or of the launches."""
        if not (self.folder / "trainings.csv").exists() or self.trainings.empty:
            return self.launches
        rows = []
        for (case, seed), readings in self.learning.groupby(["case", "seed"]):
            last = readings.nlargest(10, "step")["validation_accuracy"].mean()
            rows.append({"case": case, "seed": seed, "validation_accuracy": last})
        return self.trainings.merge(pd.DataFrame(rows))

    @cached_property
    def worst(self) -> pd.DataFrame:
        """The check of each case, level and stage that came closest to its bound."""
        rows = self.certificates.assign(
            share=self.certificates["relative_error"] / self.certificates["bound"]
        )
        return rows.sort_values("share").groupby(["case", "level", "stage"]).tail(1)

    @cached_property
    def done(self) -> pd.DataFrame:
        """The entries of each case: ledger.csv, and those computed from the timed blocks."""
        ledger = self.ledger[["case", "entry", "value"]].astype(str)
        timed = self.samples.merge(self.rounds, on=["launch", "round"])
        timed = timed[~timed["disturbed"]]
        used = (timed["cpu_seconds"] / timed["seconds"]).groupby(timed["case"]).median()
        rows = pd.DataFrame({"case": used.index, "value": used.map("{:.1f}".format).to_numpy()})
        return pd.concat([ledger, rows.assign(entry="cpus_used")])


def _matching(table: pd.DataFrame, cells: dict[str, str]) -> pd.DataFrame:
    """The rows of a table that show these values."""
    for column, text in cells.items():
        table = table.loc[[bool(shows(text, value)) for value in table[column]]]
    return table


def _of(table: pd.DataFrame, **keys: str) -> dict[str, Any]:
    """The one row of a table with these values."""
    rows = _matching(table, keys)
    assert len(rows) == 1, f"{keys}: {len(rows)} rows"
    return dict(rows.iloc[0])


def _interval(row: dict[str, Any], column: str) -> list[Any]:
    """An estimate and the ends of its interval, where it has one."""
    ends = [row[f"{column}_low"], row[f"{column}_high"]]
    return [row[column], *([] if pd.isna(ends).any() else ends)]


SUMMARY = {
    "rank": "rank",
    "GFLOP/s": "gflops",
    "of peak": "peak_share",
    "validation": "validation_accuracy",
    "test": "test_accuracy",
    "steps": "steps",
    "arithmetic": "arithmetic_ms",
    "memory": "memory_ms",
    "rest": "rest_ms",
    "dispatch": "dispatch_ms",
    "input": "input_ms",
    "waited": "waited_ms",
    "fixed cost of a block (ms)": "fixed_ms",
    "import (s)": "import_seconds",
    "build (s)": "build_seconds",
    "first call (s)": "first_call_seconds",
    "first call again (s)": "first_call_again_seconds",
    "sum (s)": "startup_seconds",
    "certificate (s)": "certificate_seconds",
    "warm-up (s)": "warmup_seconds",
    "warm-up (steps)": "warmup_steps",
    "peak memory (MiB)": "peak_rss_mib",
    "peak GPU memory (MiB)": "peak_device_mib",
    "energy (mJ a step)": "energy_mj_per_step",
}
SUMMARY |= {"start-up, empty caches (s)": "startup_seconds"}
"""In the table of the page."""
SUMMARY_INTERVALS = {
    "times the fastest of its tier": "times_fastest",
    "ms a step": "step_ms",
    "times the fastest": "times_fastest",
    "times the floor": "x_floor",
    "times the floor of its library": "x_own_floor",
}
SUMMARY_WORDS = {"tier": "tier", "bound by": "bound"}


def _of_summary(source: Sources, cells: dict[str, str]) -> dict[str, list[Any]]:
    """Tables with a row for each case of the summary; some are marked where they are ranked."""
    name = cells["case"].removesuffix(f" {MARK}")
    row = _of(source.summary, case=name)
    assert (name == cells["case"]) == pd.isna(row["substituted"]) or "rank" not in cells
    cut = [] if row["trained_to_end"] or pd.isna(row["test_accuracy"]) else [row["steps"]]
    lines = source.ladders.set_index("case")["code_lines"].get(name, float("nan"))
    became = row["status"] if row["status"] != "measured" else ""
    became = "not certified" if not (became or row["certified"]) else became
    became = "held back" if row["certified"] and not pd.isna(row["held_back"]) else became
    return {
        **{name: [row[column]] for name, column in {**SUMMARY, **SUMMARY_WORDS}.items()},
        **{name: [row[SUMMARY[name]], *cut] for name in ("validation", "test")},
        "lines of code": [lines],
        "status": [became],
        **{name: _interval(row, column) for name, column in SUMMARY_INTERVALS.items()},
        "case": [cells["case"]],
    }


def _of_accuracy(source: Sources, cells: dict[str, str]) -> dict[str, list[Any]]:
    """Accuracies of backends, of pairs of them, and of each case and seed."""
    if "case" in cells:
        rows = source.by_seed[source.by_seed["case"] == cells["case"]].set_index("seed")
        columns = ["validation_accuracy", "test_accuracy"]
        steps = json.loads((source.folder / "environment.json").read_text())["workload"]["steps"]
        expected: dict[str, list[Any]] = {
            f"seed {seed}": [*row[columns].tolist(), *([row["steps"]] * (row["steps"] < steps))]
            for seed, row in rows.iterrows()
        }
        return expected | {"case": [cells["case"]]}
    if "other" in cells:
        row = _of(source.equivalences, group=cells["backend"], other=cells["other"])
        needed = [row["seeds_needed"]] if "needed" in cells["verdict"] else []
        margin = [row["margin_points"]] if "within" in cells["verdict"] else []
        return {
            "backend": [row["group"]],
            "other": [row["other"]],
            "seeds": [row["seeds"]],
            "difference (points)": _interval(row, "difference_points"),
            "p equivalent": [row["p_equivalent"]],
            "p different": [row["p_different_adjusted"]],
            "verdict": needed + margin,
        }
    row = _of(source.accuracies, group=cells["backend"])
    return {
        "backend": [row["group"]],
        "modes and inputs": [row["cases"]],
        "seeds": [row["seeds"]],
        "validation": _interval(row, "validation_accuracy"),
        "test": _interval(row, "test_accuracy"),
        "test loss": _interval(row, "test_loss"),
    }


def _of_times(source: Sources, cells: dict[str, str]) -> dict[str, list[Any]]:
    """Time to accuracy."""
    row = _of(source.time_to_accuracy, case=cells["case"], target=cells["target"])
    return {
        "target": [row["target"]],
        "case": [row["case"]],
        "seeds that reached it": [row["reached"], row["seeds"]],
        "steps": [row["steps"]],
        "training (s)": _interval(row, "train_seconds"),
        "start-up, empty caches (s)": [row["startup_seconds"]],
        "together (s)": [row["total_seconds"]],
    }


def _of_parts(source: Sources, cells: dict[str, str]) -> dict[str, list[Any]]:
    """The floors, and the parts of a step."""
    if "case" in cells:
        return _of_summary(source, cells)
    titles = {backend.title: name for name, backend in BACKENDS.items()}
    if "piece" in cells:
        rows = source.bounds[source.bounds["piece"] == cells["piece"]]
        assert len(rows), f"{cells['piece']} is no piece"
        fastest = rows[rows["fastest"]].iloc[0]
        by_backend = {
            f"{title} (ms)": rows.loc[rows["backend"] == name, "piece_ms"].tolist()
            for title, name in titles.items()
        }
        return by_backend | {
            "piece": [cells["piece"]],
            "fastest library": [fastest["library"]],
            "alone (ms)": [fastest["piece_ms"]],
        }
    title = cells["implemented in"]
    row = _of(source.floors, backend=titles.get(title, title))
    return {
        "implemented in": [title],
        "floor (ms)": _interval(row, "step_ms"),
        "its pieces alone (ms)": [row["bound_ms"]],
        "its launches alone (ms)": [row["launches_ms"]],
        "its pass alone (ms)": [row["pass_ms"]],
        "peak (GFLOP/s)": [row["peak_gflops"]],
    }


def _of_break_even(source: Sources, cells: dict[str, str]) -> dict[str, list[Any]]:
    """When a slower start pays off."""
    row = _of(source.break_even, case=cells["case"], overtakes=cells["overtakes"])
    return {
        "case": [row["case"]],
        "overtakes": [row["overtakes"]],
        "steps, empty caches": [row["first_steps"]],
        "steps, caches filled": _interval(row, "steps"),
    }


def _of_certificates(source: Sources, cells: dict[str, str]) -> dict[str, list[Any]]:
    """Errors, beside their bounds where they are those as timed or of timed blocks."""
    if "decay" in cells:
        return _of_blocks(source, cells)
    timed = any(" of " in cell for cell in cells.values())
    rows = source.worst[source.worst["case"] == cells["case"]]
    rows = rows[rows["level"] == ("as timed" if timed else "exact")]
    columns = ["relative_error", "bound"] if timed else ["relative_error"]
    stages = (*STAGES, HORIZON)
    expected: dict[str, list[Any]] = {stage.replace("_", " "): [float("nan")] for stage in stages}
    expected |= {
        row["stage"].replace("_", " "): row[columns].tolist()
        for _, row in rows[rows["relative_error"].notna()].iterrows()
    }
    return expected | {"case": [cells["case"]]}


def _of_blocks(source: Sources, cells: dict[str, str]) -> dict[str, list[Any]]:
    """Of each check the row that comes closest to its bound; a bound of 0 is not shown."""
    rows = source.blocks[source.blocks["case"] == cells["case"]]
    expected: dict[str, list[Any]] = {check: [float("nan")] for check in BLOCK_CHECKS}
    for check, of_check in rows.groupby("check"):
        share = (of_check["error"] / of_check["bound"]).fillna(0)
        worst = of_check.iloc[int(share.argmax())]
        expected[str(check)] = [worst["error"], *([worst["bound"]] if worst["bound"] else [])]
    return expected | {"case": [cells["case"]]}


def _of_ledger(source: Sources, cells: dict[str, str]) -> dict[str, list[Any]]:
    """What cases did differently: exactly these values for each case."""
    entry = {about.title: name for name, about in ENTRIES.items()}[cells["what"]]
    rows = source.done[source.done["entry"] == entry]
    for case in cells["cases"].split(", "):
        values = set(rows.loc[rows["case"] == case, "value"])
        assert values == set(cells["value"].split(" or ")), f"{case}: {values}"
    return {name: [text] for name, text in cells.items()}


def _of_tutorial(source: Sources, cells: dict[str, str]) -> dict[str, list[Any]]:
    """Loss and accuracy as the tutorial prints them."""
    rows = _matching(source.tutorial, {"step": cells["step"]})
    assert len(rows), f"no step {cells['step']}"
    first = rows.iloc[0]
    expected = {row["case"]: [row["loss"], row["accuracy"]] for _, row in rows.iterrows()}
    original = [first["original_loss"], first["original_accuracy"]]
    return expected | {"step": [first["step"]], "tutorial": original}


BROUGHT = {"faster": "helps", "slower": "costs", "tie": "makes no difference"}
"""What is said of a rung, by its verdict, where that is another word."""


def _of_ladders(source: Sources, cells: dict[str, str]) -> dict[str, list[Any]]:
    """A rung: its dots are the rungs below it, and its name is without that of the backend."""
    texts = ("below", "passed_over", "change", "reason", "verdict", "private")
    rows = source.ladders.astype(dict.fromkeys(texts, object)).fillna(dict.fromkeys(texts, ""))
    pairs = zip(rows["case"], rows["backend"], rows["depth"], strict=True)
    rungs = [f"{'·' * depth} {case.removeprefix(f'{of} ')}".strip() for case, of, depth in pairs]
    # Frameworks have rungs of one name.
    found = {"rung": cells["rung"], "startup_seconds": cells["start-up (s)"]}
    row = _of(rows.assign(rung=rungs), **found)
    passed_over = f" (with {row['passed_over']})" if row["passed_over"] else ""
    why = row["reason"] if row["status"] == "measured" else f"{row['status']}: {row['reason']}"
    return {
        "rung": [row["rung"]],
        "below": [row["below"].removeprefix(f"{row['backend']} ")],
        "what it changes": [(row["change"] or "where a ladder begins") + passed_over],
        "ms a step": _interval(row, "step_ms"),
        "times the rung below": _interval(row, "ratio"),
        "the change": [why if row["reason"] else BROUGHT.get(row["verdict"], row["verdict"])],
        "tier": [row["tier"]],
        "lines": [row["code_lines"]],
        "start-up (s)": [row["startup_seconds"]],
        "undocumented": [row["private"]],
    }


def _of_pairs(source: Sources, cells: dict[str, str]) -> dict[str, list[Any]]:
    """A pair within a tier."""
    row = _of(source.verdicts, case=cells["case"], other=cells["against"])
    assert row["relation"] == "tier"
    return {
        "case": [row["case"]],
        "against": [row["other"]],
        "times as long": _interval(row, "ratio"),
        "p adjusted": [row["p_adjusted"]],
        "verdict": [row["verdict"]],
        "launches": [row["launches_needed"]],
    }


def _of_variants(source: Sources, cells: dict[str, str]) -> dict[str, list[Any]]:
    """A variant and its base, or another variant of that."""
    row = _of(source.verdicts, case=cells["case"], other=cells["against"])
    overrides = source.ledger[source.ledger["entry"] == "overrides"].set_index("case")["value"]
    return {
        "case": [row["case"]],
        "overrides": [overrides[row["case"]].iloc[0]],
        "ms a step": _interval(_of(source.summary, case=row["case"]), "step_ms"),
        "against": [row["other"]],
        "times as long": _interval(row, "ratio"),
        "verdict": [row["verdict"]],
    }


def _of_groups(source: Sources, cells: dict[str, str]) -> dict[str, list[Any]]:
    """Groups of ranks, and their floors."""
    if "implemented in" in cells:
        title = cells["implemented in"]
        backend = {backend.title: name for name, backend in BACKENDS.items()}.get(title, title)
        keys = {"ranks": cells["ranks"], "batch_size": cells["batch"]}
        row = _of(source.group_floors, backend=backend, **keys)
        return {
            "implemented in": [title],
            "ranks": [row["ranks"]],
            "batch": [row["batch_size"]],
            "share of a step (ms)": _interval(row, "share_ms"),
            "sum over ranks (ms)": [row["reduce_ms"]],
        }
    row = _of(source.scaling.fillna({"base": "", "base_of_tier": ""}), case=cells["case"])
    return {
        **{name: [row[name]] for name in ("case", "tier", "scaling")},
        "step (ms)": _interval(row, "step_ms"),
        "against": [row["base"]],
        "speed-up": _interval(row, "speed_up"),
        "of its tier": [row["base_of_tier"]],
        "efficiency": _interval(row, "efficiency"),
        "communication (ms)": [row["communication_ms"]],
        "of its step": [row["communication_share"]],
        "times its floor": _interval(row, "x_floor"),
        "times that of its library": _interval(row, "x_own_floor"),
    }


def _of_outcomes(source: Sources, cells: dict[str, str]) -> dict[str, list[Any]]:
    """Cases without a rank."""
    row = _of(source.summary, case=cells["case"])
    why = cells["why"] if row["status"] == "measured" else row["reason"]
    return {"case": [row["case"]], "what": [row["status"]], "why": [why]}


KNOWN: dict[str, Callable[[Sources, dict[str, str]], dict[str, list[Any]]]] = {
    "Ranking": _of_summary,
    "Which speeds differ": _of_pairs,
    "Ladders": _of_ladders,
    "Variants": _of_variants,
    "Groups of ranks": _of_groups,
    "Not ranked": _of_outcomes,
    "Accuracy": _of_accuracy,
    "What the tutorial's loop prints": _of_tutorial,
    "Time to accuracy": _of_times,
    "Where the time goes": _of_parts,
    "Start-up and memory": _of_summary,
    "When a slower start pays off": _of_break_even,
    "Certificates": _of_certificates,
    "What the cases did differently": _of_ledger,
}
"""The functions that say what the cells of a row should show, by heading."""


def doubt(source: Sources, place: str, cells: dict[str, str]) -> str:
    """What is wrong with one row of a table; empty if nothing is."""
    try:
        expected = KNOWN[place](source, cells)
    except (AssertionError, KeyError) as error:
        return f"{cells}: no source: {error}"
    for column, text in cells.items():
        if column not in expected:
            return f"{column}: no source is known for this column"
        wanted = expected[column]
        texts = [value for value in wanted if isinstance(value, str)]
        shown = texts if texts == [text] else re.findall(f"{NUMBER.pattern}|–", text)
        if len(shown) != len(wanted) or not all(map(shows, shown, wanted)):
            return f"{column} of {cells}: {text!r} is not {wanted}"
    return ""


def doubts(folder: Path, tables: list[ReadTable]) -> list[str]:
    """What is wrong with the tables of a report on the bundle in `folder`."""
    source = Sources(folder)
    remarks = [doubt(source, table.place, cells) for table in tables for cells in table.cells()]
    return list(filter(None, remarks))
