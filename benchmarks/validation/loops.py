"""Bare loops: the default cases once more, each as a program of its own with nothing around it.

Those in TensorFlow are in tensorflow_loops.py.
"""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
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

    def step(state: Any, inputs: Any, targets: Any) -> Any:
        parameters, moments = state
        loss, gradients = jax.value_and_grad(loss_of)(parameters, inputs, targets)
        updates, moments = optimizer.update(gradients, moments)
        return (optax.apply_updates(parameters, updates), moments), loss

    # The images are arguments, for as constants they would be copied into the program.
    def one(state: Any, inputs: Any, targets: Any, batch: Any) -> Any:
        return step(state, inputs[batch], targets[batch])

    def scan(state: Any, inputs: Any, targets: Any, rows: Any) -> Any:
        return jax.lax.scan(lambda state, batch: one(state, inputs, targets, batch), state, rows)

    program = jax.jit(scan if many else one, donate_argnums=0)

    def loop(rows: Array) -> None:
        nonlocal state
        for batch in calls(rows, many):
            state, _ = program(state, x, y, batch)
        jax.block_until_ready(state)

    return loop


LOOPS: dict[tuple[str, str], Callable[[Array, Array], Any]] = {
    ("pytorch", "eager"): partial(pytorch, compiled=False),
    ("pytorch", "compiled"): partial(pytorch, compiled=True),
    ("pytorch", "onednn"): pytorch_multistep,
    ("jax", "compiled"): partial(jax, many=False),
    ("jax", "scan"): partial(jax, many=True),
}
