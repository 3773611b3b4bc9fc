"""NumPy: the training written out by hand.

It is the reference: run in float64 it says what every other backend must compute. It is also timed,
as what a program without a framework, with one BLAS call for each matrix product, takes.
"""

from backends.contract import Trainer
from backends.numpy.floor import Floor
from backends.numpy.idiomatic import Eager
from backends.numpy.setup import configure, profiled, versions

__all__ = ["TRAINERS", "Eager", "Floor", "configure", "profiled", "versions"]

TRAINERS: dict[str, type[Trainer]] = {"eager": Eager}
