"""Bundles with known step times and accuracies, for tests of what is computed from them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from backends.contract import TEXTBOOK
from backends.floors import ADAM, GATHER
from backends.ladder import FLOOR
from benchmarks.bundle.records import FORMAT, Environment
from benchmarks.bundle.writer import BundleWriter
from benchmarks.schema import CONTROL, LEVELS, block_figures, figures, repetition_in

STEPS = 50
TRAINING_STEPS = 500
LEARNED_STEPS = 250
"""Steps over which the validation accuracy rises evenly from 10% to its last value."""


def environment(cases: list[dict[str, Any]], launches: int) -> dict[str, Any]:
    """An environment.json with all that reports read."""
    return {
        "format": FORMAT,
        "started": "2026-01-01T00:00:00+00:00",
        "machine": {
            "system": "Linux 6",
            "architecture": "x86_64",
            "cpu": "Some CPU",
            "instructions": ["avx2"],
            "cpus_available": 2,
            "memory_gib": 8.0,
            "load_average": [0.0, 0.0, 0.0],
            "gpus": [],
        },
        "python": "3.11.7",
        "packages": {"numpy": "2.4.6", "jax": "0.10.2"},
        "variables": {},
        "git_commit": "0" * 40,
        "git_modified": False,
        "workload": {
            "layer_sizes": [784, 16, 10],
            "learning_rate": 0.01,
            "batch_size": 32,
            "steps": TRAINING_STEPS,
            "data": "mnist",
            "data_sha256": "0" * 64,
        },
        "run": {
            "command": "python run_all.py",
            "launches": launches,
            "seed": 0,
            "threads": 2,
            "cases": cases,
            "block_steps": STEPS,
            "time_limit_seconds": 60.0,
            "state": "complete",
            "finished_launches": launches,
            "out_of_time": False,
        },
    }


def environment_record(
    cases: Sequence[dict[str, Any]] = (), launches: int = 3, **sections: Any
) -> Environment:
    """That environment as a record; `sections` replace entries of its sections."""
    content = environment(list(cases) or [identity("jax compiled")], launches)
    for section, changes in sections.items():
        content[section] |= changes
    return Environment.from_json(json.loads(json.dumps(content)))


def identity(case: str, precision: str = "float32") -> dict[str, Any]:
    """The columns that say which case a row belongs to; "jax scan (old)" is a variant."""
    plain, _, variant = CONTROL.sub("", case).removesuffix(")").partition(" (")
    backend, mode, *others = plain.split()
    return {
        "case": case,
        "backend": backend,
        "mode": mode,
        "input": "streamed" if "streamed" in others else "resident",
        "precision": precision,
        "device": "cpu",
        "adam": TEXTBOOK,
        "repetition": repetition_in(case),
        "variant": variant or None,
        "ranks": _number_at("ranks", -1, others),
        "batch": _number_at("batch", 1, others),
    }


def _number_at(word: str, place: int, words: list[str]) -> int | None:
    """The number beside a word, as in "2 ranks" and "batch 256"."""
    return int(words[words.index(word) + place]) if word in words else None


def write_bundle(
    folder: Path,
    step_ms: Mapping[str, float],
    *,
    launches: int = 3,
    rounds: int = 10,
    spread: float = 0.003,
    slowdown: float = 0.0,
    seed: int = 0,
    precision: str = "float32",
    disturbed: tuple[int, ...] = (),
    uncertified: tuple[str, ...] = (),
    skipped: tuple[str, ...] = (),
    test_accuracies: Mapping[str, Sequence[float]] | None = None,
    diverged: tuple[str, ...] = (),
    learned: Mapping[str, Sequence[float]] | None = None,
    **sections: Any,
) -> Path:
    """Write the measured tables of a bundle whose cases take `step_ms` a step.

    `spread` is the deviation of its logarithm, between launches and between rounds; `slowdown` that
    of a slowdown that all cases of a launch share. Rounds that are `disturbed` take five times as
    long, and are marked. `test_accuracies` has those of each launch of a case, 0.96 where none are
    given; validation accuracies lie 0.01 above. Cases that have `diverged` have no finite loss from
    step 100 on. Where `learned` has the last ten validation accuracies' mean of each seed of some
    cases, learning was measured apart, by these. `sections` replace entries of the sections of
    environment.json, as in `machine={"cpu": "Another CPU"}`.
    """
    generator = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    writer = BundleWriter(folder)
    cases = [identity(case, precision) for case in (*step_ms, *skipped)]
    if learned is not None:
        sections["run"] = {"timed_from_step": TRAINING_STEPS // 2, **sections.get("run", {})}
    described = environment_record(cases, launches, **sections)
    layers = len(described.workload.layer_sizes) - 1
    writer.write_environment(described)
    for case in cases[len(step_ms) :]:
        writer.append("outcomes", **case, status="skipped", reason="not installed")
    for launch in range(launches):
        which = {"launch": launch, "seed": launch}
        slow = generator.normal(0, slowdown)
        for number in range(rounds):
            writer.append(
                "rounds", **which, round=number, probe_ms=1.0, gpu_throttled=False,
                disturbed=number in disturbed,
            )  # fmt: skip
        for case in cases[: len(step_ms)]:
            name = case["case"]
            of_launch = generator.normal(0, spread)
            passed = name not in uncertified
            taken = [(level, one) for level in LEVELS for one in figures(level, layers)]
            for number, (level, figure) in enumerate([] if launch else taken):
                error = (1e-12 if passed else 1e-3) * (1 + number / 10)
                writer.append(
                    "certificates", **which, **case, level=level, stage=figure[0],
                    parameter=figure[1], relative_error=error, bound=1e-9, steps=10, passed=passed,
                )  # fmt: skip
            for check, parameter in block_figures(layers):
                writer.append(
                    "blocks", **which, **case, check=check, parameter=parameter, first_step=0,
                    steps=10, error=1e-12, bound=1e-9, passed=True,
                )  # fmt: skip
            entries = {"product": precision, "code_lines": str(len(name))}
            entries |= {"overrides": "env:A=1"} if case["variant"] else {}
            for entry, read in entries.items():
                writer.append("ledger", **which, **case, entry=entry, value=read)
            if launch == 0:
                for part, value in (("host_seconds", 1e-4), ("input_seconds", 2e-5)):
                    writer.append("parts", **which, **case, part=part, value=value)
                if case["mode"] == FLOOR:
                    for piece, seconds in (("forward 1", 2e-4), (ADAM, 1e-4), (GATHER, 1e-5)):
                        writer.append(
                            "pieces", **which, **case, piece=piece, library="mkl",
                            seconds=seconds, chosen=True,
                        )  # fmt: skip
            accuracies = (test_accuracies or {}).get(name)
            test_accuracy = accuracies[launch] if accuracies else 0.96
            validation_accuracy = round(test_accuracy + 0.01, 6)
            for step in range(0, TRAINING_STEPS + 1, STEPS):
                share = min(1.0, step / LEARNED_STEPS)
                loss = float("nan") if name in diverged and step >= 100 else 2.3 - 2 * share
                writer.append(
                    "accuracy", **which, **case, step=step,
                    train_seconds=step * step_ms[name] / 1000,
                    train_loss=loss, validation_loss=loss,
                    validation_accuracy=0.1 + (validation_accuracy - 0.1) * share,
                )  # fmt: skip
            writer.append(
                "launches", **which, **case, import_seconds=0.5, build_seconds=0.1,
                first_call_seconds=0.2, first_call_steps=1, certificate_seconds=0.3,
                checking_seconds=0.2,
                warmup_steps=50, warmup_seconds=0.1, warmup_steady=True, block_steps=STEPS,
                steps=TRAINING_STEPS, train_seconds=1.0, validation_accuracy=validation_accuracy,
                test_accuracy=test_accuracy, test_loss=0.1, peak_rss_mib=100.0,
            )  # fmt: skip
            for number in range(rounds):
                noise = slow + of_launch + generator.normal(0, spread)
                seconds = STEPS * step_ms[name] / 1000 * np.exp(noise)
                seconds *= 5 if number in disturbed else 1
                writer.append(
                    "samples", **which, round=number, position=0, **case,
                    batch_size=described.workload.batch_size,
                    steps=STEPS, seconds=seconds, dispatch_seconds=seconds, cpu_seconds=seconds,
                    compilations=0,
                )  # fmt: skip
    for name, accuracies in (learned or {}).items():
        (case,) = (one for one in cases if one["case"] == name)
        for number, value in enumerate(accuracies):
            which = {"launch": 0, "seed": number}
            for step in range(0, TRAINING_STEPS + 1, STEPS):
                # Ten readings after the start, whose mean it is, the last of them above it.
                shown = value + (0.001 if step == TRAINING_STEPS else -0.001 / 9)
                writer.append(
                    "learning", **which, **case, step=step, train_loss=0.3, validation_loss=0.3,
                    validation_accuracy=shown if step else 0.1,
                )  # fmt: skip
            writer.append(
                "trainings", **which, **case, steps=TRAINING_STEPS, seconds=1.0,
                test_accuracy=value - 0.01, test_loss=0.3,
            )  # fmt: skip
    writer.close()
    return folder
