"""JAX's ladder."""

from backends.ladder import EXPERT, LIMIT, RESIDENT, STREAMED, TAUGHT, Backend, Mode

PERFORMANCE = "https://flax.readthedocs.io/en/latest/guides/performance.html"
JIT = "https://docs.jax.dev/en/latest/jit-compilation.html"
SCAN = "https://docs.jax.dev/en/latest/_autosummary/jax.lax.scan.html"

JAX = Backend(
    name="jax",
    title="JAX/Flax",
    module="backends.jax.backend",
    packages=("jax", "flax", "optax"),
    distributions=("jax", "jaxlib", "jax-cuda13-plugin", "flax", "optax"),
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
    },
    renamed={"multistep": "scan"},
)
