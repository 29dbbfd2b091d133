"""Agreement of two raters beyond chance, and whether two raters differ in how often they are right."""

from collections.abc import Hashable, Sequence

import numpy as np

from rlaif.stats.bootstrap import Figure, Floats, divide


def kappa(pairs: Sequence[tuple[Hashable | None, Hashable | None]], categories: Sequence[Hashable]) -> Figure:
    """Return Cohen's kappa (1960, Educational and Psychological Measurement 20(1)).

    kappa = (p_o - p_e) / (1 - p_e): observed agreement beyond the agreement p_e that the raters' own frequencies give
    by chance. It is undefined where p_e is 1: both raters always give the same one category.

    Args:
        pairs: the two raters' categories of each item; None leaves the item out.
    """
    size = len(categories)
    number = {category: index for index, category in enumerate(categories)}
    table = np.zeros((len(pairs), size * size))
    for row, (one, other) in enumerate(pairs):
        if one is not None and other is not None:
            table[row, size * number[one] + number[other]] = 1.0

    def of_sums(sums: Floats) -> Floats:
        counts = sums.reshape(-1, size, size)
        total = counts.sum(axis=(1, 2))
        observed = divide(np.trace(counts, axis1=1, axis2=2), total)
        chance = divide((counts.sum(axis=1) * counts.sum(axis=2)).sum(axis=1), total**2)
        # Counts are whole numbers, so 1 - chance is exactly 0 or at least 1 / n**2.
        room = np.where(chance > 1.0 - 1e-12, 0.0, 1.0 - chance)
        return divide(observed - chance, room)

    return Figure(table, of_sums, round(float(table.sum())))


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """Return the two-sided p value of McNemar's test (1947, Psychometrika 12(2)), exact by the binomial distribution.

    Under the hypothesis that two raters are equally good, an item on which only one is right is either's with
    probability 1/2.
    """
    from scipy.stats import binomtest

    flips = only_first + only_second
    return float(binomtest(only_first, flips, 0.5).pvalue) if flips else 1.0
