"""Bounds that are derived: what rounding does to a gradient whose batch has been learned."""

import numpy as np
import pytest

from backends.contract import Parameters, arrays_of
from backends.numpy.model import forward, loss_and_gradients
from benchmarks.certificates.rounding import SAFETY, gradient_noise, unit_of


def learned(margin: float) -> tuple[Parameters, np.ndarray, np.ndarray]:
    """Parameters whose logits tell the labels of a batch of 17 by some `margin`."""
    generator = np.random.default_rng(0)
    shapes = [(40, 64), (64, 64), (64, 10)]
    layers = [(generator.normal(size=(m, n)) / m**0.5, np.zeros(n)) for m, n in shapes]
    images = generator.random((17, 40)).astype(np.float32)
    layers[-1] = (layers[-1][0] * margin, layers[-1][1])
    single = [(weight.astype(np.float32), bias.astype(np.float32)) for weight, bias in layers]
    return single, images, forward(single, images)[-1].argmax(axis=1)


@pytest.mark.parametrize("margin", [30.0, 100.0, 1000.0])
def test_gradient_of_a_learned_batch_is_off_by_the_rounding_of_its_probabilities(
    margin: float,
) -> None:
    parameters, images, labels = learned(margin)
    exact = [(weight.astype(float), bias.astype(float)) for weight, bias in parameters]
    outputs = forward(exact, images.astype(float))
    gradients = arrays_of(loss_and_gradients(exact, images.astype(float), labels)[1])
    rounded = arrays_of(loss_and_gradients(parameters, images, labels)[1])
    for right, other, noise in zip(gradients, rounded, gradient_noise(exact, outputs), strict=True):
        error = float(np.linalg.norm(other - right)) / unit_of("float32")
        assert noise / 2 < error < SAFETY * noise
