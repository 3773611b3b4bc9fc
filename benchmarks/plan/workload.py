"""The workload, and the random draws that every backend shares.

Initial parameters and batches are drawn once, here, in NumPy, from the seed. Backends draw nothing.
"""

import zlib
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from backends.contract import Adam, Array, Network, Parameters, Training, TrainingSet
from benchmarks.plan.data import Split

# Separate streams, so that changing how one is drawn leaves the others as they were.
PARAMETERS_STREAM, BATCHES_STREAM, VALIDATION_STREAM = 0, 1, 3


@dataclass(frozen=True, kw_only=True)
class Workload:
    """The training that every case of a run does."""

    network: Network
    adam: Adam
    batch_size: int
    steps: int
    training_images: int
    data_dir: str
    data_sha256: str = ""
    """See Dataset.sha256; where it is not empty, a worker trains on no other data."""
    shuffled: bool = False
    """See Dataset.shuffled."""

    def training(self, training_set: TrainingSet, start: Parameters) -> Training:
        """The value that a trainer is given to train this on a set from initial parameters."""
        return Training(
            network=self.network, adam=self.adam, training_set=training_set, start=start
        )


def initial_parameters(network: Network, seed: int) -> Parameters:
    """A weight (inputs, outputs) and a bias (outputs,) in float64 for each layer.

    Weights before a ReLU are normal with standard deviation √(2/inputs): He et al., "Delving Deep
    into Rectifiers", 2015, equation 10. The last layer has no ReLU; its deviation is 0.1/√inputs,
    so that training starts from nearly even odds for all classes. Biases are zero.
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

    Every epoch is a fresh shuffle, divided into whole batches; the few rows that are left over are
    not used in that epoch, and no row is used twice in one.
    """
    generator = np.random.default_rng([seed, BATCHES_STREAM])
    per_epoch = training_images // batch_size
    epochs = -(-steps // per_epoch)
    rows = [generator.permutation(training_images)[: per_epoch * batch_size] for _ in range(epochs)]
    return np.concatenate(rows).astype(np.int32).reshape(-1, batch_size)[:steps]


def rows_of(rows: Array, first_step: int, steps: int) -> Array:
    """The batches of so many steps, from a step on; past the last one they start over."""
    return rows.take(range(first_step, first_step + steps), axis=0, mode="wrap")


def checksum(parameters: Parameters, rows: Array) -> str:
    """A checksum of what was drawn for a training: eight hexadecimal digits.

    It is equal for trainings with the same initial parameters and the same batches.
    """
    crc = zlib.crc32(rows.tobytes())
    for layer in parameters:
        for array in layer:
            crc = zlib.crc32(array.tobytes(), crc)
    return f"{crc:08x}"


def validation_rows(validation_images: int, batch_size: int, batches: int, seed: int) -> Array:
    """The rows of the validation set in each batch: (batches, batch_size), none twice in a batch.

    Batches are never larger than the set.
    """
    generator = np.random.default_rng([seed, VALIDATION_STREAM])
    size = min(batch_size, validation_images)
    return np.stack(
        [generator.choice(validation_images, size, replace=False) for _ in range(batches)]
    )


@dataclass(frozen=True, kw_only=True)
class BlockData:
    """What the session hands over of a block, from its own copy of the data."""

    rows: Array
    """(steps, batch_size): indices into the trainer's training set."""
    batches: Split
    """The images and labels that stand in `rows`, each once, in the order of their indices."""
    unlit: Array
    """Of each pixel, whether it is zero in every image of the training set."""

    @cached_property
    def in_batches(self) -> Array:
        """`rows`, as indices into `batches`."""
        inverse = np.unique(self.rows, return_inverse=True)[1]
        return inverse.reshape(self.rows.shape).astype(np.int32)

    def images_of(self, part: slice) -> Array:
        """The images (n, pixels) of a part of the rows."""
        return self.batches.images[self.in_batches[part].ravel()]


def block_data(training: Split, rows: Array) -> BlockData:
    """What there is to hand over of a block with these rows of the training set."""
    used = np.unique(rows)
    batches = Split(images=training.images[used], labels=training.labels[used])
    return BlockData(rows=rows, batches=batches, unlit=training.unlit)
