"""The network, and the state that a step changes."""

from itertools import pairwise
from typing import Any, NamedTuple

import jax
import optax
from flax import nnx


class MLP(nnx.Module):
    """A dense network: ReLU between its layers, logits out."""

    def __init__(
        self, layer_sizes: tuple[int, ...], stored: Any, computed: Any, *, rngs: nnx.Rngs
    ) -> None:
        self.layers = nnx.List(
            nnx.Linear(inputs, outputs, param_dtype=stored, dtype=computed, rngs=rngs)
            for inputs, outputs in pairwise(layer_sizes)
        )

    def __call__(self, x: jax.Array) -> jax.Array:
        for layer in self.layers[:-1]:
            x = nnx.relu(layer(x))
        return self.layers[-1](x)


class State(NamedTuple):
    """All that a step changes."""

    parameters: list[jax.Array]
    adam: optax.OptState


def device_of(array: jax.Array) -> str:
    """The device whose memory holds an array: "cpu" or "gpu"."""
    platform = next(iter(array.devices())).platform
    return "gpu" if platform == "cuda" else platform
