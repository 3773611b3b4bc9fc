"""Bare loops: the default cases once more, each as a program of its own with nothing around it.

Those in TensorFlow are in tensorflow_loops.py.
"""

import sys
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
    """A loop as in PyTorch's tutorials; compiled, with fused Adam and denormals flushed too."""
    import torch
    from torch import nn

    torch.set_num_threads(available_cpus())
    torch.set_flush_denormal(compiled)
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


def pytorch_loader(images: Array, labels: Array) -> Loop:
    """The same with a data loader, and a loss printed now and then."""
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.set_num_threads(available_cpus())
    data = TensorDataset(torch.from_numpy(images), torch.from_numpy(labels).long())
    model = nn.Sequential(
        nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)
    )
    optimizer, loss_function = torch.optim.Adam(model.parameters()), nn.CrossEntropyLoss()

    def loop(rows: Array) -> None:
        for step, (inputs, targets) in enumerate(DataLoader(data, batch_sampler=rows.tolist())):
            loss = loss_function(model(inputs), targets)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 100 == 0:
                print(loss.item(), file=sys.stderr)

    return loop


def pytorch_by_hand(images: Array, labels: Array) -> Loop:
    """Tensor operations by hand, units by rows and images by columns: no autograd, no modules."""
    import torch
    from torch.optim.adam import adam

    torch.set_num_threads(available_cpus())
    torch.set_flush_denormal(True)
    x = torch.from_numpy(images)
    truth = torch.nn.functional.one_hot(torch.from_numpy(labels).long()).float() / -BATCH_SIZE
    arrays = [a.T if a.ndim > 1 else a[:, None] for a in initial_arrays()]
    flat, gradient, first, second = torch.zeros(4, sum(a.size for a in arrays))
    parameters, gradients = (
        [p.view(a.shape) for p, a in zip(f.split([a.size for a in arrays]), arrays, strict=True)]
        for f in (flat, gradient)
    )
    for parameter, array in zip(parameters, arrays, strict=True):
        parameter.copy_(torch.from_numpy(array))
    count = torch.zeros(())
    batch_x, batch_truth = torch.empty(BATCH_SIZE, SIZES[0]), torch.empty(BATCH_SIZE, SIZES[-1])
    outputs, deltas, signs = ([torch.empty(n, BATCH_SIZE) for n in SIZES[1:]] for _ in range(3))
    ones, losses = torch.ones(BATCH_SIZE, 1), list[Any]()

    @torch.inference_mode()
    def step(batch: Any) -> None:
        torch.index_select(x, 0, batch, out=batch_x)
        torch.index_select(truth, 0, batch, out=batch_truth)
        inputs = [batch_x.T]
        for layer, output in enumerate(outputs):
            weight, bias = parameters[2 * layer : 2 * layer + 2]
            torch.mm(weight, inputs[-1], out=output).add_(bias)
            inputs.append(output.relu_() if layer + 1 < len(outputs) else output)
        logs = torch.log_softmax(inputs.pop().T, 1)
        losses.append(torch.dot(logs.view(-1), batch_truth.view(-1)))
        delta = torch.add(batch_truth.T, logs.exp_().T, alpha=1 / BATCH_SIZE, out=deltas[-1])
        for layer in reversed(range(len(inputs))):
            torch.mm(delta, inputs[layer].T, out=gradients[2 * layer])
            torch.mm(delta, ones, out=gradients[2 * layer + 1])
            if layer:
                delta = torch.mm(parameters[2 * layer].T, delta, out=deltas[layer - 1])
                delta.mul_(torch.sign(inputs[layer], out=signs[layer - 1]))
        adam(
            [flat], [gradient], [first], [second], [], [count], fused=True, lr=0.001, beta1=0.9,
            beta2=0.999, weight_decay=0.0, eps=1e-8, amsgrad=False, maximize=False,
        )  # fmt: skip

    def loop(rows: Array) -> None:
        losses.clear()
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


LOOPS: dict[tuple[str, str], Callable[[Array, Array], Any]] = {
    ("pytorch", "quickstart"): pytorch_loader,
    ("pytorch", "eager"): partial(pytorch, compiled=False),
    ("pytorch", "compiled-flushed"): partial(pytorch, compiled=True),
    ("pytorch", "handwritten"): pytorch_by_hand,
    ("jax", "nnx"): jax_tutorial,
    ("jax", "compiled"): partial(jax, many=False),
    ("jax", "handwritten"): partial(jax, many=True),
}
