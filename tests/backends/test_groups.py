"""Groups of ranks train what a single process does, and whoever does not is caught."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

import run_all
from backends.registry import BACKENDS, missing_packages
from benchmarks.machine import probe
from benchmarks.machine.probe import Probe
from benchmarks.machine.settings import available_cpus
from benchmarks.session import certifying
from benchmarks.session.jobs import make_ready
from tests.support.edited_backends import copy_backend, numbers

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(available_cpus() < 2, reason="each rank has a CPU of its own"),
]
SMALL = ("--ranks", "2", "--hidden", "16")
HANGS_AFTER_SECONDS = 20.0
UNEVEN = ("--batch-size", "31")


def certified(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = run_all.main(["certify", *arguments])
    return code, " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("name", [name for name, entry in BACKENDS.items() if entry.group_modes])
def test_every_group_trains_as_the_reference_does_with_uneven_shares(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if missing := missing_packages(BACKENDS[name]):
        pytest.skip(f"not installed: {', '.join(missing)}")
    modes = list(BACKENDS[name].group_modes)
    code, said = certified(capsys, name, "--modes", *modes, *SMALL, *UNEVEN)
    assert code == 0, said
    assert said.count("certified in") == len(modes)
    assert all(f"{name} {mode} 2 ranks" in said for mode in modes)


REDUCED = "distributed.all_reduce(self._flat_gradients)\n"
IN_FLAT = "        distributed.all_reduce(self._flat_gradients)\n        super()._update()\n"
SHARE = "        share = self._execution.share(rows)\n        # The average"
MUTANTS = {
    # Of the flat gradients of PyTorch.
    "summed instead of averaged": (
        "pytorch", "flat-all-reduce", "        return self._batch_size\n", "        return size\n",
        "departs from the reference",
    ),
    "one rank's share dropped": (
        "pytorch", "flat-all-reduce", IN_FLAT,
        IN_FLAT.replace(REDUCED, "distributed.all_reduce(self._flat_gradients.mul_("
        "self._execution.rank == 0))\n"), "departs from the reference",
    ),
    "ranks drift apart": (
        "pytorch", "flat-all-reduce", IN_FLAT,
        IN_FLAT.replace(REDUCED, REDUCED + "        self._flat_gradients.add_("
        "self._execution.rank * 1e-9)\n"), "rank 1 no longer holds",
    ),
    "every tenth sum skipped": (
        "pytorch", "flat-all-reduce", IN_FLAT,
        IN_FLAT.replace("        distributed", "        self._n = getattr(self, '_n', 0) + 1\n"
        "        if self._n % 10:\n            distributed"), "rank 1 no longer holds",
    ),
    "a rank out of step": (
        "pytorch", "ddp", SHARE, SHARE.replace("        # The", "        share = share["
        "self._execution.rank :] if len(share) > 1 else share\n        # The"), "failed:",
    ),
    "uneven shares averaged alike": (
        "pytorch", "ddp", "loss if self._weight == 1 else loss * self._weight", "loss",
        "departs from the reference",
    ),
    "the sum of JAX left out": (
        "jax", "shard-map", "tree_of(lax.psum(flat, RANKS))", "tree_of(flat)",
        "rank 1 no longer holds",
    ),
    "JAX's mean over shares": (
        "jax", "shard-map", "losses, 0).sum() / self._batch_size",
        "losses, 0).mean()", "departs from the reference",
    ),
    "TensorFlow's shares averaged alike": (
        "tensorflow", "multi-worker",
        "if rows.shape[0] * self._execution.ranks != batch_size:", "if False:",
        "departs from the reference",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mutant", MUTANTS)
def test_wrong_groups_are_caught(
    mutant: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name, mode, text, replacement, why = MUTANTS[mutant]
    if missing := missing_packages(BACKENDS[name]):
        pytest.skip(f"not installed: {', '.join(missing)}")
    copy = f"mutant_{next(numbers)}"
    entry = copy_backend(BACKENDS[name], copy, tmp_path, [(text, replacement)])
    monkeypatch.setitem(BACKENDS, copy, entry)
    # That the backend can run is known.
    monkeypatch.setattr(probe, "probe_each", lambda programs, _: dict.fromkeys(programs, Probe()))
    # A rank that is out of step waits for ever.
    monkeypatch.setattr(certifying, "make_ready", partial(make_ready, timeout=HANGS_AFTER_SECONDS))
    code, said = certified(capsys, copy, "--modes", mode, *SMALL, *UNEVEN)
    assert code == 1, said
    assert why in said
    assert "certified in" not in said
