"""The programs that XLA makes of JAX's and TensorFlow's modes for an H100, read without having one.

XLA compiles for a GPU that is only described, where JAX's plugin for CUDA is installed (it is among
the packages for tests). So what decides a step's time and numbers there is tested on any machine:
which products a program takes and in which precision, that nothing is copied or handed to the host
between steps, and that all kernels of a step are launched at once, as one CUDA graph. TensorFlow's
programs go through JAX's version of XLA here, as TensorFlow hands them to its own.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from backends.contract import Adam, Network, TrainingSet
from benchmarks.plan.workload import initial_parameters
from tests.backends.test_loops import trip_counts
from tests.conftest import back_to_float64, configured, set_up

pytestmark = pytest.mark.skipif(
    not find_spec("jax_cuda13_plugin"),
    reason="XLA's plugin for CUDA is not installed: pip install jax-cuda13-plugin",
)

NETWORK = Network(layer_sizes=(784, 512, 512, 10))
PRODUCTS = 8  # three forward, three for the weights, two for the inputs of layers
BATCH_SIZE, IMAGES, STEPS_PER_CALL = 128, 10_000, 50

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
    assembly: str
    """Of its kernels, for the GPU (PTX)."""
    temporary_bytes: int

    def products(self) -> list[str]:
        return [line for line in self.text.splitlines() if " dot(" in line]

    def factors(self) -> Counter[str]:
        """The types of the factors of products, and how many there are of each."""
        types = dict(re.findall(r"(%[\w.-]+) = (\w+)\[", self.text))
        names = re.findall(r" dot\((%[\w.-]+), (%[\w.-]+)\)", self.text)
        return Counter(types[name] for pair in names for name in pair)

    def kept_out(self) -> int:
        """The products from which XLA is told to keep all but float32, whatever kernel it takes."""
        return sum("operand_precision={highest,highest}" in line for line in self.products())

    def multiplied_in(self) -> set[str]:
        """The precisions in which the kernels of products multiply: those of tensor cores."""
        kernels = re.split(r"\.entry ", self.assembly)[1:]
        products = [kernel for kernel in kernels if "gemm" in kernel.split("(")[0]]
        found = (re.search(r"mma[\w.:]*\.(tf32|bf16)", kernel) for kernel in products)
        return {match[1] if match else "float32" for match in found}

    def in_place(self) -> int:
        """The arrays that are updated in the memory that they were handed over in."""
        return len(re.findall(r"(?:may|must)-alias", self.text.splitlines()[0]))

    def step(self) -> list[str]:
        """What is executed in each step: the one command buffer of the program."""
        starts = [n for n, line in enumerate(self.thunks) if "kCommandBuffer" in line]
        assert len(starts) == 1
        start = starts[0]
        assert start == 0 or self.thunks[start - 1].strip() == "body:"  # nothing comes before it
        indent = len(self.thunks[start]) - len(self.thunks[start].lstrip())
        rest = self.thunks[start + 1 :]
        inside = [line for line in rest if len(line) - len(line.lstrip()) > indent]
        assert inside == rest  # nor after it
        return inside


def h100() -> Any:
    """The device that is compiled for."""
    configured("jax")  # on the CPU, so that the plugin is not asked for a GPU
    from jax.experimental import topologies

    topology = topologies.get_topology_desc(platform="cuda", target_config=H100, topology="1x1x1")
    return topology.devices[0]


def read_program(executable: Any, folder: Path) -> Program:
    """What is in XLA's executable, and in the folder that it has left files in."""
    (thunks,) = folder.glob("*.thunk_sequence_after_thunk_passes.txt")
    (module,) = executable.hlo_modules()
    return Program(
        text=module.to_string(),
        thunks=thunks.read_text().splitlines(),
        assembly="".join(path.read_text() for path in folder.glob("*.ptx")),
        temporary_bytes=executable.get_compiled_memory_stats().temp_size_in_bytes,
    )


class Jitted(NamedTuple):
    """A function under `jax.jit`, and what it is called with."""

    function: Any
    arguments: tuple[Any, ...]
    static: tuple[int, ...] = ()

    def for_h100(self, folder: Path) -> Program:
        """Its program, for the shapes of its arguments."""
        sharding = self.jax.sharding.SingleDeviceSharding(h100())
        shapes = self.jax.tree.map(
            lambda array: self.jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=sharding),
            self.arguments,
        )
        lowered = self.function.lower(*shapes, *self.static)
        made = lowered.compile(UNTUNED | {"xla_dump_to": str(folder)})
        return read_program(made.runtime_executable(), folder)

    @property
    def jax(self) -> Any:
        return configured("jax").jax


class TensorFlowFunction(NamedTuple):
    """A `tf.function` with XLA, and what it is called with."""

    function: Any
    arguments: tuple[Any, ...]

    def for_h100(self, folder: Path) -> Program:
        """Its program, by JAX's version of XLA."""
        device = h100()
        from jax._src.compiler import get_compile_options
        from jax._src.interpreters import mlir
        from jax._src.lib import xla_client
        from jax._src.lib.mlir import ir

        program = self.function.experimental_get_compiler_ir(*self.arguments)(
            stage="hlo_serialized"
        )
        options = get_compile_options(
            num_replicas=1,
            num_partitions=1,
            device_assignment=np.array([[0]]),
            env_options_overrides=UNTUNED | {"xla_dump_to": str(folder)},
        )
        with mlir.make_ir_context():
            module = ir.Module.parse(xla_client._xla.mlir.hlo_to_stablehlo(program))
            # StableHLO has no copies. They are TensorFlow's of what it returns; XLA decides anew.
            text = module.operation.get_asm(print_generic_op_form=True)
            module = ir.Module.parse(text.replace("mhlo.copy", "stablehlo.reshape"))
            executable = device.client.compile(module, xla_client.DeviceList((device,)), options)
        return read_program(executable, folder)


def trainer_of(backend: str, mode: str, precision: str) -> Any:
    module, execution = set_up(backend, mode, precision, STEPS_PER_CALL)
    training_set = TrainingSet(
        images=np.zeros((IMAGES, 784), np.float32), labels=np.zeros(IMAGES, np.int32)
    )
    return module.TRAINERS[mode](
        NETWORK, Adam(), execution, training_set, initial_parameters(NETWORK, 0)
    )


ROWS = np.zeros((STEPS_PER_CALL, BATCH_SIZE), np.int32)


def jax_multistep(precision: str) -> Jitted:
    own = trainer_of("jax", "multistep", precision)
    return Jitted(own._jitted_steps, (own._state, own._images, own._labels, ROWS))


def jax_compiled(precision: str) -> Jitted:
    own = trainer_of("jax", "compiled", precision)
    return Jitted(own._jitted_step, (own._state, own._images, own._labels, ROWS[0]))


def jax_floor(precision: str) -> Jitted:
    module, execution = set_up("jax", "floor", precision, STEPS_PER_CALL)
    own = module.Floor(NETWORK, BATCH_SIZE, execution)
    return Jitted(own._jitted_steps, (own._state, own._images), (STEPS_PER_CALL,))


def tensorflow_multistep(precision: str) -> TensorFlowFunction:
    own = trainer_of("tensorflow", "multistep", precision)
    return TensorFlowFunction(own._train_steps, (configured("tensorflow").tf.constant(ROWS),))


def tensorflow_compiled(precision: str) -> TensorFlowFunction:
    own = trainer_of("tensorflow", "compiled", precision)
    return TensorFlowFunction(own._train_step, (configured("tensorflow").tf.constant(ROWS[0]),))


def tensorflow_floor(precision: str) -> TensorFlowFunction:
    module, execution = set_up("tensorflow", "floor", precision, STEPS_PER_CALL)
    own = module.Floor(NETWORK, BATCH_SIZE, execution)
    return TensorFlowFunction(own._train_steps, (STEPS_PER_CALL,))


Made = Callable[[str], Jitted | TensorFlowFunction]
# Weights, biases, two moments of each and the step count; of a floor, weights and moments.
STATE: dict[Made, int] = {
    jax_compiled: 19,
    jax_multistep: 19,
    jax_floor: 9,
    tensorflow_compiled: 19,
    tensorflow_multistep: 19,
    tensorflow_floor: 9,
}


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
@pytest.mark.parametrize("own", STATE, ids=lambda own: own.__name__)
def test_a_step_on_an_h100(own: Made, precision: str, tmp_path: Path) -> None:
    program = own(precision).for_h100(tmp_path)
    assert len(program.products()) == PRODUCTS
    in_bfloat16 = precision == "bfloat16"
    assert program.factors() == {"bf16" if in_bfloat16 else "f32": 2 * PRODUCTS}
    if precision == "float32":
        assert program.kept_out() == PRODUCTS
    assert program.in_place() == STATE[own]
    # Activations and gradients have 5 MB, the training set 31 MB.
    assert program.temporary_bytes < 10e6
    one_step = own in (jax_compiled, tensorflow_compiled)
    if one_step:
        assert " while(" not in program.text
    else:
        assert trip_counts(program.text) == [str(STEPS_PER_CALL)]
    step = program.step()
    assert sum("gemm" in line for line in step) == PRODUCTS
    # `compiled` counts its step on a copy of the count.
    others = [line for line in step if "kCustomKernel" not in line]
    assert len(others) <= one_step
    assert all("kCopy" in line for line in others)
    if not program.assembly:
        pytest.skip("this version of XLA does not show its kernels' instructions")
    assert program.multiplied_in() == {precision.replace("bfloat16", "bf16")}


# That this can fail.


def test_the_precision_that_jax_takes_unasked_is_noticed(tmp_path: Path) -> None:
    jitted = jax_multistep("float32")
    jitted.jax.config.update("jax_default_matmul_precision", None)
    program = jitted.for_h100(tmp_path)
    assert program.kept_out() == 0
    assert program.multiplied_in() == {"tf32"}


def test_arrays_that_are_not_updated_in_place_are_noticed(tmp_path: Path) -> None:
    jitted = jax_multistep("float32")
    copying = jitted._replace(function=jitted.jax.jit(jitted.function.__wrapped__))
    assert copying.for_h100(tmp_path).in_place() == 0


def test_a_step_that_asks_the_host_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jax = configured("jax").jax
    trainer_type = configured("jax").TRAINERS["multistep"]
    step = trainer_type._step

    def asking(self: Any, *arguments: Any) -> Any:
        """Whether its loop goes on, a result on the GPU says to the host."""
        state, loss = step(self, *arguments)
        return state, jax.lax.while_loop(lambda x: x > 1e3, lambda x: x / 2, loss)

    monkeypatch.setattr(trainer_type, "_step", asking)
    program = jax_multistep("float32").for_h100(tmp_path)
    with pytest.raises(AssertionError):
        program.step()
