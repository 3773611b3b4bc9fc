"""The workload, and the random draws that every backend shares.

Parameters and batches are drawn once, here, in NumPy, from the seed. A backend draws nothing.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from backends.contract import Adam, Array, Network, Parameters

# Apart, so that changing how one is drawn leaves the other as it was.
PARAMETERS_STREAM, BATCHES_STREAM, VALIDATION_STREAM = 0, 1, 3


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What is trained; the same for every case of a run."""

    network: Network
    adam: Adam
    batch_size: int
    steps: int
    training_images: int
    data_dir: str


def initial_parameters(network: Network, seed: int) -> Parameters:
    """Weights in float64: normal, of deviation √(2/inputs) before a ReLU; biases zero.

    He et al., "Delving Deep into Rectifiers", 2015, equation 10. The last layer, which has no ReLU
    behind it, is ten times as small as 1/√inputs, so that training starts from even odds.
    """
    generator = np.random.default_rng([seed, PARAMETERS_STREAM])
    layers = list(pairwise(network.layer_sizes))
    deviations = [(2 / inputs) ** 0.5 for inputs, _ in layers[:-1]] + [0.1 * layers[-1][0] ** -0.5]
    return [
        (generator.normal(0, deviation, (inputs, outputs)), np.zeros(outputs))
        for (inputs, outputs), deviation in zip(layers, deviations, strict=True)
    ]


def batch_rows(training_images: int, batch_size: int, steps: int, seed: int) -> Array:
    """The rows of the training set in each batch: (steps, batch_size) of int32.

    Every epoch is a fresh shuffle, cut into whole batches; the few rows left over sit it out, so
    no row comes twice in an epoch.
    """
    generator = np.random.default_rng([seed, BATCHES_STREAM])
    per_epoch = training_images // batch_size
    epochs = -(-steps // per_epoch)
    rows = [generator.permutation(training_images)[: per_epoch * batch_size] for _ in range(epochs)]
    return np.concatenate(rows).astype(np.int32).reshape(-1, batch_size)[:steps]


def checksum(parameters: Parameters, rows: Array) -> str:
    """Of all that was drawn for a training run: equal where two runs start alike."""
    found = zlib.crc32(rows.tobytes())
    for layer in parameters:
        for array in layer:
            found = zlib.crc32(array.tobytes(), found)
    return f"{found:08x}"


def validation_rows(validation_images: int, batch_size: int, batches: int, seed: int) -> Array:
    """The rows of the validation set in each batch: (batches, batch_size), none twice in a batch.

    Batches are as large as the set at most.
    """
    generator = np.random.default_rng([seed, VALIDATION_STREAM])
    size = min(batch_size, validation_images)
    return np.stack(
        [generator.choice(validation_images, size, replace=False) for _ in range(batches)]
    )
