"""The least that a step can be in TensorFlow."""

from collections.abc import Callable
from functools import cached_property, partial
from typing import Any

import tensorflow as tf
from tensorflow.compiler.tf2xla.ops.gen_xla_ops import xla_optimization_barrier

from backends import contract, floors
from backends.contract import Array, Execution, Program, Training
from backends.floors import ADAM, GATHER, REPEATS, XLA, XLA_TRANSPOSED, Candidate, Piece
from backends.tensorflow.model import counted_loop, device_of


class Floor(floors.Floor):
    """Many steps in one XLA program, on variables that it updates in place."""

    def __init__(self, training: Training, batch_size: int, execution: Execution) -> None:
        self._steps_per_call, self.repeats = execution.steps_per_call, REPEATS[execution.device]
        self._in_group = execution.ranks > 1
        self._network, self._adam, self._batch_size = training.network, training.adam, batch_size
        self._images = tf.cast(training.training_set.images, execution.product_type)
        self._labels = tf.constant(training.training_set.labels)
        self._products = execution.products or floors.choose_by_layer(
            floors.time_candidates(self._candidates, self.synchronise, self.repeats)
        )
        floors.check_xla(self._products, self._network)
        self._inputs_first = floors.layers_inputs_first(self._products)
        # Weights and both moments lie alike.
        start = floors.turned((weight for weight, _ in training.start), self._inputs_first)
        weights = [tf.Variable(tf.cast(weight, execution.stored)) for weight in start]
        moments = [[tf.Variable(tf.zeros_like(w)) for w in weights] for _ in range(2)]
        self._variables = [weights, *moments]
        self._taken = tf.Variable(tf.zeros((), weights[0].dtype))
        self._batch_labels = tf.Variable(tf.zeros(batch_size, self._labels.dtype))
        self._gradients = [tf.zeros(w.shape, self._images.dtype) for w in weights]
        self._passes = tf.function(self._repeated_pass, jit_compile=True)
        self._program = tf.function(self._steps, jit_compile=True)

    def train(self, rows: Array) -> None:
        for part in contract.calls(rows, self._steps_per_call):
            self._program(tf.constant(part))

    def _steps(self, rows: tf.Tensor) -> None:
        def step(index: tf.Tensor, nothing: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            images, labels = self._gathered(rows[index])
            self._batch_labels.assign(labels)
            self._step(images)
            return index + 1, nothing

        counted_loop(rows.shape[0], step, tf.constant(0))

    def _gathered(self, batch: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.gather(self._images, batch), tf.gather(self._labels, batch)

    def _step(self, images: tf.Tensor) -> None:
        matrices = {"outputs 0": images}
        for layer, weight in enumerate(self._variables[0], start=1):
            matrices[f"weight {layer}"] = tf.cast(weight, images.dtype)
        for product in floors.products(self._network, self._inputs_first):
            factors = [matrices[factor.matrix] for factor in product[1:3]]
            multiply = multiply_by(self._products[product.name], product)
            matrices[product.result] = multiply(*factors)
        layers = range(1, len(self._gradients) + 1)
        self._pass([matrices[f"gradient {layer}"] for layer in layers])

    def _pass(self, gradients: list[tf.Tensor]) -> None:
        adam, steps = self._adam, self._taken.assign_add(1)
        step_size = adam.learning_rate / (1 - tf.pow(tf.cast(adam.beta_1, steps.dtype), steps))
        correction = tf.math.rsqrt(1 - tf.pow(tf.cast(adam.beta_2, steps.dtype), steps))
        for w, m, v, gradient in zip(*self._variables, gradients, strict=True):
            g = tf.cast(gradient, w.dtype)
            m.assign(adam.beta_1 * m + (1 - adam.beta_1) * g)
            v.assign(adam.beta_2 * v + (1 - adam.beta_2) * g * g)
            w.assign_sub(step_size * m / (tf.sqrt(v) * correction + adam.epsilon))

    def _repeated_pass(self) -> None:
        def step(index: tf.Tensor, nothing: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            self._pass(self._gradients)
            return index + 1, nothing

        counted_loop(self.repeats, step, tf.constant(0))

    def update(self) -> None:
        self._passes()

    def synchronise(self) -> None:
        if self._in_group:
            # There TensorFlow has no function that waits for devices: what is read is done.
            self._images[0, 0].numpy()
        else:
            tf.test.experimental.sync_devices()

    def products(self) -> dict[str, str]:
        return self._products

    @cached_property
    def _candidates(self) -> list[Candidate]:
        def repeat(
            library: str, product: floors.Product, factors: list[tf.Tensor]
        ) -> Callable[[], Any]:
            return repeated(self.repeats, multiply_by(library, product), factors)

        return floors.xla_candidates(
            self._network,
            self._batch_size,
            partial(tf.ones, dtype=self._images.dtype),
            repeat,
        )

    def pieces(self) -> list[Piece]:
        rows = tf.range(self._batch_size) % len(self._labels)
        gather = repeated(self.repeats, lambda batch: self._gathered(batch)[0], [rows])
        others = [Candidate(ADAM, XLA, self.update), Candidate(GATHER, XLA, gather)]
        timed = floors.time_candidates([*self._candidates, *others], self.synchronise, self.repeats)
        return floors.marked(timed, self._products | {ADAM: XLA, GATHER: XLA})

    def square(self, size: int) -> tf.Tensor:
        return tf.ones((size, size), self._images.dtype)

    def multiply(self, matrix: tf.Tensor) -> None:
        tf.matmul(matrix, matrix)

    def arrays(self) -> list[list[Array]]:
        return [
            floors.turned((variable.numpy() for variable in variables), self._inputs_first)
            for variables in self._variables
        ]

    def labels(self) -> Array:
        return self._batch_labels.numpy()

    def device(self) -> str:
        return device_of(self._variables[0][0])

    def program(self, rows: Array) -> Program:
        return Program(self._program, (tf.constant(rows),))


def multiply_by(library: str, product: floors.Product) -> Callable[..., tf.Tensor]:
    """The function of two matrices that makes a product, transposing what it says."""
    left, right = product.left.transposed, product.right.transposed
    if not (left and library.startswith(XLA_TRANSPOSED)):
        return partial(tf.matmul, transpose_a=left, transpose_b=right)
    # Behind a barrier the transpose is written to memory first.
    return lambda a, b: tf.matmul(xla_optimization_barrier([tf.transpose(a)])[0], b)


def repeated(
    times: int, call: Callable[..., tf.Tensor], arguments: list[tf.Tensor]
) -> Callable[[], Any]:
    """A function that makes `call` so many times in one XLA program.

    The arguments pass through a barrier with each result, so that no repetition can be left out.
    """

    def loop(*arguments: tf.Tensor) -> Any:
        def step(index: tf.Tensor, carried: Any) -> tuple[tf.Tensor, Any]:
            return index + 1, tuple(xla_optimization_barrier([*carried[:-1], call(*carried[:-1])]))

        # The first of them gives the loop what it carries.
        return counted_loop(times - 1, step, (*arguments, call(*arguments)))[-1]

    return partial(tf.function(loop, jit_compile=True), *arguments)
