"""The network, its loss, and what a step on plain arrays changes."""

from itertools import pairwise
from typing import Any, NamedTuple

import jax
import optax
from flax import nnx

Batch = dict[str, Any]
"""Images (n, pixels) under "image", labels (n,) under "label": those of a batch, or all."""


class MLP(nnx.Module):
    """A dense network: ReLU between its layers, logits out in the type that images have."""

    def __init__(
        self, layer_sizes: tuple[int, ...], stored: Any, computed: Any, *, rngs: nnx.Rngs
    ) -> None:
        self.layers = nnx.List(
            nnx.Linear(inputs, outputs, param_dtype=stored, dtype=computed, rngs=rngs)
            for inputs, outputs in pairwise(layer_sizes)
        )

    def __call__(self, x: jax.Array) -> jax.Array:
        stored = x.dtype
        for layer in self.layers[:-1]:
            x = nnx.relu(layer(x))
        return self.layers[-1](x).astype(stored)


def loss_fn(model: MLP, batch: Batch) -> tuple[jax.Array, jax.Array]:
    """The mean loss over a batch, and the logits that it is taken from."""
    logits = model(batch["image"])
    loss = optax.softmax_cross_entropy_with_integer_labels(
        logits=logits, labels=batch["label"]
    ).mean()
    return loss, logits


def gathered(data: Batch, rows: Any) -> Batch:
    """The images and labels in `rows` of all that there are."""
    return {name: array[rows] for name, array in data.items()}


class State(NamedTuple):
    """All that a step on plain arrays changes."""

    parameters: list[jax.Array]
    adam: optax.OptState


def device_of(array: jax.Array) -> str:
    """The device whose memory holds an array: "cpu" or "gpu"."""
    platform = next(iter(array.devices())).platform
    return "gpu" if platform == "cuda" else platform
