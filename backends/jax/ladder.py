"""JAX's ladder."""

from backends.ladder import EXPERT, LIMIT, RESIDENT, STREAMED, TAUGHT, Backend, Mode

JAX = Backend(
    name="jax",
    title="JAX/Flax",
    module="backends.jax.backend",
    packages=("jax", "flax", "optax"),
    distributions=("jax", "jaxlib", "jax-cuda13-plugin", "flax", "optax", "keras"),
    modes={
        "eager": Mode(
            tier=TAUGHT,
            about="operation by operation, each dispatched to XLA by itself",
            source="https://flax.readthedocs.io/en/latest/mnist_tutorial.html",
            stands=True,
        ),
        "keras-fit": Mode(
            tier=TAUGHT,
            about="Keras' own loop on JAX, as TensorFlow's quickstart for beginners calls it",
            source="https://keras.io/getting_started/intro_to_keras_for_engineers/",
            inputs=STREAMED,
            packages=("keras",),
            environment={"KERAS_BACKEND": "jax"},
        ),
        "compiled": Mode(
            tier=EXPERT,
            about="one step under jax.jit, its state donated",
            below="eager",
            change="the step under jax.jit, its state donated",
            source="https://docs.jax.dev/en/latest/jit-compilation.html",
            stands=True,
        ),
        "scan": Mode(
            tier=LIMIT,
            about="many steps in one program, by jax.lax.scan",
            below="compiled",
            change="many steps in one program, by jax.lax.scan",
            source="https://docs.jax.dev/en/latest/_autosummary/jax.lax.scan.html",
            stands=True,
            inputs=RESIDENT,
            many_steps=True,
        ),
    },
    renamed={"multistep": "scan"},
)
