"""TensorFlow's ladder."""

from backends.contract import EPSILON_HAT, TEXTBOOK
from backends.ladder import EXPERT, LIMIT, RESIDENT, STREAMED, TAUGHT, Backend, Mode

TENSORFLOW = Backend(
    name="tensorflow",
    title="TensorFlow/Keras",
    module="backends.tensorflow.backend",
    packages=("tensorflow", "keras"),
    distributions=("tensorflow", "keras"),
    modes={
        "eager": Mode(
            tier=TAUGHT,
            about="operation by operation, with a gradient tape",
            source="https://keras.io/guides/writing_a_custom_training_loop_in_tensorflow/",
        ),
        "graph": Mode(
            tier=TAUGHT,
            about="one step as a tf.function",
            below="eager",
            change="the step as a tf.function",
            source="https://www.tensorflow.org/guide/function",
            stands=True,
        ),
        "compiled": Mode(
            tier=EXPERT,
            about="one step as a tf.function with XLA",
            below="graph",
            change="the function compiled by XLA",
            source="https://openxla.org/xla/tf2xla/tutorials/jit_compile",
            stands=True,
        ),
        "xla-loop": Mode(
            tier=LIMIT,
            about="many steps in one XLA program, with the loop inside it",
            below="compiled",
            change="the loop over steps inside the program",
            source="https://www.tensorflow.org/api_docs/python/tf/while_loop",
            stands=True,
            inputs=RESIDENT,
            many_steps=True,
        ),
        "keras-fit-xla": Mode(
            tier=EXPERT,
            about="Keras' own loop, with XLA and several steps an execution",
            source="https://keras.io/guides/training_with_built_in_methods/",
            inputs=STREAMED,  # Keras' loop takes its batches from tf.data, which runs on the host.
            many_steps=True,
        ),
    },
    renamed={"multistep": "xla-loop", "fit": "keras-fit-xla"},
    adam_forms=(TEXTBOOK, EPSILON_HAT),
)
