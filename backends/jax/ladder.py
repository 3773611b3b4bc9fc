"""JAX's ladder."""

from backends.ladder import EXPERT, LIMIT, RESIDENT, STREAMED, TAUGHT, Backend, Mode

PERFORMANCE = "https://flax.readthedocs.io/en/latest/guides/performance.html"
JIT = "https://docs.jax.dev/en/latest/jit-compilation.html"
SCAN = "https://docs.jax.dev/en/latest/_autosummary/jax.lax.scan.html"
GRAPHS = "https://docs.nvidia.com/jax-toolbox/performance-profiling/gpu-performance"

ONE_GRAPH = "--xla_gpu_enable_command_buffer=+WHILE --xla_gpu_graph_min_graph_size=1"
"""XLA puts the loop too into a CUDA graph, which it calls a command buffer. The loop is one command
of the few around it; with the usual least size of five, nothing would be in a graph any more."""
UNROLLED = "--xla_gpu_command_buffer_unroll_loops=true"
"""XLA lays the turns of a loop one after another in the graph, where their number is known."""

JAX = Backend(
    name="jax",
    title="JAX/Flax",
    module="backends.jax.backend",
    packages=("jax", "flax", "optax"),
    distributions=("jax", "jaxlib", "jax-cuda13-plugin", "flax", "optax", "keras"),
    modes={
        "nnx": Mode(
            tier=TAUGHT,
            about="Flax's MNIST tutorial: nnx.jit, nnx.Optimizer, metrics, batches from NumPy",
            source="https://flax.readthedocs.io/en/latest/mnist_tutorial.html",
            stands=True,
            inputs=STREAMED,
        ),
        "nnx-resident": Mode(
            tier=TAUGHT,
            about="the tutorial's step on batches that it gathers itself",
            below="nnx",
            change="the training set on the device, the batch gathered inside the step",
            source="https://docs.jax.dev/en/latest/async_dispatch.html",
            inputs=RESIDENT,
        ),
        "nnx-bare": Mode(
            tier=TAUGHT,
            about="the tutorial's step without its metrics",
            below="nnx-resident",
            change="no metrics",
            source="https://flax.readthedocs.io/en/latest/api_reference/flax.nnx/training/metrics.html",
            inputs=RESIDENT,
        ),
        "nnx-cached": Mode(
            tier=EXPERT,
            about="nnx.jit, the walk over its objects cached",
            below="nnx-bare",
            change="nnx.cached_partial around the step",
            source=f"{PERFORMANCE}#caching-graph-node-traversals",
            inputs=RESIDENT,
        ),
        "nnx-split": Mode(
            tier=EXPERT,
            about="one step under jax.jit, of the objects' state",
            below="nnx-bare",
            change="nnx.split once, nnx.merge inside jax.jit",
            source=f"{PERFORMANCE}#functional-training-loop",
            inputs=RESIDENT,
        ),
        "compiled-undonated": Mode(
            tier=EXPERT,
            about="one step under jax.jit, of plain arrays",
            below="nnx-split",
            change="plain arrays and Optax instead of the state of NNX's objects",
            source=JIT,
            inputs=RESIDENT,
        ),
        "compiled": Mode(
            tier=EXPERT,
            about="one step under jax.jit, its state donated",
            below="compiled-undonated",
            change="the state donated",
            source="https://docs.jax.dev/en/latest/buffer_donation.html",
            stands=True,
        ),
        "compiled-ahead": Mode(
            tier=EXPERT,
            about="the same, compiled ahead of time",
            below="compiled",
            change="lower() and compile() before the first call",
            source="https://docs.jax.dev/en/latest/aot.html",
            inputs=RESIDENT,
        ),
        "eager": Mode(
            tier=TAUGHT,
            about="operation by operation, each dispatched to XLA by itself",
            below="compiled-undonated",
            change="no jax.jit",
            source=JIT,
            inputs=RESIDENT,
        ),
        "scan": Mode(
            tier=LIMIT,
            about="many steps in one program, by jax.lax.scan",
            below="compiled",
            change="the loop over steps inside the program",
            source=SCAN,
            inputs=RESIDENT,
            many_steps=True,
        ),
        "scan-unrolled": Mode(
            tier=LIMIT,
            about="many steps in one program, five in each turn of its loop",
            below="scan",
            change="unroll=5",
            source=SCAN,
            inputs=RESIDENT,
            many_steps=True,
        ),
        "scan-graph": Mode(
            tier=LIMIT,
            about="many steps in one program, its loop in one CUDA graph",
            below="scan",
            change="the loop in one CUDA graph with the steps, by XLA's command buffers",
            source=GRAPHS,
            private="XLA's flags for command buffers",
            inputs=RESIDENT,
            devices=("gpu",),
            many_steps=True,
            environment={"XLA_FLAGS": ONE_GRAPH},
        ),
        "scan-graph-unrolled": Mode(
            tier=LIMIT,
            about="many steps in one program, one after another in one CUDA graph",
            below="scan-graph",
            change="no loop in the graph: its turns one after another",
            source=GRAPHS,
            private="XLA's flags for command buffers",
            inputs=RESIDENT,
            devices=("gpu",),
            many_steps=True,
            environment={"XLA_FLAGS": f"{ONE_GRAPH} {UNROLLED}"},
        ),
        "handwritten": Mode(
            tier=LIMIT,
            about="many steps in one program, loss, derivative and Adam by hand",
            below="scan",
            change="loss, derivative and Adam by hand",
            source="https://docs.jax.dev/en/latest/_autosummary/jax.lax.optimization_barrier.html",
            stands=True,
            inputs=RESIDENT,
            many_steps=True,
        ),
        "handwritten-graph": Mode(
            tier=LIMIT,
            about="loss, derivative and Adam by hand, many steps in one CUDA graph",
            below="handwritten",
            change="the steps one after another in one CUDA graph",
            source=GRAPHS,
            private="XLA's flags for command buffers",
            inputs=RESIDENT,
            devices=("gpu",),
            many_steps=True,
            environment={"XLA_FLAGS": f"{ONE_GRAPH} {UNROLLED}"},
        ),
        "keras-fit": Mode(
            tier=TAUGHT,
            about="Keras' own loop on JAX, as TensorFlow's quickstart for beginners calls it",
            source="https://keras.io/getting_started/intro_to_keras_for_engineers/",
            inputs=STREAMED,
            packages=("keras",),
            environment={"KERAS_BACKEND": "jax"},
        ),
    },
    group_modes={
        "sharded": Mode(
            tier=TAUGHT,
            about="a jitted step whose batch is sharded over the ranks, by NamedSharding",
            source="https://docs.jax.dev/en/latest/sharded-computation.html",
            stands=True,
            inputs=RESIDENT,
        ),
        "shard-map": Mode(
            tier=LIMIT,
            about="many steps in one shard_map, by hand, with one psum of all gradients a step",
            below="sharded",
            change="shard_map, derivative and Adam by hand, one psum, the loop in the program",
            source="https://docs.jax.dev/en/latest/notebooks/shard_map.html",
            stands=True,
            inputs=RESIDENT,
            many_steps=True,
        ),
    },
    renamed={"multistep": "scan"},
)
