"""CUDA graphs: many steps recorded once, then launched by a single call."""

import gc
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def put_back(tensors: list[Tensor], before: list[Tensor]) -> None:
    """Undo, in place, what the steps that capturing a CUDA graph needs have trained."""
    for tensor, value in zip(tensors, before, strict=True):
        tensor.copy_(value)


def capture(steps: Callable[[], Any], state: list[Tensor]) -> tuple[torch.cuda.CUDAGraph, Any]:
    """A graph of `steps`, which change `state` in place, and the tensors that they return.

    Capturing needs a warm-up on a stream of its own; it must not count as training. What is
    captured there shares no workspace of cuBLAS with another graph, which may end before this one.
    """
    # Not meanwhile, when whatever ends may free what a graph still holds.
    gc.collect()
    before = [tensor.clone() for tensor in state]
    side_stream = torch.cuda.Stream()
    side_stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side_stream):
        steps()
    torch.cuda.current_stream().wait_stream(side_stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=side_stream):
        results = steps()
    put_back(state, before)
    return graph, results
