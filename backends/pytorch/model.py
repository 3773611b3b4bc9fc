"""The network, and a linear layer whose products oneDNN computes."""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

HAS_ONEDNN = torch.backends.mkldnn.is_available()


def mlp(layer_sizes: tuple[int, ...], linear: type[nn.Linear]) -> nn.Sequential:
    """A dense network: ReLU between its layers, logits out."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(layer_sizes):
        layers += [linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class NeuralNetwork(nn.Module):
    """The model of PyTorch's quickstart tutorial, in any size."""

    def __init__(self, layer_sizes: tuple[int, ...], linear: type[nn.Linear]) -> None:
        super().__init__()
        self.flatten = nn.Flatten()
        self.linear_relu_stack = mlp(layer_sizes, linear)

    def forward(self, x: Tensor) -> Tensor:
        """The logits (n, classes) of images (n, ...)."""
        x = self.flatten(x)
        return self.linear_relu_stack(x)


def linear_by_onednn(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`x` (n, inputs) times the transpose of `weight` (outputs, inputs), float32, by oneDNN."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


# The same as an operator that torch.compile takes as it is, and that has a derivative. Defined in a
# library, since each call of a `custom_op` takes 13 µs more, and a step has eight.
LIBRARY = torch.library.Library("benchmark", "DEF")
LIBRARY.define("onednn_linear(Tensor x, Tensor weight, Tensor? bias=None) -> Tensor")
LIBRARY.impl("onednn_linear", linear_by_onednn, "CPU")
onednn_linear = getattr(torch.ops, LIBRARY.ns).onednn_linear


@torch.library.register_fake(f"{LIBRARY.ns}::onednn_linear", lib=LIBRARY)
def _(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:  # noqa: ARG001
    return x.new_empty(x.shape[0], weight.shape[0])


def _keep_factors(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:  # noqa: ARG001
    ctx.save_for_backward(*inputs[:2])


def _linear_backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
    x, weight = ctx.saved_tensors
    of_x = onednn_linear(gradient, weight.T) if ctx.needs_input_grad[0] else None
    return of_x, onednn_linear(gradient.T, x.T), gradient.sum(0)


torch.library.register_autograd(
    f"{LIBRARY.ns}::onednn_linear", _linear_backward, setup_context=_keep_factors, lib=LIBRARY
)


def serves(x: Tensor) -> bool:
    """Whether oneDNN has products for such a tensor."""
    return HAS_ONEDNN and x.dtype == torch.float32 and not x.is_cuda


def multiply(a: Tensor, b: Tensor, out: Tensor | None = None) -> Tensor:
    """The product of `a` and `b` by oneDNN where it serves; otherwise into `out`, if given."""
    return linear_by_onednn(a, b.T) if serves(a) else torch.mm(a, b, out=out)


class OneDNNLinear(nn.Linear):
    """A linear layer whose float32 products oneDNN computes, where PyTorch would use MKL.

    MKL serves AMD's processors badly: on two cores of an EPYC the eight products of the tutorial's
    step took 2.4 ms by MKL and 1.3 ms by oneDNN, and the whole step 3.0 and 1.9 ms.
    """

    def forward(self, x: Tensor) -> Tensor:
        """The layer's outputs (n, outputs) for `x` (n, inputs)."""
        return onednn_linear(x, self.weight, self.bias) if serves(x) else super().forward(x)
