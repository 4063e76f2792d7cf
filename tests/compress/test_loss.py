from __future__ import annotations

import math

import numpy as np
import pytest

from exaone_nb.compress import damage
from exaone_nb.compress.damage import Document
from exaone_nb.statistics.bootstrap import clustered_quantile

torch = pytest.importorskip("torch")
TEXTS = [Document((9, 0, 1), 1), Document((9, 2), 1)]


def logs(*rows):
    return torch.tensor(rows).log()


BASE = [logs((0.5, 0.3, 0.2), (0.1, 0.8, 0.1)), logs((0.2, 0.2, 0.6))]
OTHER = [logs((0.4, 0.35, 0.25), (0.5, 0.4, 0.1)), logs((0.2, 0.3, 0.5))]


def test_every_measure_by_hand():
    found = damage.compared(BASE, OTHER, TEXTS)
    assert found["baseline"][:, 0] == pytest.approx([-math.log(0.5 * 0.8), -math.log(0.6)], rel=1e-5)
    assert found["candidate"][:, 0] == pytest.approx([-math.log(0.4 * 0.4), -math.log(0.5)], rel=1e-5)
    assert found["p_change"][:, 0] == pytest.approx([-0.1 - 0.4, -0.1], rel=1e-5)
    assert found["p_change_squared"][:, 0] == pytest.approx([0.01 + 0.16, 0.01], rel=1e-5)
    assert found["same_top"].tolist() == [[1, 2], [1, 1]]
    second = 0.1 * math.log(0.1 / 0.5) + 0.8 * math.log(0.8 / 0.4)
    assert found["token_kl"][1] == pytest.approx([second, 0], rel=1e-5)
    assert found["token_kl"][:, 0].sum() == pytest.approx(found["kl"][:, 0].sum())


def test_the_summary_is_what_llama_cpp_prints():
    """PPL(Q) / PPL(base) - 1, mean KLD, mean and RMS Δp, same top p: by the definitions of its perplexity tool."""
    made = damage.summary(damage.compared(BASE, OTHER, TEXTS))
    base, other = np.array([0.5, 0.8, 0.6]), np.array([0.4, 0.4, 0.5])
    perplexities = [math.exp(-np.log(p).mean()) for p in (base, other)]
    assert made["perplexity"].value == pytest.approx(perplexities[1], rel=1e-5)
    assert made["ratio"].value == pytest.approx(perplexities[1] / perplexities[0] - 1, rel=1e-5)
    assert made["p_change"].value == pytest.approx((other - base).mean(), rel=1e-5)
    assert made["p_rms"].value == pytest.approx(math.sqrt(np.square(other - base).mean()), rel=1e-5)
    assert made["same_top"].value == pytest.approx(2 / 3)
    assert all(one.low <= one.value <= one.high for one in made.values())


def test_a_quantile_is_numpys_and_its_interval_covers():
    generator = np.random.default_rng(0)
    values, clusters = generator.exponential(size=1001), np.arange(1001) // 7
    for share in (0.5, 0.9, 0.99):
        wanted = np.quantile(values, share, method="inverted_cdf")
        assert clustered_quantile(values, clusters, share).value == wanted
    inside = 0
    for seed in range(100):
        drawn = np.random.default_rng(seed).exponential(size=(60, 20)) * 1.0
        found = clustered_quantile(drawn.ravel(), np.arange(1200) // 20, 0.9, draws=299, seed=seed)
        inside += found.low <= math.log(10) <= found.high
    assert 88 <= inside <= 100
