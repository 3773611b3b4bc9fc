"""How long blocks are: a lead-in, which is trained but not timed, and the steps that are timed.

What a block costs once (caches and threads that went cold while other cases computed) falls into
its lead-in, and so into no step time.
"""

from dataclasses import dataclass

STEPS_PER_CALL = 50
"""Training steps in one call of a mode that trains many steps a call."""
READ_EVERY = STEPS_PER_CALL
"""Steps between two readings of a training whose learning is measured: whole calls of all cases."""
TIMED_STEPS = {"cpu": 200, "gpu": 250}
"""Timed steps in a block of a long training."""
FEWEST_TIMED_STEPS = {"cpu": 50, "gpu": 250}
"""Synchronising at both ends takes the host some 20 to 50 µs, which must stay under 1% of a block:
on a GPU, where a step may take 20 µs, blocks must not be shorter."""
LEAD_IN_STEPS = {"cpu": 10, "gpu": 100}
"""Steps of a lead-in; more where they do not make whole calls."""
LEAD_IN_SHARE = 6
"""Where blocks must be short, one in this many steps is lead-in."""
BLOCK_FLOPS = {"cpu": 2.5e11, "gpu": 2.5e14}
"""The most operations in a block: the default's has 1.3e11, larger networks get shorter blocks."""


@dataclass(frozen=True, kw_only=True)
class BlockLength:
    """The steps of a block."""

    lead_in: int
    """Steps that are trained first, and not timed."""
    timed: int

    @property
    def steps(self) -> int:
        """All steps that a block trains."""
        return self.lead_in + self.timed

    def within(self, most: int, call: int) -> "BlockLength":
        """Shorten the length to at most `most` steps, of which there is at least one.

        Both parts consist of whole calls of `call` steps if two of them fit: a call of another
        length is another program.
        """
        if self.steps <= most:
            return self
        unit = call if 2 * call <= most else 1
        lead_in = min(self.lead_in, -(-(most // LEAD_IN_SHARE) // unit) * unit)
        timed = most - lead_in
        return BlockLength(lead_in=lead_in, timed=timed - timed % unit)


def block_length(
    *, steps: int, stretch: int, step_flops: float, device: str, call: int
) -> BlockLength:
    """The block of a training of `steps` steps, each of `step_flops` operations.

    About a twentieth of the training is timed, within limits of length and work; no block is longer
    than `stretch`, the most steps without an interruption. `call` is the number of steps in the
    longest call of a case: all that are compared have blocks of one length.
    """
    timed = max(FEWEST_TIMED_STEPS[device], min(TIMED_STEPS[device], steps // 20))
    lead_in, timed = (-(-part // call) * call for part in (LEAD_IN_STEPS[device], timed))
    most = min(stretch, int(BLOCK_FLOPS[device] / step_flops))
    return BlockLength(lead_in=lead_in, timed=timed).within(max(most, 1), call)
