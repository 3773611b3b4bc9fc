"""The tutorial's loop: when it takes its readings, on what, and what it prints."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import run_all
from backends.contract import Adam, Execution, Network, Training
from backends.numpy.backend import Eager
from backends.registry import BACKENDS
from benchmarks.analysis import learning
from benchmarks.analysis.findings import compute_findings
from benchmarks.bundle.reader import Bundle, read_table
from benchmarks.certificates.reference import make_reference
from benchmarks.plan import data, workload
from benchmarks.plan.blocks import BlockLength
from benchmarks.plan.cases import select_cases
from benchmarks.plan.plan import Plan
from benchmarks.plan.presets import PRESETS, BatchReadings
from benchmarks.plan.workload import Workload
from benchmarks.schema.tables import MEASURED
from benchmarks.session.jobs import make_job, make_references
from benchmarks.worker.messages import Job
from benchmarks.worker.worker import Worker
from tests.synthetic_bundles import write_bundle


def plan_of(steps: int, every: int = 1000, pixels: int = 4) -> Plan:
    cases = select_cases(
        preset=PRESETS["tutorial"], backends=None, modes=None, inputs=None,
        precision="float32", device="cpu",
    )  # fmt: skip
    return Plan(
        name="test",
        workload=Workload(
            network=Network(layer_sizes=(pixels, 3)),
            adam=Adam(),
            batch_size=2,
            steps=steps,
            training_images=10,
            data_dir="",
        ),
        cases=tuple(cases),
        skipped={},
        launches=1,
        seed=0,
        threads=1,
        time_limit_seconds=1,
        readings=BatchReadings(every=every, images=512),
    )


def test_the_preset_is_the_tutorial() -> None:
    preset = PRESETS["tutorial"]
    plan = replace(plan_of(preset.steps), readings=preset.readings)
    assert plan.reading_steps == (1, 1001, 2001, 3001, 4001)
    assert list(learning.ORIGINAL["step"]) == [steps - 1 for steps in plan.reading_steps]
    assert {case.name for case in plan.cases} == {
        *("pytorch eager streamed", "tensorflow compiled streamed", "jax compiled streamed"),
    }


@pytest.mark.parametrize(
    ("steps", "every", "block", "rounds"),
    [
        (4001, 1000, 200, 16),
        (2300, 1000, 115, 18),
        # 1, 1 + 130 and 39: two whole blocks before the second reading, and none after it.
        (170, 130, 50, 2),
        (7, 1000, 5, 1),
        (1, 1000, 1, 1),
    ],
)
def test_blocks_lie_between_the_readings(steps: int, every: int, block: int, rounds: int) -> None:
    plan = plan_of(steps, every)
    assert (plan.block.timed, plan.rounds) == (block, rounds)


def test_every_case_comes_to_the_last_reading() -> None:
    """However slow it is, its blocks are as long as the others'."""
    plan = plan_of(4001)
    split = data.Split(images=np.zeros((10, 4), np.uint8), labels=np.zeros(10, np.int32))
    references = make_references(plan, split)
    job, plain = (
        make_job(each, plan.cases[0], 0, references)
        for each in (plan, replace(plan, readings=None))
    )
    assert isinstance(job, Job)
    assert (job.calibrate, plain.calibrate) == (False, True)
    assert job.reading_steps == (1, 1001, 2001, 3001, 4001)
    assert job.reading_images == 512


def test_a_reading_trains_up_to_its_step_and_looks_at_its_own_images() -> None:
    dataset = data.load()
    work = Workload(
        network=Network(layer_sizes=(784, 8, 10)),
        adam=Adam(),
        batch_size=16,
        steps=30,
        training_images=55_000,
        data_dir=str(data.EMBEDDED),
    )
    worker = Worker(
        Job(
            backend=BACKENDS["numpy"],
            execution=Execution(mode="eager"),
            workload=work,
            seed=3,
            block=BlockLength(lead_in=2, timed=10),
            calibrate=False,
            reference=make_reference(work, "float32", dataset.training),
            reading_steps=(1, 21),
            reading_images=64,
        )
    )
    worker.first_call()
    worker.warm_up()
    readings = [worker.read_batch()]
    worker.train(BlockLength(lead_in=2, timed=10))
    readings.append(worker.read_batch())
    assert [reading.updates for reading in readings] == [1, 21]
    training, validation = (
        part.stored_as("float32") for part in (dataset.training, dataset.validation)
    )
    start = workload.initial_parameters(work.network, 3)
    given = Training(network=work.network, adam=work.adam, training_set=training, start=start)
    trainer = Eager(given, Execution(mode="eager"))
    rows = workload.batch_rows(55_000, 16, 30, 3)
    images = workload.validation_rows(5000, 64, 2, 3)
    for reading, (first, last), seen in zip(readings, ((0, 1), (1, 21)), images, strict=True):
        trainer.train(rows[first:last])
        right = trainer.logits(validation.images[seen]).argmax(axis=1) == validation.labels[seen]
        assert (reading.images, reading.accuracy) == (64, right.mean())
    assert worker.train_rest() == 30


def test_validation_batches_are_drawn_from_the_seed_and_hold_no_image_twice() -> None:
    rows = workload.validation_rows(5000, 512, 5, seed=1)
    assert rows.shape == (5, 512)
    assert all(len(set(batch)) == 512 for batch in rows)
    assert not np.array_equal(rows[0], rows[1])
    assert np.array_equal(rows, workload.validation_rows(5000, 512, 5, seed=1))
    assert not np.array_equal(rows, workload.validation_rows(5000, 512, 5, seed=2))
    assert workload.validation_rows(100, 512, 1, seed=1).shape == (1, 100)


@pytest.fixture(scope="module")
def run(small: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The preset with NumPy: 1,260 steps in blocks of 50, the last 9 of them untimed."""
    folder = tmp_path_factory.mktemp("tutorial") / "bundle"
    effort = ("--preset", "tutorial", "--steps", "1260", "--launches", "1")
    assert run_all.main([*small, *effort, "--output", str(folder)]) == 0
    return folder


def test_a_run_takes_the_readings(run: Path) -> None:
    readings = pd.read_csv(run / "readings.csv")
    twins = [
        of_case.drop(columns=["case", "repetition"]).reset_index(drop=True)
        for _, of_case in readings.groupby("case")
    ]
    assert len(twins) == 2
    pd.testing.assert_frame_equal(twins[0], twins[1])
    assert twins[0]["step"].tolist() == [0, 1000]
    assert twins[0]["updates"].tolist() == [1, 1001]
    assert (twins[0]["images"] == 512).all()
    assert twins[0]["accuracy"].iloc[-1] > 0.85
    # Whole 512ths, since each is a share of that many.
    assert (twins[0]["accuracy"] * 512 % 1 == 0).all()
    launches, samples = (pd.read_csv(run / f"{name}.csv") for name in ("launches", "samples"))
    assert (launches["steps"] == 1260).all()
    assert set(samples["steps"]) == set(launches["block_steps"])
    # The blocks of 1 to 1,001 and of 1,001 to 1,260, but for those made up for.
    block = launches["block_steps"].iloc[0] + launches["lead_in_steps"].iloc[0]
    assert samples["round"].max() + 1 >= 1000 // block + 259 // block
    assert json.loads((run / "environment.json").read_text())["run"]["state"] == "complete"


@pytest.mark.usefixtures("undrawn")
def test_blocks_that_do_not_fit_between_readings_leave_untimed_steps(
    small: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks of 60, of which one fits into 70 steps; the 10 after it are trained untimed."""
    odd = replace(PRESETS["tutorial"], readings=BatchReadings(every=70, images=64))
    monkeypatch.setitem(PRESETS, "tutorial", odd)
    effort = ("--preset", "tutorial", "--steps", "400", "--launches", "1")
    # A floor works in calls of 50 steps, and so would blocks.
    without_floors = (*small[:6], *small[8:])
    assert run_all.main([*without_floors, *effort, "--output", str(tmp_path / "odd")]) == 0
    readings = pd.read_csv(tmp_path / "odd" / "readings.csv").query("case == 'numpy eager'")
    assert readings["updates"].tolist() == [1, 71, 141, 211, 281, 351]
    accuracy = pd.read_csv(tmp_path / "odd" / "accuracy.csv").query("case == 'numpy eager'")
    assert accuracy["step"].tolist() == [0, 61, 131, 201, 271, 341, 400]


@pytest.mark.usefixtures("undrawn")
def test_readings_leave_the_training_as_it_is(
    run: Path, small: tuple[str, ...], tmp_path: Path
) -> None:
    effort = ("--steps", "1260", "--launches", "1", "--learning-rate", "0.01")
    assert run_all.main([*small, *effort, "--output", str(tmp_path / "plain")]) == 0
    plain = pd.read_csv(tmp_path / "plain" / "trainings.csv").query("seed == 0")
    with_readings = pd.read_csv(run / "launches.csv")
    assert set(plain["test_loss"]) == set(with_readings["test_loss"])
    assert pd.read_csv(tmp_path / "plain" / "readings.csv").empty


def test_the_report_prints_them_beside_the_tutorials(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_all.main(["report", str(run)]) == 0
    reading = pd.read_csv(run / "readings.csv").iloc[-1]
    shown = f"{reading['loss']:.2f} / {100 * reading['accuracy']:.2f}%"
    for text in (capsys.readouterr().out, (run / "report.md").read_text()):
        line = next(line for line in text.splitlines() if "0.08 / 95.51%" in line)
        assert "1,000" in line
        assert shown in line
        assert "0.17 / 95.51%" not in text
        assert any("2.30 / 22.85%" in line for line in text.splitlines())


def test_means_over_seeds() -> None:
    readings = pd.DataFrame(
        {
            "case": "a",
            "step": [0, 1000, 1000, 1500],
            "loss": [2.3, 0.1, 0.3, 0.2],
            "accuracy": [0.1, 0.96, 0.94, 0.95],
        }
    )
    rows = learning.beside_original(readings).set_index("step").to_dict("index")
    row = rows[1000]
    assert [row[name] for name in ("seeds", "loss", "accuracy")] == pytest.approx([2, 0.2, 0.95])
    # 12.706 standard errors, of half the distance between the two.
    assert row["loss_high"] == pytest.approx(0.2 + 12.706 * 0.1, abs=1e-4)
    assert row["original_accuracy"] == 0.9551
    assert np.isnan(rows[1500]["original_loss"])


def test_bundles_without_such_readings_are_read(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "older", {"jax compiled": 1.0})
    (folder / "readings.csv").unlink()
    findings = compute_findings(Bundle.read(folder))
    assert findings.tutorial.empty
    assert list(read_table(folder, "readings")[0]) == MEASURED["readings"].names
