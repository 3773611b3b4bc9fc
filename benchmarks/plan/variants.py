"""What a case does otherwise than the run: another Python, variables, threads, products."""

import sys
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Overrides:
    """What a case does otherwise than the run. Fields that are empty are as in the run."""

    python: str = ""
    """The program that runs its worker, such as that of another virtual environment."""
    environment: tuple[tuple[str, str], ...] = ()
    """Environment variables and their values."""
    threads: int = 0
    products: str = ""
    """The library of all its products, in a mode that can choose."""

    @property
    def program(self) -> str:
        """The Python that runs the worker."""
        return self.python or sys.executable

    def text(self) -> str:
        """What is otherwise, as the ledger has it: "threads=1, env:XLA_FLAGS=--x"; may be empty."""
        parts = ["python"] if self.python else []
        parts += [f"threads={self.threads}"] if self.threads else []
        parts += [f"products={self.products}"] if self.products else []
        return ", ".join([*parts, *(f"env:{name}={value}" for name, value in self.environment)])


NOTHING = Overrides()
