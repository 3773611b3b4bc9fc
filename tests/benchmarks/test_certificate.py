"""The certificate passes what is right and fails what is not."""

from __future__ import annotations

import numpy as np
import pytest

from backends.contract import Adam, Array, Execution, Network, NotKeptError, State, Training
from backends.numpy.backend import Eager
from backends.numpy.model import forward
from benchmarks.certificates import certificate
from benchmarks.certificates.certificate import Check, first_failure
from benchmarks.certificates.reference import Reference, draw_order, make_reference, relabel
from benchmarks.plan import data
from benchmarks.plan.workload import Workload
from benchmarks.schema import LEVELS, STAGES


@pytest.fixture(scope="module")
def training() -> data.Split:
    return data.load().training


def make_workload(*hidden: int, batch_size: int = 32, learning_rate: float = 0.01) -> Workload:
    return Workload(
        network=Network(layer_sizes=(784, *hidden, 10)),
        adam=Adam(learning_rate=learning_rate),
        batch_size=batch_size,
        steps=100,
        training_images=55_000,
        data_dir="",
    )


WORK = make_workload(48, 32)


@pytest.fixture(scope="module")
def reference(training: data.Split) -> Reference:
    return make_reference(WORK, "float32", training)


def certify(
    trainer_type: type[Eager],
    reference: Reference,
    training: data.Split,
    level: str,
    work: Workload = WORK,
) -> list[Check]:
    precision = "float64" if level == "exact" else "float32"
    trainer = trainer_type(
        Training(
            network=work.network,
            adam=work.adam,
            training_set=training.stored_as(precision),
            start=reference.start,
        ),
        Execution(mode="eager", precision=precision),
    )
    return certificate.certify(trainer, work.adam, reference, reference.rows, precision, level)


@pytest.mark.parametrize("level", LEVELS)
def test_the_reference_itself_passes(
    level: str, reference: Reference, training: data.Split
) -> None:
    checks = certify(Eager, reference, training, level)
    assert first_failure(checks) is None
    assert {check.stage for check in checks} == set(STAGES)
    # One figure for each parameter, in the stages that have parameters.
    assert sum(check.stage == "gradients" for check in checks) == 6


def test_bounds_are_tight_until_ten_steps(reference: Reference) -> None:
    for (stage, _), bound in reference.bounds.items():
        assert bound < {"parameters_1_step": 1e-3, "parameters_10_steps": 1}.get(stage, 1e-2)
        assert bound < 1e-4 or "step" in stage


class NotANumber(Eager):
    def state(self) -> State:
        state = super().state()
        return state._replace(parameters=[(w * np.nan, b) for w, b in state.parameters])


class OneGradientWrong(Eager):
    def state(self) -> State:
        state = super().state()
        first, (weight, bias), *rest = state.first_moments
        return state._replace(first_moments=[first, (weight, bias * 1.01), *rest])


class LossesNotKept(Eager):
    def losses(self) -> Array:
        if self._steps > 1:
            raise NotKeptError("for a reason")
        return super().losses()


@pytest.mark.parametrize("level", LEVELS)
def test_what_is_not_a_number_fails(level: str, reference: Reference, training: data.Split) -> None:
    failure = first_failure(certify(NotANumber, reference, training, level))
    assert failure is not None
    assert (failure.stage, failure.error) == ("parameters_1_step", float("inf"))


@pytest.mark.parametrize("level", LEVELS)
def test_the_parameter_that_deviates_is_named(
    level: str, reference: Reference, training: data.Split
) -> None:
    failure = first_failure(certify(OneGradientWrong, reference, training, level))
    assert failure is not None
    assert (failure.stage, failure.parameter) == ("gradients", "layer 2 bias")
    assert failure.error == pytest.approx(0.01, rel=1e-2)


def test_a_stage_that_cannot_be_read_is_named_and_the_rest_still_counts(
    reference: Reference, training: data.Split
) -> None:
    checks = certify(LossesNotKept, reference, training, "exact")
    missing = [check for check in checks if check.not_read]
    assert [(check.stage, check.not_read) for check in missing] == [
        ("loss_10_steps", "for a reason")
    ]
    assert first_failure(checks) is None
    assert any(check.stage == "parameters_10_steps" for check in checks)


def test_a_bound_of_one_proves_nothing() -> None:
    check = Check(level="as timed", stage="loss", parameter="", error=0.5, bound=2.0, steps=1)
    assert not check.passed


def test_relabelling_changes_nothing_but_rounding() -> None:
    network = Network(layer_sizes=(6, 5, 4, 3))
    generator = np.random.default_rng(0)
    start = [(generator.random((m, n)), generator.random(n)) for m, n in ((6, 5), (5, 4), (4, 3))]
    order = draw_order(network, generator)
    images = generator.random((7, 6))
    plain = forward(start, images)[-1]
    changed = relabel(start, order)
    relabelled = forward(changed, images[:, order[0]])[-1]
    np.testing.assert_allclose(relabelled, plain, rtol=1e-12)
    restored = relabel(changed, [np.argsort(units) for units in order])
    for (weight, bias), (same_weight, same_bias) in zip(restored, start, strict=True):
        np.testing.assert_array_equal(weight, same_weight)
        np.testing.assert_array_equal(bias, same_bias)
