"""PyTorch: `nn.Sequential` and `torch.optim.Adam`.

`eager` is the loop of PyTorch's own tutorial, `compiled` puts the model and its loss through
`torch.compile`, and `multistep` the gather and the derivative as well, with products by oneDNN on a
CPU, and with many steps, optimizer included, in one CUDA graph on a GPU.
"""

from backends.contract import Trainer
from backends.pytorch.floor import Floor
from backends.pytorch.idiomatic import Compiled, Eager
from backends.pytorch.setup import configure, profiled, versions
from backends.pytorch.tuned import MultiStep

__all__ = ["TRAINERS", "Floor", "configure", "profiled", "versions"]

TRAINERS: dict[str, type[Trainer]] = {
    "eager": Eager,
    "compiled": Compiled,
    "multistep": MultiStep,
}
