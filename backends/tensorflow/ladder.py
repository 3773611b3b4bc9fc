"""TensorFlow's ladder."""

from backends.contract import EPSILON_HAT, TEXTBOOK
from backends.ladder import EXPERT, LIMIT, RESIDENT, STREAMED, TAUGHT, Backend, Mode

INTER_OP = "TF_NUM_INTEROP_THREADS"
"""Environment variable with the threads that run a graph's operations beside one another."""
ASYNCHRONOUS = ("compiled-async", "compiled-concrete", "compiled-one-pool")
"""The modes whose calls return before the work is done."""

QUICKSTART = "https://www.tensorflow.org/tutorials/quickstart"
KERAS = "https://keras.io/api/models/model_training_apis/"
API = "https://www.tensorflow.org/api_docs/python/tf"
XLA = "https://openxla.org/xla/tf2xla/tutorials/jit_compile"

TENSORFLOW = Backend(
    name="tensorflow",
    title="TensorFlow/Keras",
    module="backends.tensorflow.backend",
    packages=("tensorflow", "keras"),
    distributions=("tensorflow", "keras"),
    modes={
        "keras-fit": Mode(
            tier=TAUGHT,
            about="Keras' own loop, as the quickstart for beginners calls it",
            source=f"{QUICKSTART}/beginner",
            stands=True,
            inputs=STREAMED,  # Keras' loop takes its batches from tf.data, which runs on the host.
        ),
        "keras-fit-jit": Mode(
            tier=EXPERT,
            about="Keras' own loop, its step compiled by XLA",
            below="keras-fit",
            change="jit_compile=True",
            source=f"{KERAS}#compile-method",
            inputs=STREAMED,
        ),
        "keras-fit-xla": Mode(
            tier=EXPERT,
            about="Keras' own loop, with XLA and many steps an execution",
            below="keras-fit-jit",
            change="steps_per_execution=50",
            source=f"{KERAS}#compile-method",
            inputs=STREAMED,
            many_steps=True,
        ),
        "train-on-batch": Mode(
            tier=TAUGHT,
            about="Keras' own step, called for each batch",
            below="keras-fit",
            change="Model.train_on_batch in a loop instead of Model.fit",
            source=f"{KERAS}#trainonbatch-method",
            inputs=STREAMED,
        ),
        "function": Mode(
            tier=TAUGHT,
            about="a gradient tape in a tf.function, as the quickstart for experts writes it",
            below="keras-fit",
            change="a tf.function with a gradient tape instead of Model.fit, and its loader",
            source=f"{QUICKSTART}/advanced",
            inputs=STREAMED,
        ),
        "function-pipelined": Mode(
            tier=EXPERT,
            about="the tf.function, its batches gathered at once and prefetched",
            below="function",
            change="batches gathered at once and prefetched",
            source="https://www.tensorflow.org/guide/data_performance",
            inputs=STREAMED,
        ),
        "function-resident": Mode(
            tier=EXPERT,
            about="the tf.function, which gathers its batch from tensors in memory",
            below="function-pipelined",
            change="the batch gathered inside the function, from tensors in memory",
            source=f"{API}/gather",
            inputs=RESIDENT,
        ),
        "graph": Mode(
            tier=EXPERT,
            about="one step as a tf.function that returns its loss",
            below="function-resident",
            change="no metrics: the step returns its loss",
            source="https://www.tensorflow.org/guide/function",
        ),
        "eager": Mode(
            tier=TAUGHT,
            about="operation by operation, with a gradient tape",
            below="graph",
            change="without tf.function",
            source="https://keras.io/guides/writing_a_custom_training_loop_in_tensorflow/",
        ),
        "graph-loop": Mode(
            tier=LIMIT,
            about="many steps in one graph, products by oneDNN",
            below="graph",
            change="the loop over steps inside the function",
            source=f"{API}/while_loop",
            inputs=RESIDENT,
            many_steps=True,
        ),
        "compiled": Mode(
            tier=EXPERT,
            about="one step as a tf.function with XLA",
            below="graph",
            change="jit_compile=True",
            source=XLA,
            stands=True,
        ),
        "compiled-async": Mode(
            tier=LIMIT,
            about="one step as a tf.function with XLA, whose calls return before it is done",
            below="compiled",
            change="asynchronous execution",
            source=f"{API}/config/experimental/set_synchronous_execution",
            inputs=RESIDENT,
        ),
        "compiled-concrete": Mode(
            tier=LIMIT,
            about="the same, called as a concrete function",
            below="compiled-async",
            change="the concrete function called instead of the tf.function that picks it",
            source="https://www.tensorflow.org/guide/function#obtaining_concrete_functions",
            inputs=RESIDENT,
        ),
        "compiled-one-pool": Mode(
            tier=LIMIT,
            about="the same, with one thread between operations",
            below="compiled-concrete",
            change="one inter-op thread",
            source=f"{API}/config/threading/set_inter_op_parallelism_threads",
            inputs=RESIDENT,
            environment={INTER_OP: "1"},
        ),
        "xla-loop": Mode(
            tier=LIMIT,
            about="many steps in one XLA program, with the loop inside it",
            below="compiled",
            change="the loop over steps inside the program",
            source="https://www.tensorflow.org/guide/tpu",
            inputs=RESIDENT,
            many_steps=True,
        ),
        "handwritten": Mode(
            tier=LIMIT,
            about="many steps in one XLA program, the derivative and Adam by hand",
            below="xla-loop",
            change="derivative and Adam by hand, the last weight turned round",
            source="https://openxla.org/xla/tf2xla",
            stands=True,
            inputs=RESIDENT,
            many_steps=True,
        ),
        "handwritten-private": Mode(
            tier=LIMIT,
            about="derivative and Adam by hand, layers' inputs transposed behind XLA's barrier",
            below="handwritten",
            change="layers' inputs written to memory transposed, behind a private barrier",
            private="tensorflow.compiler.tf2xla.ops.gen_xla_ops.xla_optimization_barrier",
            inputs=RESIDENT,
            many_steps=True,
        ),
    },
    group_modes={
        "multi-worker": Mode(
            tier=TAUGHT,
            about="a gradient tape in MultiWorkerMirroredStrategy",
            source="https://www.tensorflow.org/tutorials/distribute/multi_worker_with_ctl",
            stands=True,
            inputs=RESIDENT,
        ),
        "multi-worker-flat": Mode(
            tier=EXPERT,
            about="derivative by XLA, one all-reduce of all gradients, Adam in each rank",
            below="multi-worker",
            change="derivative by XLA, one all-reduce instead of the optimizer's",
            source=f"{API}/distribute/ReplicaContext#all_reduce",
            stands=True,
            inputs=RESIDENT,
        ),
    },
    not_in_groups={
        # Tried with Keras 3.15.1 and TensorFlow 2.21.0: "unsupported type PerReplica".
        "keras-fit": "Keras' fit fails in MultiWorkerMirroredStrategy: "
        "https://github.com/keras-team/keras/issues/20585",
    },
    renamed={"multistep": "xla-loop", "fit": "keras-fit-xla"},
    adam_forms=(TEXTBOOK, EPSILON_HAT),
)
