"""Mutants: backends with one thing wrong, which a certificate must notice.

A caller's mistakes are made by handing a sound trainer something wrong; all others by editing the
backend's source, so that the tests run the real code with one real mistake in it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from _pytest.mark import ParameterSet

from backends.contract import (
    Array,
    Execution,
    Parameters,
    State,
    Trainer,
    Training,
    TrainingSet,
)
from benchmarks.validation.wrong.wrapped import Wrapped
from tests.support.edited_backends import edited

Maker = Callable[[Training, Execution], Trainer]


class BatchOrderChanged(Wrapped):
    def train(self, rows: Array) -> None:
        self.sound.train(np.concatenate([rows[:1], rows[:0:-1]]))


class BatchSkipped(Wrapped):
    def train(self, rows: Array) -> None:
        self.sound.train(np.delete(rows, 4, axis=0) if len(rows) > 4 else rows)


class SquareWeightsTransposed(Wrapped):
    """On the way in, and back on the way out, where the shapes do not object."""

    @staticmethod
    def turned(state: State) -> State:
        def turn(layers: Parameters) -> Parameters:
            return [(w.T.copy() if w.shape[0] == w.shape[1] else w, b) for w, b in layers]

        return state.layers_as(turn)

    def set_state(self, state: State) -> None:
        self.sound.set_state(self.turned(state))

    def state(self) -> State:
        return self.turned(self.sound.state())


def labels_shifted(given: TrainingSet) -> TrainingSet:
    return replace(given, labels=(given.labels + 1) % 10)


def float16_inputs(given: TrainingSet) -> TrainingSet:
    return replace(given, images=given.images.astype(np.float16).astype(given.images.dtype))


TEN_STEPS = ("loss_10_steps", "parameters_10_steps")


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One mistake, and the stages of which one must be the first to show it."""

    stages: tuple[str, ...]
    adam: dict[str, float] | None = None
    """Factors on settings of the optimizer."""
    data: Callable[[TrainingSet], TrainingSet] | None = None
    wrapper: type[Wrapped] | None = None
    edits: dict[str, list[tuple[str, str]]] | None = None
    """Edits of a backend's source: {backend: [(text, its replacement)]}."""


def keras_update(update: str) -> tuple[str, str]:
    """The edit that makes `update` of what Keras' Adam does with (gradient, variable, rate)."""
    made = "super().__init__(rate, number(beta_1), number(beta_2), epsilon)\n"
    return (
        made,
        f"{made}\n        def update_step(self, gradient, variable, rate):\n            {update}\n",
    )


MUTANTS = {
    "relu left out": Mutant(
        stages=("logits",),
        edits={
            "numpy": [
                ("np.maximum(output, 0) if layer < len(parameters) else output", "output"),
                ("product(delta, weight.T) * (inputs > 0)", "product(delta, weight.T)"),
            ],
            "pytorch": [
                ("nn.ReLU()", "nn.Identity()"),
                ("output.relu_() if n < len(self._forwards) - 1 else output", "output"),
            ],
            "tensorflow": [
                ('activation="relu"', "activation=None"),
                ("tf.nn.relu(outputs[-1] @ w + b)", "outputs[-1] @ w + b"),
            ],
            "jax": [
                ("nnx.relu(layer(x))", "layer(x)"),
                ("jnp.maximum(outputs[-1] @ weight + bias, 0)", "outputs[-1] @ weight + bias"),
            ],
        },
    ),
    "square weights transposed": Mutant(stages=("logits",), wrapper=SquareWeightsTransposed),
    "labels shifted by one": Mutant(stages=("loss",), data=labels_shifted),
    # As timed, the mean over a batch may hide in float32 what its gradients cannot.
    "float16 inputs": Mutant(stages=("loss", "gradients"), data=float16_inputs),
    "mean over classes": Mutant(
        stages=("loss",),
        edits={
            "numpy": [
                ("labels].mean()", "labels].sum() / 10"),
                ("delta /= len(labels)", "delta /= 10"),
            ],
            "pytorch": [
                (
                    "(self._forward(images), labels)",
                    "(self._forward(images), labels) * len(labels) / 10",
                ),
                ("(prediction, labels)", "(prediction, labels) * len(labels) / 10"),
                ("(logits, self._labels[rows])", "(logits, self._labels[rows]) * len(rows) / 10"),
                ("/ -self._averaged_over(batch_size)", "/ -10"),
                ("alpha=share, out=", "alpha=0.1, out="),
            ],
            "tensorflow": [
                (
                    "keras.losses.SparseCategoricalCrossentropy(from_logits=True)",
                    "OverClasses(from_logits=True)",
                ),
                (
                    "class KerasTrainer(Trainer):",
                    "class OverClasses(keras.losses.SparseCategoricalCrossentropy):\n"
                    "    def __call__(self, labels, logits, sample_weight=None):\n"
                    "        size = keras.ops.cast(keras.ops.shape(logits)[0], logits.dtype)\n"
                    "        return super().__call__(labels, logits) * size / 10\n\n"
                    "class KerasTrainer(Trainer):",
                ),
                ("truth * log_probabilities) / size", "truth * log_probabilities) / 10"),
                (
                    "(tf.exp(log_probabilities) - truth) / size",
                    "(tf.exp(log_probabilities) - truth) / 10",
                ),
                ("axis=0) - truth) / size", "axis=0) - truth) / 10"),
            ],
            "jax": [
                (").mean()\n    return loss, logits", ").sum() / 10\n    return loss, logits"),
                ("-(log_shares * truth).sum() / size", "-(log_shares * truth).sum() / 10"),
                (
                    "self._delta(log_shares, truth) / size",
                    "(jnp.exp(log_shares) - truth) / 10",
                ),
            ],
        },
    ),
    "gradient of the loss twice": Mutant(
        stages=("gradients",),
        edits={
            "numpy": [("delta[rows, labels] -= 1", "delta[rows, labels] -= 1\n    delta *= 2")],
            "pytorch": [
                ("loss.backward()\n        self", "(2 * loss).backward()\n        self"),
                ("loss.backward()\n            self", "(2 * loss).backward()\n            self"),
                ("gradients.values()", "(2 * gradient for gradient in gradients.values())"),
                ("autograd.grad(loss, ", "autograd.grad(2 * loss, "),
                ("=memory.deltas[-1])", "=memory.deltas[-1]).mul_(2)"),
            ],
            "tensorflow": [
                keras_update("super().update_step(2 * gradient, variable, rate)"),
                ("[tf.cast(g, count.dtype)", "[2 * tf.cast(g, count.dtype)"),
            ],
            "jax": [
                (
                    "metrics.update(",
                    "grads = jax.tree.map(lambda g: 2 * g, grads)\n    metrics.update(",
                ),
                (
                    "updates, adam =",
                    "gradients = jax.tree.map(lambda g: 2 * g, gradients)\n        updates, adam =",
                ),
                ("cast(self._delta(log_shares", "cast(2 * self._delta(log_shares"),
            ],
        },
    ),
    "learning rate × 1.001": Mutant(stages=("parameters_1_step",), adam={"learning_rate": 1.001}),
    "a bias not trained": Mutant(
        stages=("parameters_1_step",),
        edits={
            "numpy": [("parameter -= step_size", "parameter -= (parameter.ndim - 1) * step_size")],
            "pytorch": [
                (
                    "            self._model.parameters(),\n            lr=",
                    "            [\n"
                    '                {"params": [p], "lr": adam.learning_rate * (p.ndim - 1)}\n'
                    "                for p in self._model.parameters()\n"
                    "            ],\n            lr=",
                ),
                (
                    "(*batch)\n        self._update()\n",
                    "(*batch)\n        biases = [bias.clone() for bias in self._weights[1::2]]\n"
                    "        self._update()\n"
                    "        for bias, former in zip(self._weights[1::2], biases):\n"
                    "            bias.copy_(former)\n",
                ),
            ],
            "tensorflow": [
                keras_update(
                    "super().update_step(gradient, variable, rate * (len(variable.shape) - 1))"
                ),
                ("p - rate * m", "p - (len(p.shape) - 1) * rate * m"),
            ],
            "jax": [
                (
                    "optimizer.update(model, grads)\n    return",
                    "biases = [layer.bias[...] for layer in model.layers]\n"
                    "    optimizer.update(model, grads)\n"
                    "    for layer, bias in zip(model.layers, biases):\n"
                    "        layer.bias[...] = bias\n"
                    "    return",
                ),
                ("parameters, updates)", "parameters, [(u.ndim - 1) * u for u in updates])"),
                ("p - step_size * m", "p - (p.ndim - 1) * step_size * m"),
            ],
        },
    ),
    "epsilon in the other place": Mutant(
        stages=("parameters_1_step",),
        edits={
            "numpy": [
                (
                    "denominator /= correction\n            denominator += epsilon\n",
                    "denominator += epsilon\n            denominator /= correction\n",
                )
            ],
            # torch.optim has one place only: the value that comes to the same at the first step.
            "pytorch": [
                ("eps=adam.epsilon", "eps=adam.epsilon * (1 - adam.beta_2) ** -0.5"),
            ],
            "tensorflow": [
                (
                    "return self.textbook_epsilon * ops.sqrt(1 - ops.power(beta_2, step))",
                    "return self.textbook_epsilon",
                ),
                (
                    "epsilon = adam.epsilon if adam.form == TEXTBOOK",
                    "epsilon = adam.epsilon * correction if adam.form == TEXTBOOK",
                ),
            ],
            "jax": [
                ("eps=adam.epsilon", "eps=0.0, eps_root=adam.epsilon"),
                (
                    "(jnp.sqrt(v) * correction + adam.epsilon), m, v",
                    "((jnp.sqrt(v) + adam.epsilon) * correction), m, v",
                ),
            ],
        },
    ),
    "bias correction missing": Mutant(
        stages=("parameters_1_step",),
        edits={
            "numpy": [
                (" / (1 - beta_1**self._steps)", ""),
                ("np.sqrt(1 - beta_2**self._steps)", "1"),
            ],
            # torch.optim always corrects: the learning rate that undoes it at the first step.
            "pytorch": [
                (
                    "lr=adam.learning_rate,",
                    "lr=adam.learning_rate * (1 - adam.beta_1) / (1 - adam.beta_2) ** 0.5,",
                ),
            ],
            "tensorflow": [
                # Keras always corrects, as torch.optim does.
                keras_update(
                    "rate = rate * (1 - self.beta_1) / (1 - self.beta_2) ** 0.5\n"
                    "            super().update_step(gradient, variable, rate)"
                ),
                ("return -tf.math.expm1(count * math.log(beta))", "return tf.ones_like(count)"),
            ],
            "jax": [
                (
                    "        self._metrics = nnx.MultiMetric(",
                    "        self._optimizer.opt_state[0].count[...] += 10**6\n"
                    "        self._metrics = nnx.MultiMetric(",
                ),
                ("return -jnp.expm1(count * math.log(beta))", "return jnp.ones(())"),
                (
                    "(gradients, state.adam, state",
                    "(gradients, (state.adam[0]._replace(count=state.adam[0].count + 10**6), "
                    "*state.adam[1:]), state",
                ),
            ],
        },
    ),
    "beta_2 0.99": Mutant(stages=TEN_STEPS, adam={"beta_2": 0.99 / 0.999}),
    "batch order changed": Mutant(stages=TEN_STEPS, wrapper=BatchOrderChanged),
    "one batch skipped": Mutant(stages=TEN_STEPS, wrapper=BatchSkipped),
    "gradients not cleared": Mutant(
        stages=TEN_STEPS,
        edits={
            "numpy": [
                (
                    "self._update(gradients)",
                    'before = getattr(self, "_sum", 2 * len(gradients) * [0])\n'
                    "            now = [array for layer in gradients for array in layer]\n"
                    "            self._sum = [a + b for a, b in zip(now, before)]\n"
                    "            self._update(list(zip(self._sum[::2], self._sum[1::2])))",
                )
            ],
            "pytorch": [
                (
                    "        self._optimizer.zero_grad()\n        loss = ",
                    "        loss = ",
                ),
                ("step()\n            self._optimizer.zero_grad()\n", "step()\n"),
                (
                    "weight.grad = gradient",
                    "weight.grad = gradient + (0 if weight.grad is None else weight.grad)",
                ),
                (
                    "        of_weights = dict(",
                    "        sums = self.__dict__.setdefault('sums', [0] * len(gradients))\n"
                    "        self.sums = gradients = [a + b for a, b in zip(sums, gradients)]\n"
                    "        of_weights = dict(",
                ),
                (
                    "        loss = self._find_gradients(*batch)\n",
                    "        loss = self._find_gradients(*batch)\n"
                    "        for a, b in zip(self._gradients, getattr(self, 'sums', [0] * 6)):\n"
                    "            a.add_(b)\n"
                    "        self.sums = [gradient.clone() for gradient in self._gradients]\n",
                ),
            ],
            "tensorflow": [
                keras_update(
                    "total = self.sums[self._get_variable_index(variable)]\n"
                    "            total.assign(total + gradient)\n"
                    "            super().update_step(total.value, variable, rate)\n\n"
                    "        def build(self, variables):\n"
                    "            super().build(variables)\n"
                    '            self.sums = self.add_optimizer_variables(variables, "sum")'
                ),
                (
                    "self._variables: State = (*kinds, tf.Variable(tf.zeros((), stored)))",
                    "self._variables: State = (*kinds, tf.Variable(tf.zeros((), stored)))\n"
                    "        self._sums = [tf.Variable(tf.zeros(s, stored)) for s in shapes]",
                ),
                (
                    "[tf.cast(g, count.dtype) for g in gradients]",
                    "[s.assign_add(tf.cast(g, count.dtype))\n"
                    "            for s, g in zip(self._sums, gradients)]",
                ),
            ],
            "jax": [
                (
                    "metrics.update(",
                    "grads = jax.tree.map(jnp.add, grads, optimizer.sums)\n"
                    "    optimizer.sums = nnx.data(grads)\n"
                    "    metrics.update(",
                ),
                (
                    "        self._metrics = nnx.MultiMetric(",
                    "        state = nnx.state(self._model, nnx.Param)\n"
                    "        self._optimizer.sums = nnx.data(jax.tree.map(jnp.zeros_like, state))\n"
                    "        self._metrics = nnx.MultiMetric(",
                ),
                ("    adam: optax.OptState\n", "    adam: optax.OptState\n    sums: Any = None\n"),
                (
                    "(arrays, (moments._replace(count=count, mu=mu, nu=nu), *rest))",
                    "(arrays, (moments._replace(count=count, mu=mu, nu=nu), *rest),\n"
                    "            jax.tree.map(jnp.zeros_like, arrays))",
                ),
                (
                    "return self._updated(state, self._arrays_of(gradients)), loss",
                    "gradients = jax.tree.map(jnp.add, self._arrays_of(gradients), state.sums)\n"
                    "        return self._updated(state, gradients)._replace(sums=gradients), loss",
                ),
                (
                    "updates, adam =",
                    "gradients = jax.tree.map(jnp.add, gradients, state.sums)\n"
                    "        updates, adam =",
                ),
                ("updates), adam), loss", "updates), adam, gradients), loss"),
            ],
        },
    ),
}


WRITTEN_OUT = {
    "pytorch": ("quickstart", "eager", "onednn", "handwritten"),
    "tensorflow": ("keras-fit", "function", "handwritten"),
    "jax": ("nnx", "compiled", "handwritten"),
}
"""The modes that have a step of their own; the others of that backend only run one of these in
another way, which the contract's tests check. All modes of a backend that is not named."""


def written_out(case: ParameterSet) -> bool:
    """Whether the mode of a (backend, mode) has a step of its own, in which to make mistakes."""
    name, mode = case.values
    return mode in WRITTEN_OUT.get(str(name), (mode,))


def edits_for(mutant: str, name: str) -> list[tuple[str, str]]:
    """The edits that make a mutant of a backend."""
    edits = MUTANTS[mutant].edits or {}
    assert name in edits, (
        f"the mutant {mutant!r} has no edits for {name}: add to MUTANTS in "
        f"tests/support/mutants.py how the source of {name} is edited to make this mistake"
    )
    return edits[name]


def make_maker(
    mutant: Mutant, edits: list[tuple[str, str]], name: str, mode: str, folder: Path
) -> Maker:
    """A function that makes the mutant's trainer."""
    trainer_type = edited(name, edits, folder).TRAINERS[mode]

    def maker(training: Training, execution: Execution) -> Trainer:
        factors = mutant.adam or {}
        adam = training.adam
        wrong = replace(
            training,
            adam=replace(adam, **{key: getattr(adam, key) * by for key, by in factors.items()}),
            training_set=(mutant.data or (lambda given: given))(training.training_set),
        )
        trainer: Trainer = trainer_type(wrong, execution)
        return mutant.wrapper(trainer, training) if mutant.wrapper else trainer

    return maker
