"""Does the suite report what a bare, hand-written loop takes? Run by hand on a quiet machine:

    python -m tests.bare_loops

It takes a quarter of an hour and writes results/validation/bare-loops.csv. A launch is a process
that holds a worker, as `run_all.py` times it, and a loop written for this file with nothing around
it; blocks of the two take turns. In one process, since two processes of one and the same program
differ by several percent. Printed is the ratio of the worker's time to the loop's, within rounds,
with its 95% interval over launches.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd

from backends.contract import Adam, Array, Execution, Network
from backends.registry import BACKENDS, load
from benchmarks.analysis import statistics
from benchmarks.machine.settings import ROOT, affinity, available_cpus, worker_environment
from benchmarks.plan import data
from benchmarks.plan.workload import Workload, batch_rows
from benchmarks.worker.messages import Job
from benchmarks.worker.worker import Worker

Loop = Callable[[Array], None]

BATCH_SIZE, BLOCK_STEPS, STEPS_PER_CALL = 128, 200, 50
LAUNCHES, ROUNDS = 4, 8
SIZES = (784, 512, 512, 10)


def pytorch_eager(images: Array, labels: Array) -> Loop:
    import torch
    from torch import nn

    torch.set_num_threads(available_cpus())
    x, y = torch.from_numpy(images), torch.from_numpy(labels).long()
    model = nn.Sequential(
        nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    loss_function = nn.CrossEntropyLoss()

    def loop(rows: Array) -> None:
        for batch in torch.from_numpy(rows):
            optimizer.zero_grad()
            loss_function(model(x[batch]), y[batch]).backward()
            optimizer.step()

    return loop


def pytorch_compiled(images: Array, labels: Array) -> Loop:
    import torch
    from torch import nn

    torch.set_num_threads(available_cpus())
    x, y = torch.from_numpy(images), torch.from_numpy(labels).long()
    model = nn.Sequential(
        nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001, fused=True)

    @torch.compile
    def compute_loss(inputs: Any, targets: Any) -> Any:
        return nn.functional.cross_entropy(model(inputs), targets)

    def loop(rows: Array) -> None:
        for batch in torch.from_numpy(rows):
            optimizer.zero_grad()
            compute_loss(x[batch], y[batch]).backward()
            optimizer.step()

    return loop


def pytorch_multistep(images: Array, labels: Array) -> Loop:
    """Tensor operations by hand: no autograd, no modules, no optimizer object."""
    import torch
    from torch import nn

    torch.set_num_threads(available_cpus())
    torch.set_flush_denormal(True)
    x, y = torch.from_numpy(images), torch.from_numpy(labels).long()
    shapes = [shape for m, n in pairwise(SIZES) for shape in ((m, n), (n,))]
    parameters = [torch.randn(shape) * 0.05 for shape in shapes]
    gradients, first, second = (
        [torch.zeros(shape) for shape in shapes] for _ in ("gradients", "first", "second")
    )
    counts = [torch.zeros(()) for _ in shapes]

    @torch.no_grad()
    def step(batch: Any) -> None:
        inputs = [x[batch]]
        for weight, bias in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
            inputs.append(torch.addmm(bias, inputs[-1], weight).relu_())
        logits = torch.addmm(parameters[-1], inputs[-1], parameters[-2])
        delta = nn.functional.softmax(logits, dim=1)
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


def _jax_step(images: Array, labels: Array) -> tuple[Any, Any, Any]:
    import jax
    import jax.numpy as jnp
    import optax

    x, y = jax.device_put(images), jax.device_put(labels)
    generator = np.random.default_rng(0)
    parameters = [
        (jnp.array(generator.normal(0, m**-0.5, (m, n)), "float32"), jnp.zeros(n))
        for m, n in pairwise(SIZES)
    ]
    optimizer = optax.adam(0.001)

    def loss_of(parameters: Any, inputs: Any, targets: Any) -> Any:
        for weight, bias in parameters[:-1]:
            inputs = jax.nn.relu(inputs @ weight + bias)
        logits = inputs @ parameters[-1][0] + parameters[-1][1]
        return optax.softmax_cross_entropy_with_integer_labels(logits, targets).mean()

    def step(state: Any, batch: Any) -> Any:
        parameters, moments = state
        loss, gradients = jax.value_and_grad(loss_of)(parameters, x[batch], y[batch])
        updates, moments = optimizer.update(gradients, moments)
        return (optax.apply_updates(parameters, updates), moments), loss

    return jax, step, (parameters, optimizer.init(parameters))


def jax_compiled(images: Array, labels: Array) -> Loop:
    jax, step, state = _jax_step(images, labels)
    jitted = jax.jit(step, donate_argnums=0)

    def loop(rows: Array) -> None:
        nonlocal state
        for batch in rows:
            state, _ = jitted(state, batch)
        jax.block_until_ready(state)

    return loop


def jax_multistep(images: Array, labels: Array) -> Loop:
    jax, step, state = _jax_step(images, labels)
    jitted = jax.jit(lambda state, rows: jax.lax.scan(step, state, rows), donate_argnums=0)

    def loop(rows: Array) -> None:
        nonlocal state
        for start in range(0, len(rows), STEPS_PER_CALL):
            state, _ = jitted(state, rows[start : start + STEPS_PER_CALL])
        jax.block_until_ready(state)

    return loop


def _tensorflow_step(images: Array, labels: Array) -> tuple[Any, Callable[..., Any]]:
    import tensorflow as tf

    generator = np.random.default_rng(0)
    x, y = tf.constant(images), tf.constant(labels)
    variables = []
    for m, n in pairwise(SIZES):
        variables.append(tf.Variable(generator.normal(0, m**-0.5, (m, n)).astype("float32")))
        variables.append(tf.Variable(tf.zeros(n)))
    first = [tf.Variable(tf.zeros_like(variable)) for variable in variables]
    second = [tf.Variable(tf.zeros_like(variable)) for variable in variables]
    count = tf.Variable(0.0)

    def step(batch: Any) -> Any:
        with tf.GradientTape() as tape:
            hidden = tf.gather(x, batch)
            for weight, bias in zip(variables[:-2:2], variables[1:-2:2], strict=True):
                hidden = tf.nn.relu(hidden @ weight + bias)
            logits = hidden @ variables[-2] + variables[-1]
            targets = tf.gather(y, batch)
            loss = tf.reduce_mean(
                tf.nn.sparse_softmax_cross_entropy_with_logits(labels=targets, logits=logits)
            )
        count.assign_add(1.0)
        for variable, m, v, gradient in zip(
            variables, first, second, tape.gradient(loss, variables), strict=True
        ):
            m.assign(0.9 * m + 0.1 * gradient)
            v.assign(0.999 * v + 0.001 * tf.square(gradient))
            corrected = v / (1 - tf.pow(0.999, count))
            step_size = 0.001 / (1 - tf.pow(0.9, count))
            variable.assign_sub(step_size * m / (tf.sqrt(corrected) + 1e-8))
        return loss

    return tf, step


def tensorflow_compiled(images: Array, labels: Array) -> Loop:
    tf, step = _tensorflow_step(images, labels)
    compiled = tf.function(step, jit_compile=True)

    def loop(rows: Array) -> None:
        for batch in rows:
            compiled(tf.constant(batch))

    return loop


def tensorflow_multistep(images: Array, labels: Array) -> Loop:
    tf, step = _tensorflow_step(images, labels)

    @tf.function(jit_compile=True)  # type: ignore[untyped-decorator]
    def compiled(rows: Any) -> Any:
        loss = tf.zeros(())
        for index in tf.range(tf.shape(rows)[0]):
            loss = step(rows[index])
        return loss

    def loop(rows: Array) -> None:
        for start in range(0, len(rows), STEPS_PER_CALL):
            compiled(tf.constant(rows[start : start + STEPS_PER_CALL]))

    return loop


def tensorflow_fit(images: Array, labels: Array) -> Loop:
    import keras
    import tensorflow as tf

    x, y = tf.constant(images), tf.constant(labels)
    model = keras.Sequential(
        [
            keras.Input((784,)),
            keras.layers.Dense(512, activation="relu"),
            keras.layers.Dense(512, activation="relu"),
            keras.layers.Dense(10),
        ]
    )
    model.compile(
        optimizer=keras.optimizers.Adam(0.001),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=True,
        steps_per_execution=STEPS_PER_CALL,
    )
    pipelines: dict[int, Any] = {}

    def loop(rows: Array) -> None:
        # The first block serves for all: making a pipeline takes longer than some steps.
        if not pipelines:
            pipelines[0] = (
                tf.data.Dataset.from_tensor_slices(rows)
                .map(lambda batch: (tf.gather(x, batch), tf.gather(y, batch)))
                .prefetch(tf.data.AUTOTUNE)
            )
        model.fit(pipelines[0], verbose=0)

    return loop


LOOPS = {
    ("pytorch", "eager"): pytorch_eager,
    ("pytorch", "compiled"): pytorch_compiled,
    ("pytorch", "multistep"): pytorch_multistep,
    ("jax", "compiled"): jax_compiled,
    ("jax", "multistep"): jax_multistep,
    ("tensorflow", "compiled"): tensorflow_compiled,
    ("tensorflow", "multistep"): tensorflow_multistep,
    ("tensorflow", "fit"): tensorflow_fit,
}


def time_in_turn(backend: str, mode: str, launch: int) -> None:
    """Print the step times of the suite's worker and of the bare loop, block by block, as JSON."""
    work, threads = make_workload(), available_cpus()
    dataset = data.load()
    execution = Execution(
        mode=mode,
        input=BACKENDS[backend].modes[mode].inputs[0],
        threads=threads,
        steps_per_call=STEPS_PER_CALL,
    )
    training = dataset.training.stored_as("float32")
    rows = batch_rows(len(training.labels), BATCH_SIZE, BLOCK_STEPS * ROUNDS, seed=launch)
    blocks = itertools.cycle(np.split(rows, ROUNDS))
    job = Job(
        backend=BACKENDS[backend], execution=execution, workload=work, seed=launch,
        block_steps=BLOCK_STEPS, calibrate=False, slowed_by=0.0,
        # Of a certificate, which is not asked for.
        reference=None,  # type: ignore[arg-type]
    )  # fmt: skip

    def make_worker() -> Worker:
        made = Worker(job)
        made.first_call()
        return made

    def make_loop() -> Loop:
        made = LOOPS[backend, mode](training.images, training.labels)
        made(next(blocks))
        return made

    load(BACKENDS[backend]).configure(execution)
    # Where memory lies depends on what was there before: each is the first in every second launch.
    if launch % 2:
        loop = make_loop()
        worker = make_worker()
    else:
        worker = make_worker()
        loop = make_loop()
    worker.warm_up()
    for _ in range(2):
        loop(next(blocks))

    def time_suite() -> float:
        return worker.train().seconds

    def time_bare() -> float:
        block = next(blocks)
        start = perf_counter()
        loop(block)
        return perf_counter() - start

    found: dict[str, list[float]] = {"suite": [], "bare": []}
    for round_number in range(ROUNDS):
        turns = [("suite", time_suite), ("bare", time_bare)]
        for name, time_block in turns if round_number % 2 else reversed(turns):
            found[name].append(time_block())
    print(json.dumps(found))


def compare(backend: str, mode: str) -> statistics.Estimate:
    """The ratio of the suite's step time to the loop's."""
    ratios: dict[int, pd.Series] = {}
    for launch in range(LAUNCHES):
        with tempfile.TemporaryDirectory() as scratch, affinity(available_cpus()):
            done = subprocess.run(
                [sys.executable, "-m", "tests.bare_loops", backend, mode, str(launch)],
                cwd=ROOT, env=worker_environment("cpu", available_cpus(), Path(scratch)),
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True,
            )  # fmt: skip
        found = pd.DataFrame(json.loads(done.stdout.splitlines()[-1]))
        ratios[launch] = np.log(found["suite"]) - np.log(found["bare"])
    return statistics.interval_of_logs(pd.concat(ratios, names=["launch", "round"]))


def make_workload() -> Workload:
    """The default one, long enough for all rounds."""
    return Workload(
        network=Network(layer_sizes=SIZES),
        adam=Adam(),
        batch_size=BATCH_SIZE,
        steps=BLOCK_STEPS * ROUNDS,
        training_images=55_000,
        data_dir=str(data.EMBEDDED),
    )


def main() -> None:
    """Compare every case that has a loop here."""
    rows = []
    for backend, mode in LOOPS:
        found = compare(backend, mode)
        print(
            f"{backend} {mode}: {found.value:.3f} [{found.low:.3f}, {found.high:.3f}]", flush=True
        )
        rows.append(
            {
                "case": f"{backend} {mode}",
                "ratio": found.value,
                "ratio_low": found.low,
                "ratio_high": found.high,
            }
        )
        # After each, so that an interrupted comparison leaves what it has found.
        pd.DataFrame(rows).to_csv(ROOT / "results" / "validation" / "bare-loops.csv", index=False)


if __name__ == "__main__":
    time_in_turn(sys.argv[1], sys.argv[2], int(sys.argv[3])) if len(sys.argv) > 1 else main()
