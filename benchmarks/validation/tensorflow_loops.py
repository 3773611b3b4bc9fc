"""Bare loops in TensorFlow."""

from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np

from backends.contract import Array
from benchmarks.plan.blocks import STEPS_PER_CALL
from benchmarks.validation.loops import (
    BATCH_SIZE,
    Loop,
    TimedLoop,
    calls,
    initial_arrays,
    short_block,
)


def tensorflow(images: Array, labels: Array, many: bool) -> Loop:
    """One step a call with Adam by hand, or a loop over many, compiled by XLA."""
    import tensorflow as tf

    x, y = tf.constant(images), tf.constant(labels)
    variables = [tf.Variable(array) for array in initial_arrays()]
    first, second = ([tf.Variable(tf.zeros_like(v)) for v in variables] for _ in range(2))
    count = tf.Variable(0.0)

    def step(batch: Any) -> Any:
        with tf.GradientTape() as tape:
            hidden = tf.gather(x, batch)
            for weight, bias in zip(variables[:-2:2], variables[1:-2:2], strict=True):
                hidden = tf.nn.relu(hidden @ weight + bias)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
                labels=tf.gather(y, batch), logits=hidden @ variables[-2] + variables[-1]
            )
            loss = tf.reduce_mean(losses)
        count.assign_add(1.0)
        gradients = tape.gradient(loss, variables)
        step_size = 0.001 / (1 - tf.pow(0.9, count))
        correction = 1 / (1 - tf.pow(0.999, count))
        for variable, m, v, gradient in zip(variables, first, second, gradients, strict=True):
            m.assign_add(0.1 * (gradient - m))
            v.assign_add(0.001 * (tf.square(gradient) - v))
            variable.assign_sub(step_size * m / (tf.sqrt(correction * v) + 1e-8))
        return loss

    def steps(rows: Any) -> Any:
        def one(index: Any, _: Any) -> Any:
            return index + 1, step(rows[index])

        return tf.while_loop(lambda index, _: index < STEPS_PER_CALL, one, (0, tf.zeros(())))

    program = tf.function(steps if many else step, jit_compile=True)

    def loop(rows: Array) -> None:
        for batch in tf.unstack(tf.constant(calls(rows, many))):
            program(batch)

    return loop


def tensorflow_by_hand(images: Array, labels: Array) -> Loop:
    """Many steps a call, compiled by XLA, without a gradient tape; the last weight transposed."""
    import tensorflow as tf

    x, y = tf.constant(images), tf.constant(labels)
    arrays = initial_arrays()
    arrays[4] = arrays[4].T
    start = arrays, *([np.zeros_like(array) for array in arrays] for _ in range(2))
    variables = [[tf.Variable(array) for array in kind] for kind in start]
    count, last_loss = tf.Variable(0.0), tf.Variable(0.0)

    def loss_and_gradients(parameters: Any, batch: Any) -> tuple[Any, list[Any]]:
        w1, b1, w2, b2, w3, b3 = parameters
        inputs, targets = tf.gather(x, batch), tf.gather(y, batch)
        h1 = tf.nn.relu(inputs @ w1 + b1)
        h2 = tf.nn.relu(h1 @ w2 + b2)
        logits = tf.matmul(h2, w3, transpose_b=True) + b3
        logs, truth = tf.nn.log_softmax(logits), tf.one_hot(targets, 10)
        d3 = (tf.exp(logs) - truth) / BATCH_SIZE
        across = tf.nn.softmax(tf.transpose(logits), axis=0) - tf.one_hot(targets, 10, axis=0)
        d2 = tf.where(h2 > 0, d3 @ w3, 0)
        d1 = tf.where(h1 > 0, tf.matmul(d2, w2, transpose_b=True), 0)
        g1, g2 = (tf.matmul(a, d, transpose_a=True) for a, d in ((inputs, d1), (h1, d2)))
        of_bias = [tf.reduce_sum(d, 0) for d in (d1, d2, d3)]
        gradients = [g1, of_bias[0], g2, of_bias[1], across / BATCH_SIZE @ h2, of_bias[2]]
        return -tf.reduce_sum(logs * truth) / BATCH_SIZE, gradients

    def one(state: Any, batch: Any) -> Any:
        parameters, first, second, t, _ = state
        t = t + 1.0
        rate, scale = 0.001 / (1 - tf.pow(0.9, t)), tf.math.rsqrt(1 - tf.pow(0.999, t))
        loss, gradients = loss_and_gradients(parameters, batch)
        first = [0.9 * m + 0.1 * g for m, g in zip(first, gradients, strict=True)]
        second = [0.999 * v + 0.001 * g * g for v, g in zip(second, gradients, strict=True)]
        parameters = [
            p - rate * m / (scale * tf.sqrt(v) + 1e-8)
            for p, m, v in zip(parameters, first, second, strict=True)
        ]
        return parameters, first, second, t, loss

    @tf.function(jit_compile=True)
    def program(rows: Any) -> None:
        state = tf.nest.map_structure(tf.convert_to_tensor, (*variables, count, last_loss))
        state = tf.while_loop(
            lambda index, _: index < STEPS_PER_CALL,
            lambda index, state: (index + 1, one(state, rows[index])),
            (0, state),
        )[1]
        tf.nest.map_structure(
            lambda a, b: a.assign(b), (*variables, count, last_loss), tuple(state)
        )

    def loop(rows: Array) -> None:
        for batch in calls(rows, many=True):
            program(tf.constant(batch))

    return loop


def tensorflow_fit(images: Array, labels: Array, many: bool) -> TimedLoop:
    """Keras' own training loop, timed by a callback; with XLA, many steps an execution."""
    import keras
    import tensorflow as tf

    x, y = tf.constant(images), tf.constant(labels)
    hidden = [keras.layers.Dense(512, activation="relu") for _ in range(2)]
    model = keras.Sequential([keras.Input((784,)), *hidden, keras.layers.Dense(10)])
    model.compile(
        optimizer=keras.optimizers.Adam(0.001),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        **({"jit_compile": True, "steps_per_execution": STEPS_PER_CALL} if many else {}),
    )
    lead_in = short_block(many).lead_in
    pipelines: list[Any] = []

    def train(rows: Array) -> float:
        # The first block serves for all, since making a pipeline takes longer than some steps.
        if not pipelines:
            options = tf.data.Options()
            options.autotune.enabled = False
            batches = tf.data.Dataset.from_tensor_slices(rows)
            batches = batches.map(lambda batch: (tf.gather(x, batch), tf.gather(y, batch)))
            pipelines.append(batches.prefetch(2).with_options(options))
        times: list[float] = []

        def note(step: int, **_: Any) -> None:
            if step == lead_in:
                times.append(perf_counter())

        callback = keras.callbacks.LambdaCallback(
            on_train_batch_begin=note, on_epoch_end=lambda *_, **__: note(lead_in)
        )
        model.fit(pipelines[0], shuffle=False, verbose=0, callbacks=[callback])
        return times[-1] - times[0]

    return train


TENSORFLOW_LOOPS: dict[tuple[str, str], Callable[[Array, Array], Any]] = {
    ("tensorflow", "keras-fit"): partial(tensorflow_fit, many=False),
    ("tensorflow", "keras-fit-xla"): partial(tensorflow_fit, many=True),
    ("tensorflow", "compiled"): partial(tensorflow, many=False),
    ("tensorflow", "xla-loop"): partial(tensorflow, many=True),
    ("tensorflow", "handwritten"): tensorflow_by_hand,
}
