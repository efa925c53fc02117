"""Does validation error descend twice along an axis?

Double descent of the error is a dip of the accuracy between two rises. On the mean over seeds m at the sorted
values of the axis, the **effect** is the deepest such dip,

    max over h < i < j < k of min(m_i - m_h, m_i - m_j, m_k - m_j):

it rises from h to the peak i, falls to the bottom j and rises again to k, and the smallest of the three legs
counts. The **dip** is the same without the first leg, for an axis that starts at the peak. Noise alone makes such
dips, and the more points the deeper, so both are compared with what they would be on a curve that only rises: the
isotonic fit to m, to which the residuals are added back with one random sign per seed (wild bootstrap of the
maximum; the seed is the cluster, because its data split and initialization go along the whole axis). Holm's
correction covers the facets. `double_descent` needs both tests, so that any finding at all is as rare as a false
dip.

Residuals are inflated by n / (n - 1), the jackknife's factor, and not by its root. Simulated on nine monotone
truths (flat, rising and saturating, noise of every shape, seeds that are all or nothing), 5 to 11 seeds, 15 points,
level 5 %: false double descents 0 to 3 %, findings of any kind 0 to 8 %; with the root up to 10 % for either. A dip
of .2 with a standard deviation of .1 is found in 71, 91 and 99 % of the cases with 5, 8 and 11 seeds.

The interval of the depth is the smallest of the Student intervals (over seeds) of its legs, lowered at the lower
end by the bootstrap's estimate of how much picking the deepest dip flatters it. Resampling seeds fails here:
nominal 95 % intervals held the truth in 96 to 99 % of the simulations, BCa in 31 to 88 %, percentiles in 21 to 89
percent.

Where seeds are all or nothing (an accuracy of 0 or 1 at each point), Student's interval fails: seeds that happen to
agree look as if they never could disagree, and with 5 to 11 seeds it held the truth of a deep dip in 8 to 40 % of the
simulations. So two seeds are added to each leg, one that gains all and one that loses all (Bonett and Price 2012, for
differences of paired proportions), each weighted by the square of **how nearly the seeds are all or nothing**:
1 - sum of v (1 - v) over sum of m (1 - m), for the values v and their means m. That is 1 for zeros and ones and near 0
for seeds that scatter about their mean, whose interval it hardly changes. Coverage is then 95 to 100 % for both, and
for everything between; the price is width, which at 3 seeds leaves nothing to be said. (tests/simulations/critical.py)

Losses are turned over, so that everything above holds for them, and are judged on their own scale: `unit` is the
range of the mean curve for a loss and 1 for an accuracy, and thresholds are in units.

dips          the deepest dip of a curve
curves        seeds times points of each facet
significance  is it deeper than noise makes it?
depths        how deep, and where, with intervals
verdicts      a table of labels in, a row for each facet out
sentences     a verdict in words
settings      thresholds
"""

from results.descent.settings import DescentSettings
from results.descent.verdicts import VERDICTS, descents

__all__ = ["VERDICTS", "DescentSettings", "descents"]
