"""The shared random draws."""

from __future__ import annotations

import numpy as np
import pytest

from backends.contract import Network
from benchmarks.plan.workload import batch_rows, checksum, initial_parameters


def test_no_row_comes_twice_in_an_epoch() -> None:
    rows = batch_rows(training_images=100, batch_size=8, steps=30, seed=0)
    assert rows.shape == (30, 8)
    assert rows.dtype == np.int32
    for start in (0, 12, 24):
        epoch = rows[start : start + 12].ravel()
        assert len(np.unique(epoch)) == len(epoch)
        assert epoch.min() >= 0
        assert epoch.max() < 100


def test_each_epoch_is_shuffled_anew() -> None:
    rows = batch_rows(training_images=96, batch_size=8, steps=24, seed=0)
    assert sorted(rows[:12].ravel()) == sorted(rows[12:].ravel()) == list(range(96))
    assert not np.array_equal(rows[:12], rows[12:])


def test_fewer_steps_are_the_beginning_of_more() -> None:
    longer = batch_rows(training_images=100, batch_size=8, steps=30, seed=4)
    np.testing.assert_array_equal(batch_rows(100, 8, 7, 4), longer[:7])


def test_a_batch_may_be_the_whole_set() -> None:
    assert sorted(batch_rows(10, 10, 2, 0)[1]) == list(range(10))


@pytest.mark.parametrize("seed", [0, 1, 12345])
def test_the_seed_fixes_everything(seed: int) -> None:
    network = Network(layer_sizes=(5, 4, 3))
    for (weight, bias), (same_weight, same_bias) in zip(
        initial_parameters(network, seed), initial_parameters(network, seed), strict=True
    ):
        np.testing.assert_array_equal(weight, same_weight)
        np.testing.assert_array_equal(bias, same_bias)
    assert not np.array_equal(batch_rows(50, 5, 9, seed), batch_rows(50, 5, 9, seed + 1))


def test_parameters_have_the_stated_deviation() -> None:
    (first, bias), _, (last, _) = initial_parameters(Network(layer_sizes=(784, 512, 512, 10)), 0)
    assert first.std() == pytest.approx((2 / 784) ** 0.5, rel=0.01)
    assert last.std() == pytest.approx(0.1 * 512**-0.5, rel=0.05)
    assert not bias.any()


def test_parameter_count() -> None:
    assert Network(layer_sizes=(784, 512, 512, 10)).parameter_count == 669_706


def test_the_checksum_tells_any_other_draw() -> None:
    network = Network(layer_sizes=(5, 4, 3))
    start, rows = initial_parameters(network, 0), batch_rows(100, 8, 30, seed=0)
    other_start, other_rows = initial_parameters(network, 0), rows.copy()
    other_start[1][1][2] = np.nextafter(0, 1)
    other_rows[29, 7] += 1
    assert checksum(start, rows) == checksum(initial_parameters(network, 0), rows.copy())
    assert len({checksum(a, b) for a in (start, other_start) for b in (rows, other_rows)}) == 4
