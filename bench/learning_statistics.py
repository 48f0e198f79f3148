# SPDX-License-Identifier: Apache-2.0
"""Statistics over seeds, as bench/learning reports them."""
import random
import statistics

RESAMPLES = 2000


def band(values):
    """20 % and 80 % quantiles, interpolated between order statistics."""
    if len(values) == 1:
        return values[0], values[0]
    cuts = statistics.quantiles(values, n=5, method="inclusive")
    return cuts[0], cuts[-1]


def interquartile_mean(values):
    """Mean without the floor(n/4) least and the floor(n/4) greatest values."""
    cut = len(values) // 4
    return statistics.fmean(sorted(values)[cut:len(values) - cut])


def bootstrap_interval(statistic, values):
    """95 % percentile interval of a statistic under resampling of the seeds; None for a single seed."""
    if len(values) == 1:
        return None
    generator = random.Random(0)  # equal values give equal tables
    resampled = [statistic(generator.choices(values, k=len(values))) for _ in range(RESAMPLES)]
    cuts = statistics.quantiles(resampled, n=40, method="inclusive")
    return cuts[0], cuts[-1]


def mann_whitney(a, b):
    """Share of pairs in which a value of a beats one of b, ties half, and its standard deviation under chance (1/2)."""
    pairs = len(a) * len(b)
    wins = sum((x > y) + 0.5 * (x == y) for x in a for y in b)
    return wins / pairs, ((len(a) + len(b) + 1) / (12 * pairs)) ** 0.5
