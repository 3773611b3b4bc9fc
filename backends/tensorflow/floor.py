"""The least that a step can be in TensorFlow."""

import tensorflow as tf

from backends import contract, floors
from backends.contract import Array, Execution, Network, Program
from backends.floors import PASS_DECAY, PASS_RATE
from backends.tensorflow.model import counted_loop, device_of


class Floor(floors.Floor):
    """Many steps in one XLA program, on variables that it updates in place."""

    def __init__(self, network: Network, batch_size: int, execution: Execution) -> None:
        self._steps_per_call = execution.steps_per_call
        images, *state = floors.floor_arrays(network, batch_size, execution.stored)
        self._images = tf.cast(images, execution.product_type)
        self._variables = [[tf.Variable(array) for array in arrays] for arrays in state]
        self._gradients = [tf.zeros_like(variable) for variable in self._variables[0]]
        self._update = tf.function(self._pass, jit_compile=True)
        self._program = tf.function(self._steps, jit_compile=True)

    def train(self, rows: Array) -> None:
        for part in contract.calls(rows, self._steps_per_call):
            self._program(len(part))

    def _steps(self, steps: int) -> None:
        def step(index: tf.Tensor, nothing: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            self._step()
            return index + 1, nothing

        counted_loop(steps, step, tf.constant(0))

    def _step(self) -> None:
        variables = self._variables[0]
        weights = [tf.cast(variable, self._images.dtype) for variable in variables]
        outputs = [self._images]
        for weight in weights:
            outputs.append(outputs[-1] @ weight)
        delta = outputs.pop()
        gradients: list[tf.Tensor] = []
        for layer in reversed(range(len(weights))):
            gradients.insert(0, tf.matmul(outputs[layer], delta, transpose_a=True))
            if layer:
                delta = tf.matmul(delta, weights[layer], transpose_b=True)
        self._pass(gradients)

    def _pass(self, gradients: list[tf.Tensor]) -> None:
        for w, m, v, g in zip(*self._variables, gradients, strict=True):
            for moment in (m, v):
                moment.assign((moment + tf.cast(g, moment.dtype)) * PASS_DECAY)
            w.assign_sub(PASS_RATE * m)

    def update(self) -> None:
        self._update(self._gradients)

    def synchronise(self) -> None:
        tf.test.experimental.sync_devices()

    def square(self, size: int) -> tf.Tensor:
        return tf.ones((size, size), self._images.dtype)

    def multiply(self, matrix: tf.Tensor) -> None:
        tf.matmul(matrix, matrix)

    def arrays(self) -> list[list[Array]]:
        return [[variable.numpy() for variable in variables] for variables in self._variables]

    def device(self) -> str:
        return device_of(self._variables[0][0])

    def program(self, steps: int) -> Program:
        return Program(self._program, (steps,))
