"""The programs that XLA makes of JAX's and TensorFlow's modes for an H100, read without having one.

XLA compiles for a GPU that is only described, where JAX's plugin for CUDA is installed (it is among
the packages for tests). So what decides a step's time and numbers there is tested on any machine:
which products a program takes and in which precision, that nothing is copied or handed to the host
between steps, and that all kernels of a step are launched at once, as one CUDA graph. TensorFlow's
programs go through JAX's version of XLA here, as TensorFlow hands them to its own.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from backends.contract import (
    Adam,
    Network,
    Program,
    Trainer,
    Training,
    TrainingSet,
    product_names,
)
from backends.floors import Floor
from backends.ladder import FLOOR
from backends.registry import BACKENDS
from benchmarks.machine.settings import ROOT
from benchmarks.plan.workload import initial_parameters
from tests.conftest import back_to_float64, configured, set_up
from tests.support.edited_backends import edited
from tests.support.programs import trip_counts

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
  driver_version: "13.0.0"
  runtime_version: "13.0.0"
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
class HopperProgram:
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
        """The number of products that XLA must compute in float32, whatever kernel it takes."""
        return sum("operand_precision={highest,highest}" in line for line in self.products())

    def multiplied_in(self) -> set[str]:
        """The precisions in which the kernels of products multiply: those of tensor cores."""
        kernels = re.split(r"\.entry ", self.assembly)[1:]
        products = [kernel for kernel in kernels if "gemm" in kernel.split("(")[0]]
        matches = (re.search(r"mma[\w.:]*\.(tf32|bf16)", kernel) for kernel in products)
        return {match[1] if match else "float32" for match in matches}

    def in_place(self) -> int:
        """The arrays that are updated in the memory that they were handed over in."""
        return len(re.findall(r"(?:may|must)-alias", self.text.splitlines()[0]))

    def step(self) -> list[str]:
        """What is executed in each step: the one command buffer of the program."""
        starts = [n for n, line in enumerate(self.thunks) if "kCommandBuffer" in line]
        assert len(starts) == 1
        start = starts[0]
        assert start == 0 or self.thunks[start - 1].strip() == "body:"  # nothing comes before it
        indents = [len(line) - len(line.lstrip()) for line in self.thunks]
        beside = [n for n in range(start + 1, len(indents)) if indents[n] == indents[start]]
        assert not beside  # nor after it; what is less indented comes after the loop, once a call
        return [
            line
            for line, indent in zip(self.thunks, indents, strict=True)
            if indent > indents[start]
        ]


def h100() -> Any:
    """The device that is compiled for."""
    configured("jax")  # on the CPU, so that the plugin is not asked for a GPU
    from jax.experimental import topologies

    topology = topologies.get_topology_desc(platform="cuda", target_config=H100, topology="1x1x1")
    return topology.devices[0]


def read_program(executable: Any, folder: Path) -> HopperProgram:
    """What is in XLA's executable, and in the folder that it has left files in."""
    (thunks,) = folder.glob("*.thunk_sequence_after_thunk_passes.txt")
    (module,) = executable.hlo_modules()
    return HopperProgram(
        text=module.to_string(),
        thunks=thunks.read_text().splitlines(),
        assembly="".join(path.read_text() for path in folder.glob("*.ptx")),
        temporary_bytes=executable.get_compiled_memory_stats().temp_size_in_bytes,
    )


def compiled_by_jax(program: Program, folder: Path) -> HopperProgram:
    """The program of a function under `jax.jit`, for the shapes of its arguments."""
    device = h100()
    import jax

    sharding = jax.sharding.SingleDeviceSharding(device)

    def shape_of(argument: Any) -> Any:
        if isinstance(argument, int):  # a static argument
            return argument
        return jax.ShapeDtypeStruct(argument.shape, argument.dtype, sharding=sharding)

    lowered = program.function.lower(*jax.tree.map(shape_of, program.arguments))
    compiled = lowered.compile(UNTUNED | {"xla_dump_to": str(folder)})
    return read_program(compiled.runtime_executable(), folder)


def compiled_for_tensorflow(program: Program, folder: Path) -> HopperProgram:
    """The program of a `tf.function` with XLA, by JAX's version of XLA."""
    device = h100()
    from jax._src.compiler import get_compile_options
    from jax._src.interpreters import mlir
    from jax._src.lib import xla_client
    from jax._src.lib.mlir import ir

    hlo = program.function.experimental_get_compiler_ir(*program.arguments)(stage="hlo_serialized")
    options = get_compile_options(
        num_replicas=1,
        num_partitions=1,
        device_assignment=np.array([[0]]),
        env_options_overrides=UNTUNED | {"xla_dump_to": str(folder)},
    )
    with mlir.make_ir_context():
        module = ir.Module.parse(xla_client._xla.mlir.hlo_to_stablehlo(hlo))
        # StableHLO has no copies. They are TensorFlow's of what it returns; XLA decides anew.
        text = module.operation.get_asm(print_generic_op_form=True)
        module = ir.Module.parse(text.replace("mhlo.copy", "stablehlo.reshape"))
        executable = device.client.compile(module, xla_client.DeviceList((device,)), options)
    return read_program(executable, folder)


ROWS = np.zeros((STEPS_PER_CALL, BATCH_SIZE), np.int32)


def program_of(name: str, mode: str, precision: str, mutant: ModuleType | None = None) -> Program:
    """The program that a mode, or a floor, compiles for one call."""
    module, execution = set_up(name, mode, precision, STEPS_PER_CALL)
    execution = replace(execution, device="gpu")
    if mode == FLOOR:
        libraries = dict.fromkeys(product_names(NETWORK), "xla")
        execution = replace(execution, products=libraries)
    training_set = TrainingSet(
        images=np.zeros((IMAGES, 784), np.float32), labels=np.zeros(IMAGES, np.int32)
    )
    training = Training(
        network=NETWORK,
        adam=Adam(),
        training_set=training_set,
        start=initial_parameters(NETWORK, 0),
    )
    if mode == FLOOR:
        floor: Floor = module.Floor(training, BATCH_SIZE, execution)
        return floor.program(ROWS)
    trainer: Trainer = (mutant or module).TRAINERS[mode](training, execution)
    return trainer.program(ROWS if BACKENDS[name].modes[mode].many_steps else ROWS[0])


def for_h100(name: str, mode: str, precision: str, folder: Path) -> HopperProgram:
    """The program of a mode, or a floor, for an H100."""
    compiled = {"jax": compiled_by_jax, "tensorflow": compiled_for_tensorflow}[name]
    return compiled(program_of(name, mode, precision), folder)


# Weights, biases, two moments of each and the step count; of a floor, weights, moments, step count
# and labels.
STATE = {
    ("jax", "compiled"): 19,
    ("jax", "scan"): 19,
    ("jax", "handwritten"): 19,
    ("jax", FLOOR): 11,
    ("tensorflow", "compiled"): 19,
    ("tensorflow", "xla-loop"): 19,
    ("tensorflow", "handwritten"): 19,
    ("tensorflow", FLOOR): 11,
}


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
@pytest.mark.parametrize(("name", "mode"), STATE)
def test_a_step_on_an_h100(name: str, mode: str, precision: str, tmp_path: Path) -> None:
    program = for_h100(name, mode, precision, tmp_path)
    assert len(program.products()) == PRODUCTS
    in_bfloat16 = precision == "bfloat16"
    assert program.factors() == {"bf16" if in_bfloat16 else "f32": 2 * PRODUCTS}
    if precision == "float32":
        assert program.kept_out() == PRODUCTS
    assert program.in_place() == STATE[name, mode]
    # Activations and gradients have 5 MB, the training set 31 MB.
    assert program.temporary_bytes < 10e6
    one_step = mode == "compiled"
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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "in_place", "a_turn"), [("compiled-undonated", 0, 1), ("scan-unrolled", 19, 5)]
)
def test_other_rungs_compile_for_an_h100(
    mode: str, in_place: int, a_turn: int, tmp_path: Path
) -> None:
    """Each step has its products in float32, and all kernels of a turn are one CUDA graph."""
    program = for_h100("jax", mode, "float32", tmp_path)
    assert len(program.products()) == program.kept_out() == PRODUCTS * a_turn
    assert program.in_place() == in_place
    assert sum("gemm" in line for line in program.step()) == PRODUCTS * a_turn
    if a_turn > 1:
        assert trip_counts(program.text) == [str(STEPS_PER_CALL // a_turn)]


WHOLE_CALL = """
import sys
from pathlib import Path
from tests.backends.test_gpu_programs import for_h100

folder = Path(sys.argv[2])
program = for_h100("jax", sys.argv[1], "float32", folder)
print(len(program.products()), program.in_place(), program.kept_out(), program.temporary_bytes)
print("\\n".join(program.thunks))
"""


def whole_call(mode: str, flags: str, folder: Path) -> tuple[list[int], list[str]]:
    """Figures of a mode's program that is compiled with these flags of XLA, and its thunks.

    XLA reads its flags once a process.
    """
    done = subprocess.run(
        [sys.executable, "-c", WHOLE_CALL, mode, str(folder)], cwd=ROOT, check=False,
        env=os.environ | {"XLA_FLAGS": flags}, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        pytest.fail(done.stderr[-2000:])
    first, *thunks = [line for line in done.stdout.splitlines() if line.strip()]
    return [int(number) for number in first.split()], thunks


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["scan-graph", "scan-graph-unrolled", "handwritten-graph"])
def test_a_whole_call_is_one_graph_on_an_h100(mode: str, tmp_path: Path) -> None:
    """What begins in the first column is what the host launches."""
    flags = BACKENDS["jax"].modes[mode].environment["XLA_FLAGS"]
    (products, in_place, kept_out, temporary), thunks = whole_call(mode, flags, tmp_path)
    assert (products, in_place, kept_out) == (PRODUCTS, 19, PRODUCTS)
    assert temporary < 10e6
    assert "kCommandBuffer" in thunks[0]
    assert [line for line in thunks[1:] if line[0].isdigit()] == []
    assert sum("kWhile" in line for line in thunks) == 1
    assert sum("kCommandBuffer" in line for line in thunks) == 1


# That this can fail.


@pytest.mark.slow
def test_a_loop_that_stays_outside_the_graph_is_noticed(tmp_path: Path) -> None:
    _, thunks = whole_call("scan-graph", "--xla_gpu_graph_min_graph_size=1", tmp_path)
    assert [line for line in thunks[1:] if line[0].isdigit()] != []


def test_the_precision_that_jax_takes_unasked_is_noticed(tmp_path: Path) -> None:
    untold = program_of("jax", "scan", "float32")
    import jax

    jax.config.update("jax_default_matmul_precision", None)
    program = compiled_by_jax(untold, tmp_path)
    assert program.kept_out() == 0
    assert program.multiplied_in() == {"tf32"}


def test_arrays_that_are_not_updated_in_place_are_noticed(tmp_path: Path) -> None:
    donating = program_of("jax", "scan", "float32")
    import jax

    copying = donating._replace(function=jax.jit(donating.function.__wrapped__))
    assert compiled_by_jax(copying, tmp_path).in_place() == 0


def test_a_step_that_asks_the_host_is_noticed(tmp_path: Path) -> None:
    """The loop of this step goes on or ends by a result on the GPU, which the host must read."""
    asking = "jax.lax.while_loop(lambda x: x > 1e3, lambda x: x / 2, loss)"
    edits = [("updates), adam), loss", f"updates), adam), {asking}")]
    module = edited("jax", edits, tmp_path / "source")
    program = compiled_by_jax(program_of("jax", "scan", "float32", module), tmp_path)
    with pytest.raises(AssertionError):
        program.step()
