"""Compare the suite's step times with those of bare, hand-written loops.

A launch is a process that holds a worker, as `run_all.py` times it, and a loop written for this
file with nothing around it; their blocks alternate. Both are in one process because two processes
of the same program differ by several percent. The result is the ratio of the worker's time to the
loop's, within rounds, with its 95% interval over launches.
"""

import itertools
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from backends.contract import Adam, Array, Execution, Network
from backends.registry import BACKENDS, load
from benchmarks.analysis import statistics
from benchmarks.machine.settings import (
    ROOT,
    affinity,
    available_cpus,
    best_cpus,
    default_threads,
    worker_environment,
)
from benchmarks.plan import data
from benchmarks.plan.blocks import BlockLength
from benchmarks.plan.workload import Workload, batch_rows
from benchmarks.worker.clock import timed
from benchmarks.worker.messages import Job
from benchmarks.worker.worker import Worker

Loop = Callable[[Array], object]
"""Trains on the batches in the lines of its argument, (steps, batch_size), and waits until done."""

BATCH_SIZE, BLOCK_STEPS, STEPS_PER_CALL = 128, 200, 50
BLOCK = BlockLength(lead_in=50, timed=200)
LAUNCHES, ROUNDS = 4, 8
SIZES = (784, 512, 512, 10)


def calls(rows: Array, many: bool) -> Array:
    """The batches of each call: one, or STEPS_PER_CALL."""
    return rows.reshape(-1, STEPS_PER_CALL, BATCH_SIZE) if many else rows


def initial_arrays() -> list[Array]:
    """Initial weights (inputs, outputs) and biases (outputs,) in turns, from the first layer on."""
    draw = np.random.default_rng(0).normal
    layers = [(draw(0, m**-0.5, (m, n)), np.zeros(n)) for m, n in pairwise(SIZES)]
    return [array.astype("float32") for layer in layers for array in layer]


def default_workload(training: data.Split, steps: int) -> Workload:
    """The default workload, for `steps` steps."""
    return Workload(
        network=Network(layer_sizes=SIZES),
        adam=Adam(),
        batch_size=BATCH_SIZE,
        steps=steps,
        training_images=len(training.labels),
        data_dir=str(data.EMBEDDED),
    )


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


def jax(images: Array, labels: Array, many: bool) -> Loop:
    """One jitted step a call with Optax's Adam, or a scan over many."""
    import jax
    import jax.numpy as jnp
    import optax

    x, y = jax.device_put(images), jax.device_put(labels)
    parameters = [jnp.array(array) for array in initial_arrays()]
    optimizer = optax.adam(0.001)
    state = parameters, optimizer.init(parameters)

    def loss_of(parameters: Any, inputs: Any, targets: Any) -> Any:
        for weight, bias in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
            inputs = jax.nn.relu(inputs @ weight + bias)
        logits = inputs @ parameters[-2] + parameters[-1]
        return optax.softmax_cross_entropy_with_integer_labels(logits, targets).mean()

    def step(state: Any, batch: Any) -> Any:
        parameters, moments = state
        loss, gradients = jax.value_and_grad(loss_of)(parameters, x[batch], y[batch])
        updates, moments = optimizer.update(gradients, moments)
        return (optax.apply_updates(parameters, updates), moments), loss

    program = jax.jit(partial(jax.lax.scan, step) if many else step, donate_argnums=0)

    def loop(rows: Array) -> None:
        nonlocal state
        for batch in calls(rows, many):
            state, _ = program(state, batch)
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
        for variable, m, v, gradient in zip(variables, first, second, gradients, strict=True):
            m.assign(0.9 * m + 0.1 * gradient)
            v.assign(0.999 * v + 0.001 * tf.square(gradient))
            corrected = v / (1 - tf.pow(0.999, count))
            step_size = 0.001 / (1 - tf.pow(0.9, count))
            variable.assign_sub(step_size * m / (tf.sqrt(corrected) + 1e-8))
        return loss

    def steps(rows: Any) -> Any:
        loss = tf.zeros(())
        for index in tf.range(tf.shape(rows)[0]):
            loss = step(rows[index])
        return loss

    program = tf.function(steps if many else step, jit_compile=True)

    def loop(rows: Array) -> None:
        for batch in calls(rows, many):
            program(tf.constant(batch))

    return loop


def tensorflow_fit(images: Array, labels: Array) -> Loop:
    """Keras' own training loop."""
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

    def loop(rows: Array) -> None:
        # The first block serves for all, since making a pipeline takes longer than some steps.
        if not pipelines:
            batches = tf.data.Dataset.from_tensor_slices(rows)
            batches = batches.map(lambda batch: (tf.gather(x, batch), tf.gather(y, batch)))
            pipelines.append(batches.prefetch(tf.data.AUTOTUNE))
        model.fit(pipelines[0], verbose=0)

    return loop


LOOPS: dict[tuple[str, str], Callable[[Array, Array], Loop]] = {
    ("pytorch", "eager"): partial(pytorch, compiled=False),
    ("pytorch", "compiled"): partial(pytorch, compiled=True),
    ("pytorch", "multistep"): pytorch_multistep,
    ("jax", "compiled"): partial(jax, many=False),
    ("jax", "multistep"): partial(jax, many=True),
    ("tensorflow", "compiled"): partial(tensorflow, many=False),
    ("tensorflow", "multistep"): partial(tensorflow, many=True),
    ("tensorflow", "fit"): tensorflow_fit,
}


def time_in_turn(backend: str, mode: str, launch: int) -> None:
    """Time blocks of the worker and of the bare loop in turn; print the rounds' ratios as JSON."""
    split = data.load().training
    training = split.stored_as("float32")
    execution = Execution(
        mode=mode,
        input=BACKENDS[backend].modes[mode].inputs[0],
        threads=available_cpus(),
        steps_per_call=STEPS_PER_CALL,
    )
    job = Job(
        backend=BACKENDS[backend],
        execution=execution,
        workload=default_workload(split, steps=BLOCK_STEPS * ROUNDS),
        seed=launch,
        block=BLOCK,
        calibrate=False,
    )
    rows = batch_rows(len(training.labels), BATCH_SIZE, BLOCK_STEPS * ROUNDS, seed=launch)
    blocks = itertools.cycle(np.split(rows, ROUNDS))

    def make_loop() -> Loop:
        loop = LOOPS[backend, mode](training.images, training.labels)
        loop(next(blocks))
        return loop

    load(BACKENDS[backend]).configure(execution)
    # Where memory lies depends on what was there before, so each comes first in every other launch.
    early_loop = make_loop() if launch % 2 else None
    worker = Worker(job)
    worker.first_call()
    loop = early_loop or make_loop()
    worker.warm_up()
    for _ in range(2):
        loop(next(blocks))

    def time_loop() -> float:
        return timed(lambda: loop(next(blocks)))[1]

    ratios = []
    for number in range(ROUNDS):
        if number % 2:
            suite, bare = worker.train(BLOCK).seconds, time_loop()
        else:
            bare, suite = time_loop(), worker.train(BLOCK).seconds
        ratios.append(suite / bare)
    print(json.dumps(ratios))


def compare(backend: str, mode: str) -> statistics.Estimate:
    """The ratio of the suite's step time to the bare loop's."""
    logs: dict[int, pd.Series] = {}
    threads = default_threads()
    for launch in range(LAUNCHES):
        with tempfile.TemporaryDirectory() as scratch, affinity(best_cpus(threads)):
            done = subprocess.run(
                [sys.executable, "-m", __name__, backend, mode, str(launch)],
                cwd=ROOT, env=worker_environment("cpu", threads, Path(scratch)),
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True,
            )  # fmt: skip
        logs[launch] = pd.Series(np.log(json.loads(done.stdout.splitlines()[-1])))
    return statistics.interval_of_logs(pd.concat(logs, names=["launch", "round"]))


def compare_all() -> Iterator[pd.DataFrame]:
    """Yield, after each case that has a loop here, the ratios of all cases so far."""
    rows: list[dict[str, object]] = []
    for backend, mode in LOOPS:
        ratio = compare(backend, mode)
        rows.append({"case": f"{backend} {mode}", **statistics.with_interval("ratio", ratio)})
        print(pd.DataFrame(rows[-1:]).round(3).to_string(index=False, header=False), flush=True)
        yield pd.DataFrame(rows)


if __name__ == "__main__":
    time_in_turn(sys.argv[1], sys.argv[2], int(sys.argv[3]))
