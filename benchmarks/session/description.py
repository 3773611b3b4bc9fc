"""The description of a run for its environment.json, as it is when the run starts."""

import shlex
import sys
from dataclasses import asdict
from pathlib import Path

from backends.floors import FLOOR_VERSION
from benchmarks.bundle.records import FORMAT, CaseRecord, Environment, Machine, Run, WorkloadRecord
from benchmarks.machine import environment
from benchmarks.machine.processor import as_text
from benchmarks.plan.cases import Case
from benchmarks.plan.plan import Plan


def describe_run(plan: Plan) -> Environment:
    """The machine, the software, the workload, and what is asked of the run."""
    work, described = plan.workload, environment.describe()
    # Backends that another Python runs have versions that differ from this process's.
    described["packages"] |= plan.versions
    machine = Machine.from_json(described.pop("machine"))
    return Environment(
        **described,
        format=FORMAT,
        machine=machine,
        workload=WorkloadRecord(
            layer_sizes=work.network.layer_sizes,
            parameters=work.network.parameter_count,
            **{n: value for n, value in asdict(work.adam).items() if n != "form"},
            batch_size=work.batch_size,
            steps=work.steps,
            training_images=work.training_images,
            data=Path(work.data_dir).name,
            data_sha256=work.data_sha256 or None,
            data_shuffled=work.shuffled or None,
        ),
        run=Run(
            command=shlex.join(["python", "run_all.py", *plan.hosts.unnamed(sys.argv[1:])]),
            launches=plan.launches,
            seed=plan.seed,
            threads=plan.threads,
            cpus=as_text(plan.cpus) or None,
            hosts=len(set(plan.hosts.names)) or None,
            cases=_records(*plan.cases, *plan.skipped),
            floors=_records(*plan.floors),
            floor_version=FLOOR_VERSION if plan.floors else None,
            block_steps=plan.block.timed,
            lead_in_steps=plan.block.lead_in,
            timed_from_step=None if plan.readings else plan.middle,
            time_limit_seconds=plan.time_limit_seconds,
            accuracy_margin_points=plan.accuracy_margin,
            releases=plan.releases or None,
            state="running",
            finished_launches=0,
            out_of_time=False,
        ),
    )


def _records(*cases: Case) -> tuple[CaseRecord, ...]:
    return tuple(CaseRecord.from_json(case.identity()) for case in cases)
