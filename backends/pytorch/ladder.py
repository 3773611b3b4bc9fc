"""PyTorch's ladder."""

from backends.ladder import EXPERT, LIMIT, RESIDENT, STREAMED, TAUGHT, Backend, Mode

PYTORCH = Backend(
    name="pytorch",
    title="PyTorch",
    module="backends.pytorch.backend",
    packages=("torch",),
    distributions=("torch", "keras"),
    modes={
        "eager": Mode(
            tier=TAUGHT,
            about="operation by operation, batches indexed from tensors",
            source="https://docs.pytorch.org/tutorials/beginner/basics/optimization_tutorial.html",
            stands=True,
        ),
        "keras-fit": Mode(
            tier=TAUGHT,
            about="Keras' own loop on PyTorch, as TensorFlow's quickstart for beginners calls it",
            source="https://keras.io/getting_started/intro_to_keras_for_engineers/",
            inputs=STREAMED,
            packages=("keras",),
            environment={"KERAS_BACKEND": "torch"},
        ),
        "compiled": Mode(
            tier=EXPERT,
            about="model and loss by torch.compile, fused Adam",
            below="eager",
            change="model and loss by torch.compile, fused Adam",
            source="https://docs.pytorch.org/tutorials/intermediate/torch_compile_tutorial.html",
            stands=True,
        ),
        "onednn": Mode(
            tier=LIMIT,
            about="gather, loss and derivative in one graph, products by oneDNN",
            below="compiled",
            change="gather and derivative in the graph, products by oneDNN",
            stands=True,
            private="torch.ops.mkldnn._linear_pointwise",
            inputs=RESIDENT,
            devices=("cpu",),
        ),
        "cuda-graph": Mode(
            tier=LIMIT,
            about="gather, loss and derivative in one graph, many steps in one CUDA graph",
            below="compiled",
            change="gather and derivative in the graph, many steps in one CUDA graph",
            source="https://docs.pytorch.org/docs/stable/notes/cuda.html",
            stands=True,
            inputs=RESIDENT,
            devices=("gpu",),
            many_steps=True,
        ),
    },
    renamed={"multistep": "onednn (on a GPU: cuda-graph)"},
)
