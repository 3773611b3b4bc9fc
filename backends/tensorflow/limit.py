"""The limit: the fastest programs known in TensorFlow."""

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.compiler.tf2xla.ops.gen_xla_ops import xla_optimization_barrier

from backends import contract
from backends.contract import TEXTBOOK, Array, Description, Program, calls
from backends.keras.trainer import as_layers
from backends.tensorflow.expert import Compiled
from backends.tensorflow.loaders import Batch
from backends.tensorflow.model import counted_loop
from backends.tensorflow.taught import Function


class Async(Compiled):
    """One step as one XLA program, whose calls return before it is done.

    `configure` switches TensorFlow to asynchronous execution.
    """

    def synchronise(self) -> None:
        super().synchronise()
        # A value that is read has been computed, and everything that was asked for before it.
        if hasattr(self, "_loss"):
            self._loss.numpy()


class Concrete(Async):
    """The concrete function called instead of the `tf.function` that picks it."""

    compiler = "tf.function with XLA: whole step, called as a concrete function"

    def _train_on(self, batches: Any, steps: int) -> None:
        batches = iter(batches)
        first = next(batches)
        program = self._program.get_concrete_function(*first)
        self._loss = program(*first)
        for batch in batches:
            self._loss = program(*batch)


class XlaLoop(Compiled):
    """Many steps as one XLA program, with the loop inside it."""

    compiler = "tf.function with XLA: loop over steps"

    def _build(self) -> None:
        def train_steps(rows: tf.Tensor) -> tf.Tensor:
            def step(index: tf.Tensor, losses: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
                return index + 1, losses.write(index, self._step_on_rows(rows[index]))

            steps = rows.shape[0]
            losses = tf.TensorArray(self._images.dtype, steps)
            return counted_loop(steps, step, losses).stack()

        self.steps_per_call = self._execution.steps_per_call
        self._program = tf.function(train_steps, jit_compile=self.use_xla)

    def _batches(self, rows: Array) -> Any:
        return ((tf.constant(part),) for part in calls(rows, self.steps_per_call))

    def train_parts(self, parts: Any, mark: Any) -> None:
        super(Function, self).train_parts(parts, mark)

    # Read by certificate and ledger; never timed.

    def program(self, rows: Array) -> Program:
        return Program(self._program, (tf.constant(rows),))


class GraphLoop(XlaLoop):
    """Many steps as one graph, whose products oneDNN computes."""

    compiler = "tf.function: loop over steps"
    use_xla = False


Arrays = list[Any]
"""Weights and biases in turns, input side first; the last weight lies as (outputs, inputs)."""
State = tuple[Arrays, Arrays, Arrays, Any]
"""Parameters, Adam's two moments, and the number of steps so far."""


class Handwritten(XlaLoop):
    """The loop over steps, with the derivative and Adam written by hand.

    The Keras model is there to be read: parameters and moments lie in variables of its own.
    """

    compiler = "tf.function with XLA: loop over steps, derivative by hand"

    def _build(self) -> None:
        super()._build()
        sizes, stored = self._sizes(), self._execution.stored
        shapes = [shape for m, n in pairwise(sizes) for shape in ((m, n), (n,))]
        shapes[-2] = shapes[-2][::-1]
        kinds = [[tf.Variable(tf.zeros(s, stored)) for s in shapes] for _ in range(3)]
        self._variables: State = (*kinds, tf.Variable(tf.zeros((), stored)))
        self._program = tf.function(self._steps, jit_compile=True)

    def _sizes(self) -> list[int]:
        weights = self._model.trainable_variables[::2]
        return [weights[0].shape[0], *(weight.shape[1] for weight in weights)]

    def set_state(self, state: contract.State) -> None:
        *kinds, count = self._variables
        for variables, layers in zip(kinds, state[:3], strict=True):
            arrays = _turn_last(contract.arrays_of(layers))
            for variable, array in zip(variables, arrays, strict=True):
                variable.assign(array)
        count.assign(state.steps)

    def _steps(self, rows: tf.Tensor) -> tf.Tensor:
        def step(index: tf.Tensor, carried: Any) -> tuple[tf.Tensor, Any]:
            state, losses = carried
            loss, gradients = self._derivative(state[0], self._gather(rows[index]))
            return index + 1, (self._updated(state, gradients), losses.write(index, loss))

        # Carried through the loop as values, and written back to the variables once a call.
        state = tf.nest.map_structure(tf.convert_to_tensor, self._variables)
        losses = tf.TensorArray(self._images.dtype, rows.shape[0])
        state, losses = counted_loop(rows.shape[0], step, (state, losses))
        tf.nest.map_structure(
            lambda variable, value: variable.assign(value), self._variables, state
        )
        return losses.stack()

    def _factor(self, array: tf.Tensor) -> tf.Tensor:
        """An array as a factor of a product."""
        return tf.cast(array, self._execution.product_type)

    def _across(self, matrix: tf.Tensor) -> tf.Tensor:
        """A matrix transposed as a factor of a product; XLA folds this into the product."""
        return tf.transpose(matrix)

    def _derivative(self, parameters: Arrays, batch: Batch) -> tuple[tf.Tensor, Arrays]:
        """The loss of a batch, and its gradients, laid out as the parameters."""
        images, labels = batch
        *hidden, weight, bias = map(self._factor, parameters)
        weights, outputs = [*hidden[::2], weight], [self._factor(images)]
        for w, b in zip(hidden[::2], hidden[1::2], strict=True):
            outputs.append(tf.nn.relu(outputs[-1] @ w + b))
        logits = tf.cast(tf.matmul(outputs[-1], weight, transpose_b=True) + bias, images.dtype)

        size, classes = logits.shape
        truth = tf.one_hot(labels, classes, dtype=logits.dtype)
        log_probabilities = tf.nn.log_softmax(logits)
        loss = -tf.reduce_sum(truth * log_probabilities) / size
        delta = (tf.exp(log_probabilities) - truth) / size
        # The same as delta's transposition, from transposed logits: that of the result XLA would
        # fold into the product of a few columns that follows, which Eigen computes slowly.
        truth = tf.one_hot(labels, classes, axis=0, dtype=logits.dtype)
        delta_turned = (tf.nn.softmax(tf.transpose(logits), axis=0) - truth) / size

        gradients = [self._factor(delta_turned) @ outputs[-1], tf.reduce_sum(delta, 0)]
        for layer in reversed(range(len(outputs) - 1)):
            # The last weight alone lies as (outputs, inputs).
            lies_across = layer + 2 < len(weights)
            back = tf.matmul(self._factor(delta), weights[layer + 1], transpose_b=lies_across)
            delta = tf.where(outputs[layer + 1] > 0, back, 0)
            of_bias = tf.reduce_sum(tf.cast(delta, images.dtype), 0)
            gradients = [self._across(outputs[layer]) @ delta, of_bias, *gradients]
        return loss, gradients

    def _updated(self, state: State, gradients: Arrays) -> State:
        """The state after Adam's update."""
        parameters, first, second, count = state
        adam, count = self._adam, count + 1

        def remainder(beta: float) -> tf.Tensor:
            # 1 − βᵗ, of which that subtraction would lose five digits at the first steps. In Keras'
            # own form the decay rate is rounded as Keras does it.
            beta = beta if adam.form == TEXTBOOK else float(np.float32(beta))
            return -tf.math.expm1(count * math.log(beta))

        rate = adam.learning_rate / remainder(adam.beta_1)
        correction = tf.math.rsqrt(remainder(adam.beta_2))
        epsilon = adam.epsilon if adam.form == TEXTBOOK else adam.epsilon * correction
        gradients = [tf.cast(g, count.dtype) for g in gradients]
        first = [m + (1 - adam.beta_1) * (g - m) for m, g in zip(first, gradients, strict=True)]
        second = [
            v + (1 - adam.beta_2) * (g * g - v) for v, g in zip(second, gradients, strict=True)
        ]
        parameters = [
            p - rate * m / (tf.sqrt(v) * correction + epsilon)
            for p, m, v in zip(parameters, first, second, strict=True)
        ]
        return parameters, first, second, count

    # Read by certificate and ledger; never timed.

    def state(self) -> contract.State:
        *kinds, count = self._variables
        parameters, first, second = (as_layers(_turn_last(kind)) for kind in kinds)
        return contract.State(parameters, first, second, int(count))

    def logits(self, images: Array) -> Array:
        self._model.set_weights(_turn_last(self._variables[0]))
        return super().logits(images)

    def _weight(self) -> tf.Variable:
        return self._variables[0][0]

    def describe(self) -> Description:
        return replace(super().describe(), optimizer="Adam by hand")


class HandwrittenPrivate(Handwritten):
    """The same with the layers' inputs written to memory transposed, behind XLA's barrier.

    Eigen takes less time for factors that lie as it reads them: the step takes 0.96 to 0.98 of the
    time of `handwritten` (two cores of an AMD EPYC of the generation Zen 4). TensorFlow exports no
    public function for the barrier.
    """

    def _across(self, matrix: tf.Tensor) -> tf.Tensor:
        (turned,) = xla_optimization_barrier([tf.transpose(matrix)])
        return turned


def _turn_last(arrays: Arrays) -> Arrays:
    """Weights and biases with the last weight transposed."""
    return [*arrays[:-2], np.transpose(arrays[-2]), arrays[-1]]
