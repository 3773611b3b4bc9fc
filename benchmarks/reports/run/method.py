"""How a run was measured, in a paragraph for its report."""

from benchmarks.analysis.statistics import SIGNIFICANCE, SMALLEST_DIFFERENCE, TIE_MARGIN

METHOD = f"""\
A step is timed in blocks. Each begins with a lead-in, whose steps are trained, waited for and not
timed: what a block costs once, such as caches that have gone cold, is in no step time. The clock
then runs over the forward pass, the loss, the derivatives, Adam's update and fetching the batch of
each step, until the device has finished; it does not run over start-up, compilation, warm-up and
accuracy readings. A block starts when no thread of another case runs any more. A case is warm when
its steps no longer get faster. Every case has its own process; in every round each case is timed
once, in random order, and ratios are taken within rounds. A launch is a set of fresh processes with
a seed of its own, and contributes the median of its rounds; intervals are Student's over launches,
with variances shrunk towards those of the other pairs of the same two frameworks, and where pairs
are judged at a level that is adjusted for their number. A case is called faster or slower if the
p-value of the pair, adjusted for the number of pairs (Benjamini and Hochberg), is at most
{SIGNIFICANCE:.0%} and the ratio differs from one by more than {SMALLEST_DIFFERENCE:.0%}; two cases
are a tie if the whole interval lies within {TIE_MARGIN:.0%}. More launches run until every pair is
decided or cannot be, or until the time limit. Beside every round a small fixed task is timed, and
what other processes took of the processors' time is read, which show whether other load on the
machine disturbed the round; disturbed rounds are kept in the CSVs, excluded from the estimates and
repeated (rounds.csv).
A case's rank is one more than the number of cases shown to be faster; verdicts.csv has every
pair."""
