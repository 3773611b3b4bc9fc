"""JAX: a Flax module, Optax's Adam, and one pure function that trains one step.

The modes differ only in how that function is run: as it stands (`eager`), under `jax.jit`
(`compiled`), or many times inside one program by `jax.lax.scan` (`multistep`).
"""

from backends.contract import Trainer
from backends.jax.floor import Floor
from backends.jax.idiomatic import Compiled, Eager
from backends.jax.setup import configure, profiled, versions
from backends.jax.tuned import MultiStep

__all__ = ["TRAINERS", "Floor", "configure", "profiled", "versions"]

TRAINERS: dict[str, type[Trainer]] = {
    "eager": Eager,
    "compiled": Compiled,
    "multistep": MultiStep,
}
