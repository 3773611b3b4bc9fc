"""What rounding may do to a step of a training: the bounds that are derived."""

import numpy as np

from backends.contract import PRECISIONS, Adam, Array, Parameters, arrays_of
from backends.numpy.model import log_softmax

SAFETY = 9.0
"""How many times what independent roundings do is allowed."""
POWER_UNITS = 4.0
"""How far a power may be off, in units of its last place."""


def unit_of(precision: str) -> float:
    """Half the distance of neighbouring stored numbers near 1."""
    return float(np.finfo(PRECISIONS[precision].stored).eps) / 2


def product_bound(precision: str) -> float:
    """How far products may be off: rounding as they have it, and room for sums in another order."""
    return 50 * 2.0 ** -PRECISIONS[precision].bits


def correction_error(step: int, adam: Adam, precision: str) -> float:
    """How far a step's length may be off, as a share, where 1 − βᵗ is computed as parameters are.

    β is then rounded, which multiplies βᵗ by 1 + tδ, and the power is off by some units of its last
    place; both weigh as much more as 1 − βᵗ is less. Of the second moment's there is a root.
    """
    units = SAFETY * POWER_UNITS * unit_of(precision)

    def share(beta: float) -> float:
        power = beta**step
        return (3 * rounded(beta, precision) * step * power + units) / (1 - power)

    return share(adam.beta_1) + share(adam.beta_2) / 2


def rounded(beta: float, precision: str) -> float:
    """How far a decay rate is off, as a share, where it is stored as parameters are."""
    return abs(float(np.dtype(PRECISIONS[precision].stored).type(beta)) / beta - 1)


def gradient_noise(parameters: Parameters, outputs: list[Array]) -> list[float]:
    """How far a gradient is off where each probability is off by its last place, in such units.

    So is each term of a logit. A batch that has been learned well has probabilities near its
    labels, and a gradient that is their difference: its own size says nothing of how far it is off.
    A figure for each array of the parameters, in the order of `arrays_of`: the root of the sum of
    its elements' variances, with roundings independent. `outputs` are those of every layer, as
    `forward` gives them.
    """
    *_, inputs, logits = outputs
    weight, bias = parameters[-1]
    p, of_logits = np.exp(log_softmax(logits)), inputs**2 @ weight**2 + bias**2
    # A logit's error z changes p by p (z − Σ p z).
    of_sum = (p**2 * of_logits).sum(axis=1, keepdims=True)
    variance = (p / len(p)) ** 2 * (1 + (1 - 2 * p) * of_logits + of_sum)
    noise: Parameters = []
    for layer, (weight, _) in reversed([*enumerate(parameters)]):
        inputs = outputs[layer]
        noise.append(((inputs**2).T @ variance, variance.sum(axis=0)))
        if layer > 0:
            variance = variance @ (weight**2).T * (inputs > 0)
    return [float(np.sqrt(array.sum())) for array in arrays_of(noise[::-1])]
