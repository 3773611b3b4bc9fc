"""The session: what it leaves behind when it is interrupted, and what its workers answer."""

from __future__ import annotations

from dataclasses import replace
from multiprocessing import Pipe
from pathlib import Path
from threading import Thread
from time import monotonic
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest

from backends.contract import Adam, Network, State
from backends.ladder import FLOOR
from benchmarks.analysis.findings import compute_findings
from benchmarks.bundle.reader import Bundle
from benchmarks.bundle.writer import BundleWriter
from benchmarks.certificates.horizon import Horizon
from benchmarks.plan import data
from benchmarks.plan.cases import Case
from benchmarks.plan.plan import Plan
from benchmarks.plan.workload import (
    BlockData,
    Workload,
    batch_rows,
    block_data,
    initial_parameters,
    rows_of,
)
from benchmarks.reports.run import document as run_report
from benchmarks.session.jobs import horizon_of, make_job, make_references
from benchmarks.session.session import Session
from benchmarks.worker import messages
from benchmarks.worker.messages import Block, Build, Failure, Job, Request
from benchmarks.worker.serving import serve
from tests.synthetic_bundles import environment_record

CASE = Case(backend="numpy", mode="eager", input="resident", precision="float32", device="cpu")
CONTROL = replace(CASE, repetition=1)
STEPS = 600


@pytest.fixture(scope="module")
def dataset(images: Path) -> data.Dataset:
    return data.load(images)


@pytest.fixture(scope="module")
def plan(images: Path, dataset: data.Dataset) -> Plan:
    """Six rounds of 50 steps, with as many before them, for a case, its control and a floor."""
    return Plan(
        name="test",
        workload=Workload(
            network=Network(layer_sizes=(dataset.pixels, 16, 10)),
            adam=Adam(),
            batch_size=32,
            steps=STEPS,
            training_images=len(dataset.training.labels),
            data_dir=str(images),
        ),
        cases=(CASE, CONTROL),
        skipped={},
        floors=(replace(CASE, mode=FLOOR),),
        launches=2,
        learning_seeds=2,
        seed=0,
        threads=1,
        time_limit_seconds=120,
    )


class Interrupting:
    """The progress of a session that is interrupted when a case has trained a round."""

    def __init__(self, case: Case, launch: int, round_number: int) -> None:
        self._moment = (case, launch, round_number)
        self._launch = 0

    def launch(self, number: int, seed: int) -> None:  # noqa: ARG002
        self._launch = number

    def starting(self, case: Case) -> None: ...

    def ready(self, *_: Any) -> None: ...

    def departed(self, case: Case) -> None: ...

    def learning(self, case: Case, seed: int) -> None: ...

    def failed(self, case: Case, reason: str) -> None:
        raise AssertionError(f"{case.name} failed: {reason}")

    def block(self, case: Case, round_number: int, block: Block) -> None:  # noqa: ARG002
        if (case, self._launch, round_number) == self._moment:
            raise KeyboardInterrupt


def interrupted(
    folder: Path, plan: Plan, training: data.Split, launch: int, round_number: int
) -> Path:
    """A bundle of a run that was interrupted in a launch, after the case's block of a round."""
    described = environment_record(
        [case.identity() for case in plan.cases],
        launches=2,
        workload={"batch_size": 32, "steps": STEPS},
        run={"state": "interrupted", "finished_launches": 0, "timed_from_step": plan.middle},
    )
    folder.mkdir()
    writer = BundleWriter(folder)
    session = Session(
        plan=plan,
        training=training,
        writer=writer,
        progress=Interrupting(CASE, launch, round_number),
        environment=described,
        started=monotonic(),
    )
    with pytest.raises(KeyboardInterrupt):
        session.run()
    writer.write_environment(session.environment)
    writer.close()
    assert session.finished_launches == launch
    return folder


@pytest.fixture(scope="module")
def first_launch(
    tmp_path_factory: pytest.TempPathFactory, plan: Plan, dataset: data.Dataset
) -> Path:
    """A bundle of a run that was interrupted in its first launch, after 400 steps of the case."""
    folder = tmp_path_factory.mktemp("interrupted") / "bundle"
    return interrupted(folder, plan, dataset.training, launch=0, round_number=3)


def test_a_run_interrupted_in_its_first_launch_reports_what_it_measured(first_launch: Path) -> None:
    folder = first_launch
    launches = pd.read_csv(folder / "launches.csv").set_index("case")
    # A floor trains nothing and has no such row.
    assert sorted(launches.index) == [CASE.name, CONTROL.name]
    samples = pd.read_csv(folder / "samples.csv")
    samples["all_steps"] = samples["steps"] + samples["lead_in_steps"]
    samples["all_seconds"] = samples["seconds"] * samples["all_steps"] / samples["steps"]
    sums = samples.groupby("case")[["all_steps", "all_seconds"]].sum()
    readings = pd.read_csv(folder / "accuracy.csv").groupby("case").last()
    for case in (CASE.name, CONTROL.name):
        row = launches.loc[case]
        assert row["steps"] == sums.loc[case, "all_steps"]
        assert row["train_seconds"] == pytest.approx(sums.loc[case, "all_seconds"])
        assert row["validation_accuracy"] == readings["validation_accuracy"][case] > 0.2
        assert row[["import_seconds", "first_call_seconds", "warmup_seconds"]].notna().all()
        assert row["peak_rss_mib"] > 30
        assert row[["test_accuracy", "test_loss", "energy_mj_per_step"]].isna().all()
    assert launches.loc[CASE.name, "steps"] == 400
    bundle = Bundle.read(folder)
    report = run_report.document(bundle, compute_findings(bundle)).markdown()
    for heading in (
        "## Start-up and memory",
        "Incomplete: interrupted after 0 of 2 launches",
    ):
        assert heading in report
    assert "## Accuracy" not in report


def check_what_is_alike(folder: Path) -> None:
    """The control has trained in the same bits, and so only one of the two was checked whole."""
    samples = pd.read_csv(folder / "samples.csv").query("launch == 0 and mode != 'floor'")
    assert (samples.groupby("round")["end_state"].nunique() == 1).all()
    blocks = pd.read_csv(folder / "blocks.csv")
    assert blocks["passed"].all()
    pairs = blocks.dropna(subset="checked_as")[["case", "checked_as"]].drop_duplicates()
    (pair,) = pairs.itertuples(index=False, name=None)
    assert set(pair) == {CASE.name, CONTROL.name}
    ledger = pd.read_csv(folder / "ledger.csv").query("entry == 'repeats'")
    assert list(ledger["value"]) == ["bit for bit"] * 2


def test_an_interrupted_launch_does_not_change_the_rows_of_the_launches_before(
    tmp_path: Path, plan: Plan, dataset: data.Dataset
) -> None:
    folder = interrupted(tmp_path / "bundle", plan, dataset.training, launch=1, round_number=0)
    launches = pd.read_csv(folder / "launches.csv").groupby("launch")
    first, second = (launches.get_group(number).set_index("case") for number in (0, 1))
    assert sorted(first.index) == sorted(second.index) == [CASE.name, CONTROL.name]
    assert (first["steps"] > 100).all()
    assert (second["steps"] <= 100).all()
    check_what_is_alike(folder)
    trainings = pd.read_csv(folder / "trainings.csv")
    # A single framework learned, by the case and not by its control.
    assert trainings[["case", "seed"]].to_numpy().tolist() == [[CASE.name, 0], [CASE.name, 1]]
    assert (trainings["steps"] == STEPS).all()
    assert (trainings["test_accuracy"] > 0.2).all()
    findings = compute_findings(Bundle.read(folder))
    summary = findings.summary.set_index("case")
    assert summary["test_accuracy"][CASE.name] == pytest.approx(trainings["test_accuracy"].mean())
    assert findings.accuracies["seeds"].item() == 2


def test_every_table_says_which_repetition_of_a_case_a_row_belongs_to(first_launch: Path) -> None:
    for table in ("samples", "accuracy", "certificates", "ledger", "parts", "launches"):
        rows = pd.read_csv(first_launch / f"{table}.csv")
        repetitions = rows.groupby("case")["repetition"].unique()
        assert repetitions[CASE.name].tolist() == [0]
        assert repetitions[CONTROL.name].tolist() == [1]


def answers(
    job: Job, block: BlockData, far: Horizon | None = None
) -> dict[type[Request[Any]], object]:
    """What a worker answers to each request, `Build` first, and then in the order of messages."""
    work = job.workload
    start = State.starting_from(initial_parameters(work.network, job.seed))
    ours, workers = Pipe()
    thread = Thread(target=serve, args=(workers,))
    thread.start()
    try:
        given: dict[type[Request[Any]], object] = {}
        for kind in Request.__subclasses__():
            given_with = {
                Build: (job,),
                messages.TrainBlock: (job.block,),
                messages.CheckBlock: (block,),
                messages.CertifyExactly: (far,),
                messages.FindSmallest: (True,),
                messages.TrainTo: (10,),
                messages.StartFrom: (start, 10),
                messages.Learn: (1, 30),
            }
            ours.send(kind(*given_with.get(kind, ())))
            given[kind] = ours.recv()
    finally:
        ours.close()
        thread.join()
    return given


def answer_type(request: type[Request[Any]]) -> type:
    """The type of the answer that a request names."""
    (base,) = request.__orig_bases__  # type: ignore[attr-defined]
    named: type = get_args(base)[0]
    return named


def test_a_worker_answers_each_request_with_the_type_that_it_names(
    plan: Plan, dataset: data.Dataset
) -> None:
    plan = replace(plan, workload=replace(plan.workload, steps=60))
    job = make_job(plan, CASE, 0, make_references(plan, dataset.training))
    # Of a worker's one block in this test, which is the one that it draws.
    work = plan.workload
    rows = batch_rows(work.training_images, work.batch_size, work.steps, job.seed)
    block = block_data(dataset.training, rows_of(rows, 0, job.block.steps))
    far = horizon_of(job, {})
    given = answers(replace(job, reading_steps=(1,), reading_images=8), block, far)
    assert {kind: type(answer) for kind, answer in given.items()} == {
        kind: answer_type(kind) for kind in Request.__subclasses__()
    }


def test_a_floor_refuses_what_only_a_training_can_answer(plan: Plan, dataset: data.Dataset) -> None:
    block = block_data(dataset.training, np.zeros((1, 1), np.int32))
    given = answers(make_job(plan, plan.floors[0], 0, {}), block)
    refused = [kind for kind, answer in given.items() if isinstance(answer, Failure)]
    assert refused == [
        messages.CertifyExactly,
        messages.FindSmallest,
        messages.TrainRest,
        messages.TakeReading,
        messages.TakeBatchReading,
        messages.DrawBlock,
        messages.CheckBlock,
        messages.TrainTo,
        messages.StartFrom,
        messages.Learn,
        messages.TakeTest,
        messages.TakeProfile,
        messages.Finish,
    ]
    assert "FloorWorker cannot answer Finish" in str(given[messages.Finish])
