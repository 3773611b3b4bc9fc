"""The network: its outputs, its loss, and its gradients by the chain rule."""

from collections.abc import Callable

import numpy as np

from backends.contract import PRECISIONS, Array, Parameters

Product = Callable[[Array, Array], Array]


def rounded(array: Array, bits: int, generator: np.random.Generator | None = None) -> Array:
    """`array` of float32 with only `bits` stored bits of its significand.

    Rounds to the nearest, and halves to even, as IEEE 754 does; with a `generator` up or down at
    random, the nearer neighbour being the more likely.
    """
    dropped = np.uint32(PRECISIONS["float32"].bits - bits)
    whole = np.ascontiguousarray(array).view(np.uint32)
    if generator is None:
        below_half = (np.uint32(1) << (dropped - np.uint32(1))) - np.uint32(1)
        raised = whole + below_half + ((whole >> dropped) & np.uint32(1))
    else:
        raised = whole + generator.integers(0, 1 << int(dropped), whole.shape, np.uint32)
    return ((raised >> dropped) << dropped).view(np.float32)


def product_in(precision: str, generator: np.random.Generator | None = None) -> Product:
    """The matrix product whose factors are rounded to `precision`; in bfloat16 its result too.

    TF32 and bfloat16 are computed in float32, sums included, as the processors that have them do.
    `rounded` does the rounding.
    """
    bits = PRECISIONS[precision].bits
    if precision == PRECISIONS[precision].stored:
        return np.matmul

    def product(a: Array, b: Array) -> Array:
        result = rounded(a, bits, generator) @ rounded(b, bits, generator)
        return rounded(result, bits, generator) if precision == "bfloat16" else result

    return product


def forward(parameters: Parameters, images: Array, product: Product = np.matmul) -> list[Array]:
    """The outputs of every layer, `images` (n, pixels) first and the logits (n, classes) last."""
    outputs = [images]
    for layer, (weight, bias) in enumerate(parameters, start=1):
        output = product(outputs[-1], weight) + bias
        outputs.append(np.maximum(output, 0) if layer < len(parameters) else output)
    return outputs


def log_softmax(logits: Array) -> Array:
    """Log-probabilities (n, classes), shifted by each row's maximum so that nothing overflows."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def loss_and_gradients(
    parameters: Parameters, images: Array, labels: Array, product: Product = np.matmul
) -> tuple[float, Parameters]:
    """Mean softmax cross-entropy of a batch (n, pixels) with labels (n,), and its gradient."""
    return backward(parameters, forward(parameters, images, product), labels, product)


def backward(
    parameters: Parameters, outputs: list[Array], labels: Array, product: Product = np.matmul
) -> tuple[float, Parameters]:
    """The same from the outputs of every layer, as `forward` gives them."""
    rows = np.arange(len(labels))
    log_probabilities = log_softmax(outputs[-1])
    loss = -log_probabilities[rows, labels].mean()

    delta = np.exp(log_probabilities)
    delta[rows, labels] -= 1
    delta /= len(labels)
    gradients: Parameters = []
    for layer, (weight, _) in reversed([*enumerate(parameters)]):
        inputs = outputs[layer]
        gradients.append((product(inputs.T, delta), delta.sum(axis=0)))
        if layer > 0:
            delta = product(delta, weight.T) * (inputs > 0)
    return float(loss), gradients[::-1]
