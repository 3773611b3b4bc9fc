"""The programs that XLA makes of JAX's modes for an H100, read without having one.

XLA compiles for a GPU that is only described, where its plugin for CUDA is installed (it is among
the packages for tests). So what decides a step's time and numbers there is tested on any machine:
which products a program takes and in which precision, that nothing is copied or handed to the host
between steps, and that all kernels of a step are launched at once, as one CUDA graph.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from backends.contract import Adam, Execution, Network, TrainingSet
from benchmarks.workload import initial_parameters
from tests.backends.test_loops import trip_counts
from tests.conftest import back_to_float64, configured

pytestmark = pytest.mark.skipif(
    not find_spec("jax_cuda13_plugin"),
    reason="XLA's plugin for CUDA is not installed: pip install jax-cuda13-plugin",
)

NETWORK = Network(layer_sizes=(784, 512, 512, 10))
PRODUCTS = 8  # three forward, three for the weights, two for the inputs of layers
BATCH_SIZE, IMAGES, STEPS_PER_CALL = 128, 1000, 50

# As XLA describes the one that it finds in a machine. Without a GPU nothing can be tuned on it.
H100 = """
gpu_device_info {
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_core: 233472
  shared_memory_per_block_optin: 232448
  threads_per_core_limit: 2048
  core_count: 132
  fpus_per_core: 128
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
  memory_bandwidth: 3352320000000
  l2_cache_size: 52428800
  clock_rate_ghz: 1.98
  device_memory_size: 84929347584
  cuda_compute_capability { major: 9 }
}
platform_name: "CUDA"
dnn_version_info { major: 9 }
runtime_version { major: 13 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""
UNTUNED = {"xla_gpu_autotune_level": 0, "xla_dump_hlo_as_text": True}


@pytest.fixture(autouse=True)
def reset_precision() -> Iterator[None]:
    yield
    back_to_float64()


@dataclass(frozen=True, kw_only=True)
class Program:
    """What XLA has made."""

    text: str
    """Its optimized HLO."""
    thunks: list[str]
    """What is executed: kernels, copies, loops and command buffers (CUDA graphs), a line each."""
    temporary_bytes: int

    def products(self) -> list[str]:
        return [line for line in self.text.splitlines() if " dot(" in line]

    def precisions(self) -> set[str]:
        """That XLA may take for the factors of products."""
        return set(re.findall(r"operand_precision=\{(\w+),\1\}", "\n".join(self.products())))

    def factors(self) -> set[str]:
        """The types of the factors of products."""
        types = dict(re.findall(r"(%[\w.-]+) = (\w+)\[", self.text))
        names = re.findall(r" dot\((%[\w.-]+), (%[\w.-]+)\)", self.text)
        return {types[name] for pair in names for name in pair}

    def in_place(self) -> int:
        """The arrays that are updated in the memory that they were handed over in."""
        return len(re.findall(r"(?:may|must)-alias", self.text.splitlines()[0]))

    def step(self) -> list[str]:
        """What is executed in each step: the one command buffer of the program."""
        (start,) = (n for n, line in enumerate(self.thunks) if "kCommandBuffer" in line)
        indent = len(self.thunks[start]) - len(self.thunks[start].lstrip())
        rest = self.thunks[start + 1 :]
        inside = [line for line in rest if len(line) - len(line.lstrip()) > indent]
        assert inside == rest  # nothing follows it
        return inside


class Jitted(NamedTuple):
    """A function under `jax.jit`, and what it is called with."""

    function: Any
    arguments: tuple[Any, ...]
    static: tuple[int, ...] = ()


def for_h100(jitted: Jitted, folder: Path) -> Program:
    """Its program, for the shapes of its arguments."""
    import jax
    from jax.experimental import topologies

    topology = topologies.get_topology_desc(platform="cuda", target_config=H100, topology="1x1x1")
    sharding = jax.sharding.SingleDeviceSharding(topology.devices[0])
    shapes = jax.tree.map(
        lambda array: jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=sharding),
        jitted.arguments,
    )
    lowered = jitted.function.lower(*shapes, *jitted.static)
    made = lowered.compile(UNTUNED | {"xla_dump_to": str(folder)})
    (thunks,) = folder.glob("*.thunk_sequence_after_thunk_passes.txt")
    return Program(
        text=made.as_text(),
        thunks=thunks.read_text().splitlines(),
        temporary_bytes=made.memory_analysis().temp_size_in_bytes,
    )


def trainer_of(mode: str, precision: str) -> Any:
    module = configured("jax")
    execution = Execution(mode=mode, precision=precision, steps_per_call=STEPS_PER_CALL)
    module.configure(execution)
    training_set = TrainingSet(
        images=np.zeros((IMAGES, 784), np.float32), labels=np.zeros(IMAGES, np.int32)
    )
    return module.TRAINERS[mode](
        NETWORK, Adam(), execution, training_set, initial_parameters(NETWORK, 0)
    )


def multistep(precision: str) -> Jitted:
    own = trainer_of("multistep", precision)
    rows = np.zeros((STEPS_PER_CALL, BATCH_SIZE), np.int32)
    return Jitted(own._jitted_steps, (own._state, own._images, own._labels, rows))


def compiled(precision: str) -> Jitted:
    own = trainer_of("compiled", precision)
    rows = np.zeros(BATCH_SIZE, np.int32)
    return Jitted(own._jitted_step, (own._state, own._images, own._labels, rows))


def floor(precision: str) -> Jitted:
    module = configured("jax")
    execution = Execution(mode="floor", precision=precision, steps_per_call=STEPS_PER_CALL)
    module.configure(execution)
    own = module.Floor(NETWORK, BATCH_SIZE, execution)
    return Jitted(own._jitted_steps, (own._state, own._images), (STEPS_PER_CALL,))


# Weights, biases, two moments of each and the step count; of a floor, weights and moments.
STATE: dict[Callable[[str], Jitted], int] = {multistep: 19, compiled: 19, floor: 9}


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
@pytest.mark.parametrize("own", STATE, ids=lambda own: own.__name__)
def test_a_step_on_an_h100(own: Callable[[str], Jitted], precision: str, tmp_path: Path) -> None:
    program = for_h100(own(precision), tmp_path)
    assert len(program.products()) == PRODUCTS
    assert program.factors() == {"bf16" if precision == "bfloat16" else "f32"}
    # XLA calls TF32 "high"; "highest" leaves float32 as it is.
    assert program.precisions() == {"high" if precision == "tf32" else "highest"}
    assert program.in_place() == STATE[own]
    # Activations and gradients have 5 MB; there is no second training set.
    assert program.temporary_bytes < 10e6
    if own is compiled:
        assert " while(" not in program.text
    else:
        assert trip_counts(program.text) == [str(STEPS_PER_CALL)]
    step = program.step()
    assert sum("gemm" in line for line in step) == PRODUCTS
    # `compiled` counts its step on a copy of the count.
    others = [line for line in step if "kCustomKernel" not in line]
    assert len(others) <= (own is compiled)
    assert all("kCopy" in line for line in others)


# That this can fail.


def test_the_precision_that_jax_takes_unasked_is_noticed(tmp_path: Path) -> None:
    import jax

    jitted = multistep("float32")
    jax.config.update("jax_default_matmul_precision", None)
    assert for_h100(jitted, tmp_path).precisions() == set()


def test_arrays_that_are_not_updated_in_place_are_noticed(tmp_path: Path) -> None:
    import jax

    jitted = multistep("float32")
    copying = jitted._replace(function=jax.jit(jitted.function.__wrapped__))
    assert for_h100(copying, tmp_path).in_place() == 0


def test_a_step_that_asks_the_host_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import jax

    trainer_type = configured("jax").TRAINERS["multistep"]
    step = trainer_type._step

    def asking(self: Any, *arguments: Any) -> Any:
        """Whether its loop goes on, a result on the GPU says to the host."""
        state, loss = step(self, *arguments)
        return state, jax.lax.while_loop(lambda x: x > 1e3, lambda x: x / 2, loss)

    monkeypatch.setattr(trainer_type, "_step", asking)
    with pytest.raises((AssertionError, ValueError)):
        for_h100(multistep("float32"), tmp_path).step()
