"""The loaders: pipelines of tf.data that cut batches on the host."""

from collections.abc import Iterable, Iterator

import numpy as np
import tensorflow as tf

from backends.contract import Array, TrainingSet, calls

Batch = tuple[tf.Tensor, tf.Tensor]
"""Images (batch_size, pixels) and labels (batch_size,)."""


class Slices:
    """The quickstart's loader: the images of a training one by one, put together in batches."""

    about = "put together by tf.data on the host, image by image"

    def __init__(self, training_set: TrainingSet) -> None:
        self._images, self._labels = training_set.images, training_set.labels.astype(np.int64)

    def batches(self, rows: Array) -> Iterator[Batch]:
        """The images and labels of each line of `rows`, (steps, batch_size)."""
        # An epoch of the default workload at a time: from_tensor_slices copies its arrays.
        for part in calls(rows, 430):
            order = part.ravel()
            images, labels = self._images[order], self._labels[order]
            with tf.device("cpu:0"):
                dataset = tf.data.Dataset.from_tensor_slices((images, labels))
            yield from dataset.batch(rows.shape[1])


class Pipeline:
    """Batches that are gathered at once, while those before them are trained on."""

    about = "cut by tf.data on the host, prefetched"

    def __init__(self, training_set: TrainingSet) -> None:
        with tf.device("cpu:0"):
            self._images = tf.constant(training_set.images)
            self._labels = tf.constant(training_set.labels.astype(np.int64))
            empty = np.zeros((0, 0), np.int32)
            self._rows = tf.Variable(empty, shape=(None, None), trainable=False)
        self._datasets: dict[tuple[int, ...], tf.data.Dataset] = {}

    def batches(self, rows: Array) -> Iterable[Batch]:
        """The images and labels of each line of `rows`, (steps, batch_size)."""
        self._rows.assign(rows)
        # Kept, since tracing one costs some 20 ms.
        if rows.shape not in self._datasets:
            self._datasets[rows.shape] = self._dataset(*rows.shape)
        return self._datasets[rows.shape]

    def _dataset(self, steps: int, batch_size: int) -> tf.data.Dataset:
        def cut(step: tf.Tensor) -> Batch:
            rows = tf.ensure_shape(self._rows[step], (batch_size,))
            return tf.gather(self._images, rows), tf.gather(self._labels, rows)

        options = tf.data.Options()
        # The autotuner's thread can hold up the end of a short pipeline until it next wakes:
        # 200 steps took 630 ms instead of 360 in every second call (two cores of an AMD EPYC).
        options.autotune.enabled = False
        return tf.data.Dataset.range(steps).map(cut).prefetch(2).with_options(options)
