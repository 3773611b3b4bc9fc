"""The least that a step can be in PyTorch."""

from collections.abc import Callable
from functools import cached_property, partial

import torch
from torch import Tensor

from backends import contract, floors
from backends.contract import Array, Execution, Training
from backends.floors import ADAM, GATHER, REPEATS, Candidate, Piece
from backends.pytorch import graphs, products
from backends.pytorch.adam import update_by_kernel

KERNELS = "pytorch"

Matrices = dict[str, Tensor]


class Floor(floors.Floor):
    """One call for each product, each by its own library, and one for Adam over all weights.

    On a GPU many steps are one CUDA graph, so that no launch counts; `graphed` says so.
    """

    def __init__(self, training: Training, batch_size: int, execution: Execution) -> None:
        self._steps_per_call, self.repeats = execution.steps_per_call, REPEATS[execution.device]
        self._device = torch.device("cuda" if execution.device == "gpu" else "cpu")
        self.graphed = self._device.type == "cuda"
        self._network, self._adam = training.network, training.adam
        dtype = getattr(torch, execution.product_type)
        self._images = torch.from_numpy(training.training_set.images).to(self._device, dtype)
        self._labels = torch.from_numpy(training.training_set.labels).to(self._device)
        self._batch_labels = self._labels.new_empty(batch_size)
        # Weights, both moments and gradients, each in one row, so that Adam makes one pass.
        flat = torch.cat([torch.from_numpy(w.T.reshape(-1)) for w, _ in training.start])
        weights = flat.to(self._device, getattr(torch, execution.stored))
        gradients = torch.zeros_like(weights, dtype=dtype)
        self._state = [weights, torch.zeros_like(weights), torch.zeros_like(weights)]
        self._gradients = gradients
        self._steps = torch.zeros((), device=self._device)
        # In bfloat16, products take copies of the weights.
        self._factors = weights if weights.dtype == dtype else torch.zeros_like(gradients)
        on_cpu_in_float32 = not self.graphed and dtype == torch.float32
        self._libraries = products.PRIVATE if on_cpu_in_float32 else products.blas_on(self._device)
        self._products = execution.products or (
            dict.fromkeys(contract.product_names(self._network), next(iter(self._libraries)))
            if self.graphed  # where there is one library, and a launch says nothing of its product
            else products.choose(
                self._network, batch_size, self._libraries, gradients, self._sequence_of
            )
        )
        products.check(self._products, self._network, self._libraries)
        self._matrices, self._calls = self._step_of(self._products)
        self._graphs: dict[int, tuple[torch.cuda.CUDAGraph, Tensor]] = {}

    def _views(self, flat: Tensor) -> list[Tensor]:
        """The weights' parts of a flat tensor, as (outputs, inputs)."""
        shapes = floors.weight_shapes(self._network)
        parts = flat.split([n * m for n, m in shapes])
        return [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]

    def _step_of(self, libraries: dict[str, str]) -> tuple[Matrices, dict[str, Callable[[], None]]]:
        """The matrices of a step, and the call that makes each of its products."""
        step = floors.products(self._network)
        library_of = {product.result: libraries[product.name] for product in step}
        matrices = {
            name: products.empty(*shape, library_of.get(name, ""), self._gradients).zero_()
            for name, shape in floors.shapes(self._network, len(self._batch_labels)).items()
        }
        views = zip(self._views(self._factors), self._views(self._gradients), strict=True)
        for layer, (weight, gradient) in enumerate(views, start=1):
            matrices |= {f"weight {layer}": weight, f"gradient {layer}": gradient}
        return matrices, {
            product.name: partial(
                self._multiply,
                products.function_of(libraries[product.name], self._libraries),
                matrices,
                *product[1:],
            )
            for product in step
        }

    def _sequence_of(self, libraries: dict[str, str]) -> Callable[[], None]:
        """A call of all products."""
        calls = self._step_of(libraries)[1].values()

        def sequence() -> None:
            for call in calls:
                call()

        return sequence

    @staticmethod
    def _multiply(
        multiply: products.Multiply,
        matrices: Matrices,
        left: floors.Factor,
        right: floors.Factor,
        result: str,
    ) -> None:
        a, b = matrices[left.matrix], matrices[right.matrix]
        out = matrices[result]
        product = multiply(a.T if left.transposed else a, b.T if right.transposed else b, out)
        if product.data_ptr() == out.data_ptr():
            return
        # oneDNN writes into memory of its own; a gradient must lie where Adam passes over it.
        if result.startswith("gradient"):
            out.copy_(product)
        else:
            matrices[result] = product

    @torch.no_grad()
    def train(self, rows: Array) -> None:
        for part in contract.calls(torch.from_numpy(rows).to(self._device), self._steps_per_call):
            if self.graphed:
                self._replay(part)
            else:
                self._train(part)

    def _replay(self, rows: Tensor) -> None:
        steps = len(rows)
        if steps not in self._graphs:
            kept, state = rows.clone(), [*self._state, self._steps]
            self._graphs[steps] = graphs.capture(partial(self._train, kept), state)[0], kept
        graph, kept = self._graphs[steps]
        kept.copy_(rows)
        graph.replay()

    def _train(self, rows: Tensor) -> None:
        for batch in rows:
            self._gather(batch)
            if self._factors is not self._state[0]:
                self._factors.copy_(self._state[0])
            for call in self._calls.values():
                call()
            self._pass()

    def _gather(self, batch: Tensor) -> None:
        torch.index_select(self._images, 0, batch, out=self._matrices["outputs 0"])
        torch.index_select(self._labels, 0, batch, out=self._batch_labels)

    def update(self) -> None:
        self._repeated_pass()

    @cached_property
    def _repeated_pass(self) -> Callable[[], object]:
        return self._repeated(self._pass)

    @torch.no_grad()
    def _pass(self) -> None:
        weights, first_moments, second_moments = self._state
        gradients = self._gradients.to(weights.dtype)
        update_by_kernel(self._adam, weights, gradients, first_moments, second_moments, self._steps)

    def synchronise(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize()

    def products(self) -> dict[str, str]:
        return self._products

    def pieces(self) -> list[Piece]:
        names = list(self._products)
        rows = torch.arange(len(self._batch_labels), device=self._device) % len(self._labels)
        calls: dict[tuple[str, str], Callable[[], None]] = {
            (GATHER, KERNELS): partial(self._gather, rows.to(torch.int32)),
        }
        # As the step has them, and with every library for all.
        choices = [dict.fromkeys(names, one) for one in products.names_of(self._libraries)]
        for choice in (*choices, self._products):
            calls |= {(name, choice[name]): call for name, call in self._step_of(choice)[1].items()}
        candidates = [Candidate(*key, self._repeated(call)) for key, call in calls.items()]
        candidates.append(Candidate(ADAM, KERNELS, self.update))
        timed = floors.time_candidates(candidates, self.synchronise, self.repeats)
        return floors.marked(timed, self._products | {ADAM: KERNELS, GATHER: KERNELS})

    def _repeated(self, call: Callable[[], None]) -> Callable[[], object]:
        """A call that repeats another, on a GPU as one CUDA graph."""

        @torch.no_grad()
        def repeat() -> None:
            for _ in range(self.repeats):
                call()

        if not self.graphed:
            return repeat
        return graphs.capture(repeat, [*self._state, self._steps])[0].replay

    def square(self, size: int) -> Tensor:
        return torch.ones(size, size, dtype=self._images.dtype, device=self._device)

    def multiply(self, matrix: Tensor) -> None:
        library = next(iter(self._products.values()))
        products.function_of(library, self._libraries)(matrix, matrix, torch.empty_like(matrix))

    def arrays(self) -> list[list[Array]]:
        return [[v.T.numpy(force=True) for v in self._views(flat)] for flat in self._state]

    def labels(self) -> Array:
        return self._batch_labels.numpy(force=True)

    def device(self) -> str:
        return "gpu" if self._batch_labels.is_cuda else "cpu"
