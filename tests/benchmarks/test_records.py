"""environment.json as records: what is read is what was written, in bundles of any age."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.bundle.reader import read_environment
from benchmarks.bundle.records import CaseRecord, Environment, described_fields
from benchmarks.errors import UsageError
from benchmarks.machine import environment as machine_environment
from benchmarks.machine.settings import ROOT
from tests.synthetic_bundles import environment, identity

REFERENCE = sorted((ROOT / "results").rglob("environment.json"))


def content() -> dict[str, Any]:
    """An environment.json with two cases."""
    return environment([identity("jax compiled"), identity("jax compiled (control)")], 3)


def read(content: dict[str, Any]) -> Environment:
    """The record of a JSON object."""
    return Environment.from_json(json.loads(json.dumps(content)))


@pytest.mark.parametrize("path", REFERENCE, ids=lambda path: path.parent.name)
def test_a_committed_file_is_written_as_it_was_read(path: Path) -> None:
    written = read_environment(path.parent).to_json()
    expected = json.loads(path.read_text())
    for case in (*expected["run"]["cases"], *expected["run"]["floors"]):
        # Older files lack it.
        case.setdefault("repetition", int(case["case"].endswith("(control)")))
    assert json.dumps(written) == json.dumps(expected)


def test_the_record_of_a_record_is_the_same() -> None:
    record = read(content())
    assert read(record.to_json()) == record
    assert isinstance(record.workload.layer_sizes, tuple)
    assert [case.repetition for case in record.run.cases] == [0, 1]


def test_this_machine_can_be_described() -> None:
    described = machine_environment.describe()
    written = json.loads(json.dumps(read(content() | described).to_json()))
    assert {name: written[name] for name in described} == json.loads(json.dumps(described))


def test_older_files_lack_what_was_added_later() -> None:
    older = content()
    for case in older["run"]["cases"]:
        del case["repetition"]
    record = read(older)
    assert [case.repetition for case in record.run.cases] == [0, 1]
    assert record.run.floors == ()
    assert record.run.session_cpu_share is None
    assert record.workload.beta_1 is None
    assert "session_cpu_share" not in record.to_json()["run"]


def test_newer_files_may_hold_more() -> None:
    newer = content()
    newer["run"]["colour"] = "red"
    assert read(newer) == read(content())


@pytest.mark.parametrize(
    ("section", "field", "value", "message"),
    [
        ("run", "threads", None, "describes no run.threads"),
        ("workload", "steps", "many", "workload.steps cannot be 'many'"),
        ("workload", "layer_sizes", 784, "workload.layer_sizes cannot be 784"),
        ("run", "cases", ["jax"], "run.cases cannot be 'jax'"),
    ],
)
def test_a_damaged_file_is_named(
    tmp_path: Path, section: str, field: str, value: object, message: str
) -> None:
    damaged = content()
    damaged[section].pop(field)
    if value is not None:
        damaged[section][field] = value
    (tmp_path / "environment.json").write_text(json.dumps(damaged))
    with pytest.raises(UsageError, match=r"environment\.json: " + message):
        read_environment(tmp_path)


def test_every_field_is_described() -> None:
    for record in (Environment, CaseRecord):
        for name, about, _ in described_fields(record):
            assert about.endswith("."), name
