"""What torch.compile generates for an H100, read and compiled by Triton without having one."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from backends.contract import Adam, Network, Training, TrainingSet
from benchmarks.plan.workload import initial_parameters
from tests.conftest import set_up
from tests.support.inductor import Generated, compiled_for_h100

pytestmark = pytest.mark.skipif(
    not find_spec("triton"), reason="Triton is not installed: pip install triton"
)
NETWORK = Network(layer_sizes=(784, 512, 512, 10))
PRODUCTS = 8  # three forward, three for the weights, two for the inputs of layers
BATCH_SIZE, IMAGES = 128, 10_000


def one_graph(precision: str, change: Any = None) -> Generated:
    """The program of loss and derivative, as `one-graph` and `cuda-graph` compile it."""
    import torch

    module, execution = set_up("pytorch", "one-graph", precision)
    images = np.zeros((IMAGES, 784), np.float32)
    training = Training(
        network=NETWORK,
        adam=Adam(),
        training_set=TrainingSet(images=images, labels=np.zeros(IMAGES, np.int32)),
        start=initial_parameters(NETWORK, 0),
    )
    trainer = module.TRAINERS["one-graph"](training, execution)
    kind, values = type(trainer), trainer._values

    def program(images: Any, labels: Any, rows: Any, *weights: Any) -> list[Any]:
        trainer._images, trainer._labels = change(images) if change else images, labels
        trainer._values = dict(zip(values, weights, strict=True))
        loss, gradients = kind._loss_and_gradients(trainer, rows)
        return [loss, *gradients]

    given = [(tuple(data.shape), data.dtype) for data in (trainer._images, trainer._labels)]
    rows = ((BATCH_SIZE,), torch.int64)
    weights = [(tuple(value.shape), value.dtype) for value in values.values()]
    return compiled_for_h100(program, [*given, rows, *weights])


# The gather, biases and ReLUs, the loss, its derivative, and sums over the batch; in bfloat16 also
# what rounds the batch and the parameters, and turns gradients back.
@pytest.mark.parametrize(("precision", "others"), [("float32", 10), ("bfloat16", 19)])
def test_a_compiled_step_on_an_h100(precision: str, others: int) -> None:
    """Products by cuBLAS, none by a kernel of Triton's, and little else to launch."""
    step = one_graph(precision)
    assert len(step.products) == PRODUCTS
    assert {name.split(".")[1] for name in step.products} <= {"mm", "addmm"}
    assert len(step.launches) - PRODUCTS == others
    assert all(".target sm_90" in kernel for kernel in step.assembly.values())
    assert not any("mma" in kernel for kernel in step.assembly.values())


def test_what_a_step_launches_besides_is_noticed() -> None:
    step = one_graph("float32", lambda images: images - images.mean())
    assert len(step.launches) - PRODUCTS > 10


MOST = {"lose": 3, "mask": 2}


@pytest.mark.parametrize("name", MOST)
def test_what_lies_between_products_by_hand(name: str) -> None:
    import torch

    set_up("pytorch", "handwritten", "float32")
    from backends.pytorch import graphed

    batch = ((BATCH_SIZE, 10), torch.float32)
    lose = [batch, ((IMAGES, 10), torch.float32), ((BATCH_SIZE,), torch.int64), batch,
            ((10,), torch.float32)]  # fmt: skip
    hidden = ((BATCH_SIZE, 512), torch.float32)

    def loss(logits: Any, shares: Any, rows: Any, delta: Any, of_bias: Any) -> list[Any]:
        return [graphed.lose(logits, shares, rows, 1 / BATCH_SIZE, delta, of_bias)]

    def mask(*given: Any) -> list[Any]:
        graphed.mask(*given)
        return []

    made = compiled_for_h100(
        *((loss, lose) if name == "lose" else (mask, [hidden, hidden, ((512,), torch.float32)]))
    )
    # Sums over the batch take two, since a row of blocks cannot wait for another.
    assert len(made.launches) <= MOST[name]
    assert not made.products
