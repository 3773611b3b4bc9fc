"""The idiomatic tier: one step as Keras' guides write it, in three ways, and Keras' own loop."""

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from backends import contract
from backends.contract import Array, Execution, Parameters, Program, Trainer, Training
from backends.tensorflow.model import Pipeline, TextbookAdam, device_of, mlp


class Eager(Trainer):
    """Operation by operation."""

    compiler = "none"
    steps_per_call = 1

    def __init__(self, training: Training, execution: Execution) -> None:
        adam, training_set = training.adam, training.training_set
        self._adam = adam
        self._execution = execution
        self._resident = execution.input == "resident"
        if self._resident:
            self._images = tf.constant(training_set.images)
            # TensorFlow keeps int32 in host memory; int64 can lie on a GPU.
            self._labels = tf.constant(training_set.labels.astype(np.int64))
        else:
            self._pipeline = Pipeline(training_set)
        self._model = mlp(training.network.layer_sizes)
        self._loss_function = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        adam_type = TextbookAdam if adam.form == contract.TEXTBOOK else keras.optimizers.Adam
        self._optimizer = adam_type(adam.learning_rate, adam.beta_1, adam.beta_2, adam.epsilon)
        self._optimizer.build(self._model.trainable_variables)
        self._forward = tf.function(self._model)
        self._build()
        self.reset(training.start)

    def _build(self) -> None:
        """Make the program that trains on a batch; nothing is compiled here."""
        self._program: Any = self._step

    def reset(self, parameters: Parameters) -> None:
        self._model.set_weights([array for layer in parameters for array in layer])
        optimizer = self._optimizer
        for variable in (optimizer.iterations, *optimizer._momentums, *optimizer._velocities):
            variable.assign(tf.zeros_like(variable))

    def train(self, rows: Array) -> None:
        self._train_on(self._batches(rows))

    def _train_on(self, batches: Iterable[tuple[tf.Tensor, tf.Tensor]]) -> None:
        for images, labels in batches:
            self._loss = self._program(images, labels)

    def train_parts(self, parts: Sequence[Array], mark: Callable[[], None]) -> None:
        if self._resident:
            super().train_parts(parts, mark)
            return
        # One pipeline for all parts: starting one takes as long as some steps.
        batches = iter(self._batches(np.concatenate(parts)))
        for rows in parts:
            self._train_on(islice(batches, len(rows)))
            mark()
            self.synchronise()
            mark()

    def _batches(self, rows: Array) -> Iterable[tuple[tf.Tensor, tf.Tensor]]:
        return map(self._gather, rows) if self._resident else self._pipeline.batches(rows)

    def _gather(self, rows: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """The images and labels of one batch, where the training set is resident."""
        return tf.gather(self._images, rows), tf.gather(self._labels, rows)

    def _step(self, images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = self._batch_loss(images, labels)
        variables = self._model.trainable_variables
        self._optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    def _batch_loss(self, images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        return self._loss_function(labels, self._model(images, training=True))

    def fetch(self, rows: Array) -> None:
        if not self._resident:
            raise contract.NotKeptError("tf.data fetches batches while others are trained on")
        for _ in self._batches(rows):
            pass

    def synchronise(self) -> None:
        tf.test.experimental.sync_devices()

    # Read by certificate and ledger; never timed.

    def losses(self) -> Array:
        return np.ravel(self._loss)

    def parameters(self) -> Parameters:
        return self._as_layers(self._model.get_weights())

    def first_moments(self) -> Parameters:
        return self._as_layers([moment.numpy() for moment in self._optimizer._momentums])

    @staticmethod
    def _as_layers(flat: list[Array]) -> Parameters:
        return list(zip(flat[::2], flat[1::2], strict=True))

    def logits(self, images: Array) -> Array:
        return tf.cast(self._forward(images), images.dtype).numpy()

    def product(self, a: Array, b: Array) -> Array:
        first, second = (tf.cast(array, self._execution.product_type) for array in (a, b))
        return tf.cast(tf.matmul(first, second), a.dtype).numpy()

    def weight_address(self) -> int | None:
        weight = self._model.trainable_variables[0].value.read_value()
        return None if device_of(weight) == "gpu" else np.asarray(memoryview(weight)).ctypes.data

    def peak_device_bytes(self) -> int | None:
        on_gpu = device_of(self._model.trainable_variables[0].value) == "gpu"
        return tf.config.experimental.get_memory_info("GPU:0")["peak"] if on_gpu else None

    def describe(self) -> contract.Description:
        weight = self._model.trainable_variables[0].value
        result = self._forward(tf.zeros((1, weight.shape[0]), weight.dtype))
        device = name = device_of(result)
        if device == "gpu":
            gpu = tf.config.list_physical_devices("GPU")[0]
            name = tf.config.experimental.get_device_details(gpu).get("device_name", "gpu")
        update = " with the textbook's update" if self._adam.form == contract.TEXTBOOK else ""
        return contract.Description(
            device=device,
            device_name=str(name),
            precision=weight.dtype.name,
            threads=tf.config.threading.get_intra_op_parallelism_threads(),
            compiler=self.compiler,
            steps_per_call=self.steps_per_call,
            input=f"gathered from memory of the {device_of(self._images)}"
            if self._resident
            else "cut by tf.data on the host, prefetched",
            optimizer="keras.optimizers.Adam" + update,
            epsilon=self._optimizer.epsilon,
            adam_form=self._adam.form,
        )


class Graph(Eager):
    """One step as a TensorFlow graph."""

    compiler = "tf.function"
    use_xla = False

    def _build(self) -> None:
        def step_on_rows(rows: tf.Tensor) -> tf.Tensor:
            return self._step(*self._gather(rows))

        step = step_on_rows if self._resident else self._step
        self._program = tf.function(step, jit_compile=self.use_xla)

    def train(self, rows: Array) -> None:
        if self._resident:
            # All rows handed over at once: 4% less than a tensor made for each step.
            for batch in tf.unstack(tf.constant(rows)):
                self._loss = self._program(batch)
        else:
            super().train(rows)

    def fetch(self, rows: Array) -> None:
        if self._resident:
            raise contract.NotKeptError(contract.FETCHES_ITSELF)
        super().fetch(rows)

    # Read by certificate and ledger; never timed.

    def compilations(self) -> int:
        return self._program.experimental_get_tracing_count()

    def program(self, rows: Array) -> Program:
        if self._resident:
            return Program(self._program, (tf.constant(rows),))
        return Program(self._program, next(iter(self._batches(rows[None]))))


class Compiled(Graph):
    """One step as one XLA program."""

    compiler = "tf.function with XLA: whole step"
    use_xla = True


class Fit(Eager):
    """`Model.fit` with XLA, several steps an execution, and a prefetching tf.data pipeline."""

    compiler = "Model.fit with XLA"

    def _build(self) -> None:
        steps = self.steps_per_call = self._execution.steps_per_call
        self._model.compile(
            self._optimizer, self._loss_function, jit_compile=True, steps_per_execution=steps
        )
        self._traces = 0
        train_step = self._model.train_step

        def traced_step(batch: Any) -> Any:
            self._traces += 1  # Python runs while Keras traces, and at no other time.
            return train_step(batch)

        self._model.train_step = traced_step

    def train(self, rows: Array) -> None:
        self._fit(rows)

    def train_parts(self, parts: Sequence[Array], mark: Callable[[], None]) -> None:
        ends = np.cumsum([len(rows) for rows in parts]).tolist()
        if any(end % self.steps_per_call for end in ends[:-1]):
            # Within an execution nothing can be marked.
            Trainer.train_parts(self, parts, mark)
            return

        def finished(step: int, **_: Any) -> None:
            # The last execution may have fewer steps than it is called for.
            if step + 1 in ends[:-1] or step + 1 >= ends[-1]:
                mark()
                self.synchronise()
                mark()

        self._fit(
            np.concatenate(parts), keras.callbacks.LambdaCallback(on_train_batch_end=finished)
        )

    def _fit(self, rows: Array, *callbacks: keras.callbacks.Callback) -> None:
        batches = self._pipeline.batches(rows)
        history = self._model.fit(batches, shuffle=False, verbose=0, callbacks=[*callbacks])
        self._loss = history.history["loss"][-1]
        self._trained = len(rows)

    # Read by certificate and ledger; never timed.

    def losses(self) -> Array:
        if self._trained > 1:
            raise contract.NotKeptError("Keras' fit keeps the mean over its steps")
        return super().losses()

    def compilations(self) -> int:
        return self._traces
