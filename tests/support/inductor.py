"""What torch.compile makes of a function for an H100, without having one.

PyTorch's compiler asks a card for little: its name is "cuda", and it has so many processors. Here a
stand-in answers. What it generates is not run, but Triton compiles each kernel down to the card's
own instructions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from types import SimpleNamespace
from typing import Any
from unittest import mock

H100 = SimpleNamespace(
    name="NVIDIA H100 80GB HBM3",
    major=9,
    minor=0,
    multi_processor_count=132,
    regs_per_multiprocessor=65536,
    max_threads_per_multi_processor=2048,
    max_threads_per_block=1024,
    shared_memory_per_block=49152,
    shared_memory_per_block_optin=232448,
    warp_size=32,
    total_memory=84929347584,
    gcnArchName="",
)


@dataclass(frozen=True, kw_only=True)
class Generated:
    """What torch.compile has generated for one call of a function."""

    launches: list[str]
    """The kernels in their order: Triton's by their names, those of libraries by operators."""
    assembly: dict[str, str]
    """Triton's kernels, for the GPU (PTX), as its compiler has taken them to machine code."""

    @property
    def products(self) -> list[str]:
        """The matrix products, which libraries compute."""
        return [name for name in self.launches if name.startswith("extern_kernels.")]


class GeneratedError(Exception):
    """Ends a compilation when its program is generated."""


def compiled_for_h100(
    function: Callable[..., Any], shapes: Sequence[tuple[tuple[int, ...], Any]]
) -> Generated:
    """What a function of tensors of these shapes and types becomes; it returns a list of them."""
    import torch
    from torch._inductor import config
    from torch._inductor.codecache import PyCodeCache
    from torch._inductor.compile_fx import compile_fx_inner
    from torch._inductor.decomposition import select_decomp_table
    from torch._inductor.exc import InductorError
    from torch._inductor.virtualized import V
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.proxy_tensor import make_fx
    from torch.fx.passes.fake_tensor_prop import FakeTensorProp

    def tensors(device: str) -> list[torch.Tensor]:
        return [torch.empty(shape, dtype=dtype, device=device) for shape, dtype in shapes]

    options = {"compile_threads": 1, "fx_graph_cache": False, "use_static_cuda_launcher": False}
    with card() as generated, config.patch(options):
        with FakeTensorMode(allow_non_fake_inputs=True) as fake:
            # Derivatives can be traced on the CPU alone; what they are made of moves to the card.
            traced = make_fx(function, decomposition_table=select_decomp_table())(*tensors("cpu"))
            for node in traced.graph.nodes:
                if "device" in node.kwargs:
                    node.kwargs = node.kwargs | {"device": torch.device("cuda:0")}
            traced.recompile()
            on_card = tensors("cuda:0")
            FakeTensorProp(traced, fake).propagate_dont_convert_inputs(*on_card)
            try:
                with V.set_fake_mode(fake):
                    compile_fx_inner(traced, on_card)
            except InductorError:
                if not generated:
                    raise
        (code,) = generated
        kernels = re.findall(
            r"^(triton_\w+) = async_compile\.triton\('\w+', '''(.*?)''', device_str",
            code,
            re.M | re.S,
        )
        assembly = {}
        for name, source in kernels:
            kernel = getattr(PyCodeCache.load(source), name)
            assembly[name] = kernel._precompile_config(kernel.configs[0]).kernel.asm["ptx"]
    launches = re.findall(r"^\s+(extern_kernels\.\w+|triton_\w+)(?:\.run)?\(", code, re.M)
    return Generated(launches=launches, assembly=assembly)


@contextmanager
def card() -> Iterator[list[str]]:
    """A card that is only described, and the programs that are generated for it."""
    import torch
    from torch._dynamo.device_interface import get_interface_for_device
    from torch._inductor.graph import GraphLowering
    from torch._inductor.runtime import triton_helpers

    # Among no packages for tests: see .ci/run.
    GPUTarget = import_module("triton.backends.compiler").GPUTarget  # noqa: N806
    driver = import_module("triton.runtime.driver").driver

    generated: list[str] = []

    def stop(lowering: Any) -> None:
        generated.append(lowering.codegen()[0].value)
        raise GeneratedError

    def answer(value: Any) -> Callable[..., Any]:
        return lambda *_: value

    interface = get_interface_for_device("cuda")
    of_interface = {
        "get_device_properties": H100,
        "get_compute_capability": 90,
        "is_available": True,
        "raise_if_triton_unavailable": None,
    }
    of_cuda = {
        "is_available": True,
        "device_count": 1,
        "current_device": 0,
        "get_device_properties": H100,
        "get_device_capability": (9, 0),
        "get_rng_state": torch.zeros(16, dtype=torch.uint8),
        "set_rng_state": None,
        "_exchange_device": 0,
        "_maybe_exchange_device": 0,
        "_lazy_init": None,
    }
    target = SimpleNamespace(
        get_current_target=answer(GPUTarget("cuda", 90, 32)), get_current_device=answer(0)
    )
    with ExitStack() as stack:
        for name, value in of_interface.items():
            stack.enter_context(mock.patch.object(interface, name, staticmethod(answer(value))))
        stack.enter_context(
            mock.patch.object(interface.Worker, "get_device_properties", staticmethod(answer(H100)))
        )
        for name, value in of_cuda.items():
            stack.enter_context(mock.patch.object(torch.cuda, name, answer(value)))
        stack.enter_context(mock.patch.object(torch.version, "cuda", "13.0"))
        stack.enter_context(mock.patch.object(triton_helpers, "set_driver_to_gpu", answer(None)))
        stack.enter_context(mock.patch.object(GraphLowering, "_compile_to_module", stop))
        stack.enter_context(mock.patch.object(driver, "_active", target))
        yield generated
