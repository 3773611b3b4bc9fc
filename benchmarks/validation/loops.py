"""Bare loops: the default cases once more, each as a program of its own with nothing around it."""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from time import perf_counter
from typing import Any

import numpy as np

from backends.contract import Adam, Array, Network
from benchmarks.machine.settings import available_cpus
from benchmarks.plan.blocks import LEAD_IN_STEPS, STEPS_PER_CALL, BlockLength
from benchmarks.plan.data import EMBEDDED, Split
from benchmarks.plan.workload import Workload

Loop = Callable[[Array], object]
"""Trains on the batches in the lines of its argument, (steps, batch_size), and waits until done."""

TimedLoop = Callable[[Array], float]
"""Trains on as many batches as a block has; returns the seconds of those after its lead-in."""

BATCH_SIZE = 128
SHORT_STEPS = 20
"""Timed steps of a short block where a call trains one step: fewer than in any run, so that every
leak weighs more."""
SIZES = (784, 512, 512, 10)


def default_workload(training: Split, steps: int) -> Workload:
    """The default workload, for `steps` steps."""
    return Workload(
        network=Network(layer_sizes=SIZES),
        adam=Adam(),
        batch_size=BATCH_SIZE,
        steps=steps,
        training_images=len(training.labels),
        data_dir=str(EMBEDDED),
    )


def decision(low: float, high: float, bound: float) -> str:
    """Whether an interval lies within `bound` of zero, or beyond it; "open" if neither is shown."""
    if max(-low, high) <= bound:
        return "within"
    return "beyond" if low > bound or high < -bound else "open"


def short_block(many_steps: bool) -> BlockLength:
    """A short block: what follows one another within a second is best compared.

    As in a run, it consists of whole calls, since a call of another length is another program.
    """
    if many_steps:
        return BlockLength(lead_in=STEPS_PER_CALL, timed=STEPS_PER_CALL)
    return BlockLength(lead_in=LEAD_IN_STEPS["cpu"], timed=SHORT_STEPS)


def calls(rows: Array, many: bool) -> Array:
    """The batches of each call: one, or STEPS_PER_CALL."""
    return rows.reshape(-1, STEPS_PER_CALL, BATCH_SIZE) if many else rows


def initial_arrays() -> list[Array]:
    """Initial weights (inputs, outputs) and biases (outputs,) in turns, from the first layer on."""
    draw = np.random.default_rng(0).normal
    layers = [(draw(0, m**-0.5, (m, n)), np.zeros(n)) for m, n in pairwise(SIZES)]
    return [array.astype("float32") for layer in layers for array in layer]


def pytorch(images: Array, labels: Array, compiled: bool) -> Loop:
    """A loop as in PyTorch's tutorials; compiled, with a fused optimizer too."""
    import torch
    from torch import nn

    torch.set_num_threads(available_cpus())
    x, y = torch.from_numpy(images), torch.from_numpy(labels).long()
    model = nn.Sequential(
        nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001, fused=compiled or None)

    def compute_loss(inputs: Any, targets: Any) -> Any:
        return nn.functional.cross_entropy(model(inputs), targets)

    program = torch.compile(compute_loss) if compiled else compute_loss

    def loop(rows: Array) -> None:
        for batch in torch.from_numpy(rows):
            optimizer.zero_grad()
            program(x[batch], y[batch]).backward()
            optimizer.step()

    return loop


def pytorch_multistep(images: Array, labels: Array) -> Loop:
    """Tensor operations by hand: no autograd, no modules, no optimizer object."""
    import torch

    torch.set_num_threads(available_cpus())
    torch.set_flush_denormal(True)
    x, y = torch.from_numpy(images), torch.from_numpy(labels).long()
    parameters = [torch.from_numpy(array) for array in initial_arrays()]
    gradients, first, second = ([torch.zeros_like(p) for p in parameters] for _ in range(3))
    counts = [torch.zeros(()) for _ in parameters]

    @torch.no_grad()
    def step(batch: Any) -> None:
        inputs = [x[batch]]
        for weight, bias in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
            inputs.append(torch.addmm(bias, inputs[-1], weight).relu_())
        delta = torch.softmax(torch.addmm(parameters[-1], inputs[-1], parameters[-2]), dim=1)
        delta[torch.arange(len(batch)), y[batch]] -= 1
        delta /= len(batch)
        for layer in reversed(range(len(inputs))):
            torch.mm(inputs[layer].T, delta, out=gradients[2 * layer])
            torch.sum(delta, 0, out=gradients[2 * layer + 1])
            if layer:
                delta = (delta @ parameters[2 * layer].T) * (inputs[layer] > 0)
        torch._foreach_add_(counts, 1)
        torch._fused_adam_(
            parameters, gradients, first, second, [], counts, lr=0.001, beta1=0.9, beta2=0.999,
            weight_decay=0.0, eps=1e-8, amsgrad=False, maximize=False,
        )  # fmt: skip

    def loop(rows: Array) -> None:
        for batch in torch.from_numpy(rows):
            step(batch)

    return loop


def jax_tutorial(images: Array, labels: Array) -> Loop:
    """A loop as in Flax's tutorial, with batches cut by NumPy."""
    import jax
    import optax
    from flax import nnx

    class Network(nnx.Module):
        def __init__(self) -> None:
            self.first = nnx.Linear(784, 512, rngs=nnx.Rngs(0))
            self.second = nnx.Linear(512, 512, rngs=nnx.Rngs(1))
            self.last = nnx.Linear(512, 10, rngs=nnx.Rngs(2))

        def __call__(self, x: Any) -> Any:
            return self.last(nnx.relu(self.second(nnx.relu(self.first(x)))))

    model = Network()
    optimizer = nnx.Optimizer(model, optax.adam(0.001), wrt=nnx.Param)
    metrics = nnx.MultiMetric(accuracy=nnx.metrics.Accuracy(), loss=nnx.metrics.Average("loss"))

    def loss_of(model: Any, batch: Any) -> Any:
        logits = model(batch["image"])
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"])
        return losses.mean(), logits

    @nnx.jit
    def train_step(model: Any, optimizer: Any, metrics: Any, batch: Any) -> None:
        gradient_of = nnx.value_and_grad(loss_of, has_aux=True)
        (loss, logits), gradients = gradient_of(model, batch)
        metrics.update(loss=loss, logits=logits, labels=batch["label"])
        optimizer.update(model, gradients)

    def loop(rows: Array) -> None:
        for batch in rows:
            data = {"image": images[batch], "label": labels[batch]}
            train_step(model, optimizer, metrics, data)
        jax.block_until_ready(nnx.state(model))

    return loop


def jax(images: Array, labels: Array, many: bool) -> Loop:
    """One jitted step a call with Optax's Adam, or a scan over many written out by hand."""
    import jax
    import jax.numpy as jnp
    import optax

    x, y = jax.device_put(images), jax.device_put(labels)
    parameters = [jnp.array(array) for array in initial_arrays()]
    optimizer = optax.adam(0.001)
    state: Any = parameters, optimizer.init(parameters)

    def loss_of(parameters: Any, inputs: Any, targets: Any) -> Any:
        for weight, bias in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
            inputs = jax.nn.relu(inputs @ weight + bias)
        logits = inputs @ parameters[-2] + parameters[-1]
        return optax.softmax_cross_entropy_with_integer_labels(logits, targets).mean()

    # The images are arguments, for as constants they would be copied into the program.
    def one(state: Any, x: Any, y: Any, batch: Any) -> Any:
        parameters, moments = state
        loss, gradients = jax.value_and_grad(loss_of)(parameters, x[batch], y[batch])
        updates, moments = optimizer.update(gradients, moments)
        return (optax.apply_updates(parameters, updates), moments), loss

    def by_hand(state: Any, inputs: Any, targets: Any) -> Any:
        (w1, b1, w2, b2, w3, b3), first, second, count = state
        h1 = jnp.maximum(inputs @ w1 + b1, 0)
        h2 = jnp.maximum(h1 @ w2 + b2, 0)
        logs = jax.nn.log_softmax(h2 @ w3 + b3)
        truth = jax.nn.one_hot(targets, 10)
        d3 = (jnp.exp(logs) - truth) / BATCH_SIZE
        d2 = (d3 @ w3.T) * (h2 > 0)
        d1 = (d2 @ w2.T) * (h1 > 0)
        g3 = jax.lax.optimization_barrier(jax.lax.optimization_barrier(d3.T) @ h2).T
        gradients = [inputs.T @ d1, d1.sum(0), h1.T @ d2, d2.sum(0), g3, d3.sum(0)]
        count = count + 1
        first = [0.9 * m + 0.1 * g for m, g in zip(first, gradients, strict=True)]
        second = [0.999 * v + 0.001 * g * g for v, g in zip(second, gradients, strict=True)]
        rate, scale = 0.001 / (1 - 0.9**count), (1 - 0.999**count) ** -0.5
        moved = zip(state[0], first, second, strict=True)
        parameters = [p - rate * m / (jnp.sqrt(v) * scale + 1e-8) for p, m, v in moved]
        return (parameters, first, second, count), -(logs * truth).sum() / BATCH_SIZE

    def scan(state: Any, x: Any, y: Any, rows: Any) -> Any:
        return jax.lax.scan(lambda state, batch: by_hand(state, x[batch], y[batch]), state, rows)

    if many:
        zeros = [[jnp.zeros_like(array) for array in parameters] for _ in range(2)]
        state = parameters, *zeros, jnp.zeros((), jnp.int32)
    program = jax.jit(scan if many else one, donate_argnums=0)

    def loop(rows: Array) -> None:
        nonlocal state
        for batch in calls(rows, many):
            state, _ = program(state, x, y, batch)
        jax.block_until_ready(state)

    return loop


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


def tensorflow_fit(images: Array, labels: Array) -> TimedLoop:
    """Keras' own training loop, timed by a callback."""
    import keras
    import tensorflow as tf

    x, y = tf.constant(images), tf.constant(labels)
    hidden = [keras.layers.Dense(512, activation="relu") for _ in range(2)]
    model = keras.Sequential([keras.Input((784,)), *hidden, keras.layers.Dense(10)])
    model.compile(
        optimizer=keras.optimizers.Adam(0.001),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=True,
        steps_per_execution=STEPS_PER_CALL,
    )
    pipelines: list[Any] = []

    def train(rows: Array) -> float:
        # The first block serves for all, since making a pipeline takes longer than some steps.
        if not pipelines:
            options = tf.data.Options()
            options.autotune.enabled = False
            batches = tf.data.Dataset.from_tensor_slices(rows)
            batches = batches.map(lambda batch: (tf.gather(x, batch), tf.gather(y, batch)))
            pipelines.append(batches.prefetch(2).with_options(options))
        ends: dict[int, float] = {}

        def note(step: int, **_: Any) -> None:
            ends[step + 1] = perf_counter()

        callback = keras.callbacks.LambdaCallback(on_train_batch_end=note)
        model.fit(pipelines[0], verbose=0, callbacks=[callback])
        return ends[len(rows)] - ends[STEPS_PER_CALL]

    return train


LOOPS: dict[tuple[str, str], Callable[[Array, Array], Any]] = {
    ("pytorch", "eager"): partial(pytorch, compiled=False),
    ("pytorch", "compiled"): partial(pytorch, compiled=True),
    ("pytorch", "onednn"): pytorch_multistep,
    ("jax", "nnx"): jax_tutorial,
    ("jax", "compiled"): partial(jax, many=False),
    ("jax", "handwritten"): partial(jax, many=True),
    ("tensorflow", "compiled"): partial(tensorflow, many=False),
    ("tensorflow", "xla-loop"): partial(tensorflow, many=True),
    ("tensorflow", "keras-fit-xla"): tensorflow_fit,
}
