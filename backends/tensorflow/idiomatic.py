"""TensorFlow and Keras: a `Sequential` model, and Keras' Adam brought back to the textbook.

One `train_step` serves all modes but `fit`: run as it stands (`eager`), as a `tf.function`
(`graph`), with XLA (`compiled`), or in a loop inside one XLA program (`multistep`). `fit` is Keras'
own loop, given what a knowledgeable user gives it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
import tensorflow as tf

from backends import contract
from backends.contract import (
    EPSILON_HAT,
    FETCHES_ITSELF,
    PASS_DECAY,
    PASS_RATE,
    TEXTBOOK,
    Adam,
    Array,
    Execution,
    Network,
    NotKeptError,
    Parameters,
    Trainer,
    TrainingSet,
    calls,
    floor_arrays,
)


def versions() -> dict[str, str]:
    """The packages that this backend runs on."""
    return {"tensorflow": tf.__version__, "keras": keras.__version__}


def configure(execution: Execution) -> None:
    """Set threads, memory and precision; TensorFlow refuses this once it has started."""
    tf.config.threading.set_intra_op_parallelism_threads(execution.threads)
    tf.config.threading.set_inter_op_parallelism_threads(execution.threads)
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)
    # TF32 is on by default on GPUs that have it.
    tf.config.experimental.enable_tensor_float_32_execution(execution.precision == "tf32")
    # Of layers, and of what Keras makes besides them: losses, metrics, constants.
    mixed = execution.precision == "bfloat16"
    keras.config.set_dtype_policy("mixed_bfloat16" if mixed else execution.stored)
    keras.config.set_floatx(execution.stored)


@contextmanager
def profiled(folder: Path) -> Iterator[None]:
    """Leave a trace that TensorBoard opens."""
    with tf.profiler.experimental.Profile(str(folder)):
        yield


def product_type(execution: Execution) -> tf.DType:
    """The type of the factors of a matrix product; TF32 has none of its own."""
    return tf.as_dtype("bfloat16" if execution.precision == "bfloat16" else execution.stored)


class TextbookAdam(keras.optimizers.Adam):  # type: ignore[misc]
    """Adam with epsilon added to the corrected root, as its paper has it in Algorithm 1.

    Keras adds it to the uncorrected one ("epsilon hat"), which no constant can make equal.
    """

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable; overrides Keras' own, which `apply` calls for each."""
        step = tf.cast(self.iterations + 1, variable.dtype)
        beta_1 = tf.constant(self.beta_1, variable.dtype)
        beta_2 = tf.constant(self.beta_2, variable.dtype)
        index = self._get_variable_index(variable)
        m, v = self._momentums[index], self._velocities[index]
        m.assign_add((gradient - m) * (1 - self.beta_1))
        v.assign_add((tf.square(gradient) - v) * (1 - self.beta_2))
        # The corrections are gathered in scalars, which saves two passes of divisions over arrays.
        step_size = tf.cast(learning_rate, variable.dtype) / (1 - tf.pow(beta_1, step))
        correction = 1 / (1 - tf.pow(beta_2, step))
        variable.assign_sub(step_size * m / (tf.sqrt(v * correction) + self.epsilon))


def mlp(layer_sizes: tuple[int, ...]) -> keras.Sequential:
    """A dense network: ReLU between its layers, logits out."""
    hidden = [keras.layers.Dense(size, activation="relu") for size in layer_sizes[1:-1]]
    return keras.Sequential(
        [keras.Input(layer_sizes[:1]), *hidden, keras.layers.Dense(layer_sizes[-1])]
    )


def counted_loop(steps: int, step: Callable[[Any, Any], tuple[Any, Any]], carried: Any) -> Any:
    """What is `carried` from step to step, after so many of them.

    XLA knows how many only where nothing else is asked before each: a loop over `tf.range` asks for
    two counters, and a GPU would hand the answer back to the host at every step.
    """
    return tf.while_loop(lambda index, _: index < steps, step, (0, carried))[1]


class Pipeline:
    """Batches that tf.data cuts on the host, while those before them are trained on."""

    def __init__(self, training_set: TrainingSet) -> None:
        with tf.device("cpu:0"):
            self._images = tf.constant(training_set.images)
            self._labels = tf.constant(training_set.labels.astype(np.int64))
            empty = np.zeros((0, 0), np.int32)
            self._rows = tf.Variable(empty, shape=(None, None), trainable=False)
        self._datasets: dict[tuple[int, ...], tf.data.Dataset] = {}

    def batches(self, rows: Array) -> tf.data.Dataset:
        """The images and labels of each line of `rows`, (steps, batch_size)."""
        self._rows.assign(rows)
        # Kept, since tracing one costs some 20 ms.
        if rows.shape not in self._datasets:
            self._datasets[rows.shape] = self._dataset(*rows.shape)
        return self._datasets[rows.shape]

    def _dataset(self, steps: int, batch_size: int) -> tf.data.Dataset:
        def cut(step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            rows = tf.ensure_shape(self._rows[step], (batch_size,))
            return tf.gather(self._images, rows), tf.gather(self._labels, rows)

        options = tf.data.Options()
        # The autotuner's thread can hold up the end of a short pipeline until it next wakes:
        # 200 steps took 630 ms instead of 360 in every second call.
        options.autotune.enabled = False
        return tf.data.Dataset.range(steps).map(cut).prefetch(2).with_options(options)


class Eager(Trainer):
    """Operation by operation."""

    compiler = "none"
    _programs: tuple[Any, ...] = ()

    def __init__(
        self,
        network: Network,
        adam: Adam,
        execution: Execution,
        training_set: TrainingSet,
        parameters: Parameters,
    ) -> None:
        self._adam = adam
        self._execution = execution
        self._resident = execution.input == "resident"
        if self._resident:
            self._images = tf.constant(training_set.images)
            # TensorFlow keeps int32 in host memory; int64 can lie on a GPU.
            self._labels = tf.constant(training_set.labels.astype(np.int64))
        else:
            self._pipeline = Pipeline(training_set)
        self._model = mlp(network.layer_sizes)
        self._loss_function = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        adam_type = TextbookAdam if adam.form == TEXTBOOK else keras.optimizers.Adam
        self._optimizer = adam_type(adam.learning_rate, adam.beta_1, adam.beta_2, adam.epsilon)
        self._optimizer.build(self._model.trainable_variables)
        self._forward = tf.function(self._model)
        self._build()
        self.reset(parameters)

    def _build(self) -> None:
        """Make the functions that the mode compiles; there are none here."""

    def reset(self, parameters: Parameters) -> None:
        self._model.set_weights([array for layer in parameters for array in layer])
        optimizer = self._optimizer
        for variable in (optimizer.iterations, *optimizer._momentums, *optimizer._velocities):
            variable.assign(tf.zeros_like(variable))

    def _batch_loss(self, images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        return self._loss_function(labels, self._model(images, training=True))

    def _step(self, images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = self._batch_loss(images, labels)
        variables = self._model.trainable_variables
        self._optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    def _gather(self, rows: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """The images and labels of one batch, where the training set is resident."""
        return tf.gather(self._images, rows), tf.gather(self._labels, rows)

    def _batches(self, rows: Array) -> Iterable[tuple[tf.Tensor, tf.Tensor]]:
        return map(self._gather, rows) if self._resident else self._pipeline.batches(rows)

    def train(self, rows: Array) -> None:
        for images, labels in self._batches(rows):
            self._loss = self._step(images, labels)

    def fetch(self, rows: Array) -> None:
        if not self._resident:
            raise NotKeptError("tf.data fetches batches while others are trained on")
        for _ in self._batches(rows):
            pass

    def synchronise(self) -> None:
        tf.test.experimental.sync_devices()

    def losses(self) -> Array:
        return np.ravel(self._loss)

    @staticmethod
    def _as_layers(flat: list[Array]) -> Parameters:
        return list(zip(flat[::2], flat[1::2], strict=True))

    def parameters(self) -> Parameters:
        return self._as_layers(self._model.get_weights())

    def first_moments(self) -> Parameters:
        return self._as_layers([moment.numpy() for moment in self._optimizer._momentums])

    def logits(self, images: Array) -> Array:
        return tf.cast(self._forward(images), images.dtype).numpy()

    def product(self, a: Array, b: Array) -> Array:
        first, second = (tf.cast(array, product_type(self._execution)) for array in (a, b))
        return tf.cast(tf.matmul(first, second), a.dtype).numpy()

    def weight_address(self) -> int | None:
        weight = self._model.trainable_variables[0].value.read_value()
        if _device_of(weight) == "gpu":
            return None
        return int(np.asarray(memoryview(weight)).ctypes.data)

    def peak_device_bytes(self) -> int | None:
        if _device_of(self._model.trainable_variables[0].value) == "cpu":
            return None
        return int(tf.config.experimental.get_memory_info("GPU:0")["peak"])

    def compilations(self) -> int:
        return sum(program.experimental_get_tracing_count() for program in self._programs)

    def describe(self) -> dict[str, str]:
        weight = self._model.trainable_variables[0].value
        result = self._forward(tf.zeros((1, weight.shape[0]), weight.dtype))
        device = _device_of(result)
        return {
            "device": device,
            "device_name": _gpu_name() if device == "gpu" else "cpu",
            "precision": weight.dtype.name,
            "threads": str(tf.config.threading.get_intra_op_parallelism_threads()),
            "compiler": self.compiler,
            "steps_per_call": str(self.steps_per_call),
            "input": f"gathered from memory of the {_device_of(self._images)}"
            if self._resident
            else "cut by tf.data on the host, prefetched",
            "optimizer": "keras.optimizers.Adam"
            if self._adam.form == EPSILON_HAT
            else "keras.optimizers.Adam with the textbook's update",
            "epsilon": f"{self._optimizer.epsilon:g} ({self._adam.form})",
        }

    @property
    def steps_per_call(self) -> int:
        """Steps in one call of the framework."""
        return 1


def _device_of(tensor: tf.Tensor) -> str:
    return "gpu" if "GPU" in tensor.device else "cpu"


def _gpu_name() -> str:
    details = tf.config.experimental.get_device_details(tf.config.list_physical_devices("GPU")[0])
    return str(details.get("device_name", "gpu"))


class Graph(Eager):
    """One step as a TensorFlow graph."""

    compiler = "tf.function"
    use_xla = False

    def _build(self) -> None:
        def step_on_rows(rows: tf.Tensor) -> tf.Tensor:
            return self._step(*self._gather(rows))

        step = step_on_rows if self._resident else self._step
        self._train_step = tf.function(step, jit_compile=self.use_xla)
        self._programs = (self._train_step,)

    def train(self, rows: Array) -> None:
        if self._resident:
            # All rows handed over at once: 4% less than a tensor made for each step.
            for batch in tf.unstack(tf.constant(rows)):
                self._loss = self._train_step(batch)
        else:
            for images, labels in self._batches(rows):
                self._loss = self._train_step(images, labels)

    def fetch(self, rows: Array) -> None:
        if self._resident:
            raise NotKeptError(FETCHES_ITSELF)
        super().fetch(rows)


class Compiled(Graph):
    """One step as one XLA program."""

    compiler = "tf.function with XLA: whole step"
    use_xla = True


class MultiStep(Eager):
    """Many steps as one XLA program, with the loop inside it."""

    compiler = "tf.function with XLA: loop over steps"

    def _build(self) -> None:
        @tf.function(jit_compile=True)  # type: ignore[untyped-decorator]
        def train_steps(rows: tf.Tensor) -> tf.Tensor:
            def step(index: tf.Tensor, losses: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
                return index + 1, losses.write(index, self._step(*self._gather(rows[index])))

            steps = rows.shape[0]
            losses = tf.TensorArray(self._images.dtype, steps)
            return counted_loop(steps, step, losses).stack()

        self._train_steps = train_steps
        self._programs = (train_steps,)

    @property
    def steps_per_call(self) -> int:
        return self._execution.steps_per_call

    def train(self, rows: Array) -> None:
        for part in calls(rows, self.steps_per_call):
            self._loss = self._train_steps(tf.constant(part))

    def fetch(self, rows: Array) -> None:
        raise NotKeptError(FETCHES_ITSELF)


class Fit(Eager):
    """`Model.fit` with XLA, several steps an execution, and a prefetching tf.data pipeline."""

    compiler = "Model.fit with XLA"

    def _build(self) -> None:
        self._model.compile(
            optimizer=self._optimizer,
            loss=self._loss_function,
            jit_compile=True,
            steps_per_execution=self._execution.steps_per_call,
        )
        self._traces = 0
        train_step = self._model.train_step

        def traced_step(batch: Any) -> Any:
            self._traces += 1  # Python runs while Keras traces, and at no other time.
            return train_step(batch)

        self._model.train_step = traced_step

    @property
    def steps_per_call(self) -> int:
        return self._execution.steps_per_call

    def train(self, rows: Array) -> None:
        history = self._model.fit(self._pipeline.batches(rows), shuffle=False, verbose=0)
        self._loss = history.history["loss"][-1]
        self._trained = len(rows)

    def losses(self) -> Array:
        if self._trained > 1:
            raise NotKeptError("Keras' fit keeps the mean over its steps")
        return super().losses()

    def compilations(self) -> int:
        return self._traces


TRAINERS: dict[str, type[Trainer]] = {
    "eager": Eager,
    "graph": Graph,
    "compiled": Compiled,
    "multistep": MultiStep,
    "fit": Fit,
}


class Floor(contract.Floor):
    """Many steps in one XLA program, on variables that it updates in place."""

    def __init__(self, network: Network, batch_size: int, execution: Execution) -> None:
        self._steps_per_call = execution.steps_per_call
        images, *state = floor_arrays(network, batch_size, execution.stored)
        self._images = tf.cast(images, product_type(execution))
        self._variables = [[tf.Variable(array) for array in arrays] for arrays in state]
        self._train_steps = tf.function(self._steps, jit_compile=True)

    def _steps(self, steps: int) -> None:
        def step(index: tf.Tensor, nothing: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            self._step()
            return index + 1, nothing

        counted_loop(steps, step, tf.constant(0))

    def _step(self) -> None:
        variables, first_moments, second_moments = self._variables
        weights = [tf.cast(variable, self._images.dtype) for variable in variables]
        outputs = [self._images]
        for weight in weights:
            outputs.append(outputs[-1] @ weight)
        delta = outputs.pop()
        gradients: list[tf.Tensor] = []
        for weight, inputs in zip(reversed(weights), reversed(outputs), strict=True):
            gradients.insert(0, tf.matmul(inputs, delta, transpose_a=True))
            if len(gradients) < len(weights):
                delta = tf.matmul(delta, weight, transpose_b=True)
        for w, m, v, g in zip(variables, first_moments, second_moments, gradients, strict=True):
            for moment in (m, v):
                moment.assign((moment + tf.cast(g, moment.dtype)) * PASS_DECAY)
            w.assign_sub(PASS_RATE * m)

    def train(self, rows: Array) -> None:
        for part in calls(rows, self._steps_per_call):
            self._train_steps(len(part))

    def synchronise(self) -> None:
        tf.test.experimental.sync_devices()

    def square(self, size: int) -> tf.Tensor:
        return tf.ones((size, size), self._images.dtype)

    def multiply(self, matrix: tf.Tensor) -> None:
        tf.matmul(matrix, matrix)

    def arrays(self) -> list[list[Array]]:
        return [[variable.numpy() for variable in variables] for variables in self._variables]

    def device(self) -> str:
        return _device_of(self._variables[0][0])
