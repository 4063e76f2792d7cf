"""The jackknife against statsmodels, scipy and published formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

from exaone_nb.errors import UsageError
from exaone_nb.statistics.jackknife import cluster_totals, jackknife, kept_share


def test_the_interval_of_a_plain_mean_is_students():
    values = np.random.default_rng(1).normal(3, 2, 40)
    expected = stats.ttest_1samp(values, 0).confidence_interval()
    found = jackknife(values).interval()
    assert (found.value, found.n) == (values.mean(), 40)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-12)
    assert jackknife(values).statistic(2.5) == pytest.approx(stats.ttest_1samp(values, 2.5).statistic)


def test_with_one_more_item_at_each_end_it_is_bonett_and_prices():
    """Their interval adds one to either count of discordant pairs: (b + 1, c + 1) of n + 2."""
    lost, won, n = 9, 3, 60
    differences = np.repeat([-1.0, 1.0, 0.0], [lost, won, n - lost - won])
    found = jackknife(differences, ends=(-1, 1))
    one, two, total = (lost + 1) / (n + 2), (won + 1) / (n + 2), n + 2
    assert found.centre == pytest.approx(two - one)
    # Theirs divides by n + 2, Student's by n + 1; and they take a normal quantile.
    error = math.sqrt((one + two - (two - one) ** 2) / (total - 1))
    assert found.error == pytest.approx(error)
    nothing = jackknife(np.zeros(25), ends=(-1, 1)).interval()
    assert (
        nothing.low == pytest.approx(-stats.t.ppf(0.975, 26) * math.sqrt(2 / 27 / 26))
        and nothing.high == -nothing.low
    )
    everything = jackknife(np.full(25, -1.0), ends=(-1, 1)).interval()
    assert everything.low == -1 and -0.9 < everything.high < -0.6


def test_the_error_of_clusters_is_that_of_statsmodels():
    """Clusters of one size: the jackknife is the cluster-robust error of a regression on a constant."""
    rng = np.random.default_rng(2)
    clusters = np.repeat(np.arange(30), 4)
    values = rng.normal(0, 1, 30)[clusters] + rng.normal(0, 1, 120)
    order = rng.permutation(120)
    fitted = sm.OLS(values, np.ones(120)).fit(cov_type="cluster", cov_kwds={"groups": clusters})
    # statsmodels multiplies by (n - 1) / (n - k) too, which is 1 here with one parameter.
    found = jackknife(values[order], clusters=clusters[order])
    assert found.error == pytest.approx(float(fitted.bse[0]), rel=1e-6)
    assert found.freedom == 29 and found.error > 1.3 * jackknife(values).error


def test_leaving_out_by_hand():
    """Nats of documents of unequal length: every ratio without one document, as a loop."""
    rng = np.random.default_rng(3)
    tokens = rng.integers(5, 200, 60).astype(float)
    nats = tokens * rng.normal(2, 0.3, 60)
    ratios = [np.delete(nats, i).sum() / np.delete(tokens, i).sum() for i in range(60)]
    found = jackknife(nats, tokens)
    whole = nats.sum() / tokens.sum()
    assert found.value == pytest.approx(whole)
    assert found.error == pytest.approx(math.sqrt(59 / 60 * sum((r - whole) ** 2 for r in ratios)))


@pytest.mark.parametrize("zeros", [False, True])
def test_the_kept_share_is_every_ratio_that_a_t_test_allows(zeros):
    """scipy's t test of candidate - r * base with one more item at each end, on a grid of ratios."""
    rng = np.random.default_rng(4)
    base = rng.choice([0, 0.5, 1], size=40)
    candidate = np.zeros(40) if zeros else np.clip(base - rng.choice([0, 0, 0, 0.5], size=40), 0, 1)
    ratios = np.linspace(0, 2, 2001)
    fits = [
        r for r in ratios if stats.ttest_1samp(np.append(candidate - r * base, [-r, 1]), 0).pvalue >= 0.05
    ]
    found = kept_share(base, candidate, None, 1.0)
    assert (found.low, found.high) == pytest.approx((fits[0], fits[-1]), abs=0.002)
    assert found.high > found.low == 0 if zeros else 0 < found.low < found.value < found.high
    assert kept_share(np.zeros(9), np.ones(9), None, 1.0) is None


def test_clusters_are_told_by_their_names():
    assert cluster_totals(np.array([1.0, 2, 3, 4]), np.array(["b", "a", "b", "c"])).tolist() == [2, 4, 4]


def test_one_unit_has_no_interval():
    with pytest.raises(UsageError, match="1 independent item"):
        jackknife(np.ones(1))
    with pytest.raises(UsageError, match="1 independent item"):
        jackknife(np.ones(9), clusters=np.zeros(9))
