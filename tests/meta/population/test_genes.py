"""Inheritance: one generation by hand, closed forms, and the growth of each order in the numeric world.

The numbers of the world are those of published scripts: P = 128, beta = 1e-4, F(x) = x.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from discovery.core.config.population import Mutation
from discovery.meta.population.genes import LIMIT, children, founders, spread, survivors, with_elite

P, DEVIATION = 128, 1e-2


@functools.partial(jax.jit, static_argnames=("generations", "mutation", "self_referential"))
def evolve(
    key,
    n_parents,
    deviations,
    generations=1000,
    mutation: Mutation = "additive",
    self_referential=False,
):
    """The numeric fitness world: best x_0 of each generation, ``[generations]``.

    Orders above the one that is meant have the deviation 0: then their genes are and remain 0, and a single
    program serves all orders.
    """

    def step(genes, key):
        key_ties, key_make = jax.random.split(key)
        parents = survivors(key_ties, genes, genes[0, :, 0], P // 2)
        made = children(key_make, parents, n_parents, deviations, P, mutation, self_referential)
        return made, parents[0, 0, 0]

    key_first, key_rest = jax.random.split(key)
    first, keys = founders(key_first, jnp.zeros(1), deviations, P), jax.random.split(key_rest, generations)
    return jax.lax.scan(step, first, keys)[1]


def lives(seed, n, n_parents, deviations, **options) -> np.ndarray:
    """``[n, generations]``: several worlds, one after the other."""
    keys = jax.random.split(jax.random.key(seed), n)
    return np.stack([evolve(key, n_parents, jnp.array(deviations), **options) for key in keys])


@functools.cache
def world(order, n_parents) -> np.ndarray:
    """``[6, 1000]``: worlds of an order up to 2."""
    return lives(1, 6, n_parents, [DEVIATION * (i <= order) for i in range(3)])


@functools.cache
def self_referential(mutation, n_parents) -> np.ndarray:
    """``[20, 101]``: worlds of order 1, self-referential."""
    options = {"mutation": mutation, "self_referential": True, "generations": 101}
    return lives(0, 20, n_parents, [DEVIATION, DEVIATION], **options)


def slope(best) -> float:
    """Slope of log fitness over log generation, from generation 300 on."""
    time, height = np.log(1.0 + np.arange(300, len(best))), np.log(np.asarray(best[300:], np.float64))
    return float(np.polyfit(time, height, 1)[0])


@pytest.mark.parametrize(
    ("order", "n_parents", "reached"),
    [
        (1, 13, 6.5e3), (2, 13, 9.9e5),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in ((0, 2, 24.8), (0, 1, 25.9), (0, 64, 10.8), (1, 2, 2.4e3), (2, 64, 1.4e6))
        ),
    ],
)  # fmt: skip
def test_order_n_grows_as_the_power_n_plus_1_to_the_heights_of_another_simulation(order, n_parents, reached):
    """After 1000 generations; the other simulation is in numpy and float64, 6 seeds."""
    best = np.median(world(order, n_parents), axis=0)
    assert best[-1] == pytest.approx(reached, rel=0.15)
    if n_parents > 1:
        assert slope(best) == pytest.approx(order + 1, abs=0.1)


def test_order_1_fails_with_one_parent():
    """Children of one parent all inherit the same step: it is a random walk, and of no use."""
    one, many = world(1, 1)[:, -1], world(1, 13)[:, -1]
    assert many.min() > 1000
    assert (one < 26).sum() >= 2 and one.min() < 0  # 26 is what order 0 reaches


@pytest.mark.parametrize(
    ("mutation", "n_parents", "figures"),
    [
        ("additive", 13, (13.2, 28.2)),
        ("multiplicative", 13, (13.3, 28.0)),
        ("multiplicative", 64, (7.2, 15.4)),
    ],
)
def test_self_reference_grows_exponentially(mutation, n_parents, figures):
    """log10 of the fitness at generations 50 and 100, against another simulation."""
    growth = np.log10(np.median(self_referential(mutation, n_parents), axis=0))
    assert growth[49] == pytest.approx(figures[0], rel=0.1)
    assert growth[99] == pytest.approx(figures[1], rel=0.1)
    if mutation == "additive":  # x_1 doubles
        assert np.diff(growth[60:]).mean() == pytest.approx(math.log10(2), rel=0.02)


def by_hand(parent, noise, deviations, mutation, self_referential):
    """Genes ``[orders][D]`` of one child, in Python's floats."""
    child = []
    for i, gene in enumerate(parent):
        above = parent[i + 1] if i + 1 < len(parent) else (gene if self_referential else None)
        row = []
        for d, value in enumerate(gene):
            if mutation == "additive":
                value += (0.0 if above is None else above[d]) + deviations[i] * noise[i][d]
            else:
                value += (deviations[i] if above is None else above[d]) * noise[i][d]
            row.append(value)
        child.append(row)
    return child


@pytest.mark.parametrize(
    ("order", "mutation", "self_referential"),
    [
        (0, "additive", False),
        (2, "additive", False),
        (2, "additive", True),
        (2, "multiplicative", False),
        (2, "multiplicative", True),
    ],
)
def test_a_generation_by_hand(order, mutation, self_referential):
    rng = np.random.default_rng(0)
    genes = jnp.asarray(rng.normal(size=(order + 1, 6, 3)))
    merit = jnp.array([0.1, -2.0, 5.0, 0.2, 3.0, -np.inf])
    deviations = jnp.asarray(rng.uniform(0.1, 1.0, order + 1))

    @jax.jit
    def generation(key):
        parents = survivors(jax.random.key(0), genes, merit, 4)
        made = children(key, parents, 3, deviations, 8, mutation, self_referential)
        key_pick, key_noise = jax.random.split(key)
        picks = jax.random.randint(key_pick, (8,), 0, 3)
        return parents, made, picks, jax.random.normal(key_noise, (order + 1, 8, 3))

    parents, made, picks, noise = jax.tree.map(np.asarray, generation(jax.random.key(1)))
    best = sorted(range(6), key=lambda i: -float(merit[i]))[:4]
    np.testing.assert_array_equal(parents, np.asarray(genes)[:, best])
    for child, pick in enumerate(picks):
        parent = np.asarray(genes)[:, best[pick]].tolist()
        drawn = noise[:, child].astype(float)
        expected = by_hand(parent, drawn, deviations.tolist(), mutation, self_referential)
        np.testing.assert_allclose(made[:, child], expected, rtol=1e-5, atol=1e-6)
    assert set(picks) == {0, 1, 2}


def test_founders_have_the_standard_deviations_asked_for():
    sigmas, center = jnp.array([0.3, 0.01, 2.0]), jnp.array([5.0, -1.0])
    made = jax.jit(founders, static_argnums=3)(jax.random.key(0), center, sigmas, 4000)
    genes = np.asarray(made)
    np.testing.assert_allclose(genes.mean(axis=1), [[5, -1], [0, 0], [0, 0]], atol=0.1)
    np.testing.assert_allclose(genes.std(axis=1), np.repeat(sigmas[:, None], 2, axis=1), rtol=0.05)
    np.testing.assert_allclose(spread(made), genes.std(axis=1).mean(axis=1), rtol=1e-5)


def test_ties_are_broken_at_random_and_evenly():
    genes, merit = jnp.arange(6.0)[None, :, None], jnp.array([0.0, 1.0, 0.0, 0.0, 2.0, 0.0])
    keys = jax.random.split(jax.random.key(0), 2000)
    chosen = np.asarray(jax.jit(jax.vmap(lambda key: survivors(key, genes, merit, 3)))(keys))[:, 0, :, 0]
    assert (chosen[:, :2] == [4, 1]).all()
    counts = np.bincount(chosen[:, 2].astype(int), minlength=6)
    np.testing.assert_allclose(counts, [500, 0, 500, 500, 0, 500], atol=80)  # 4 standard deviations


def test_the_elite_takes_the_first_places_as_it_is():
    genes, parents = jnp.zeros((2, 5, 3)), jnp.arange(18.0).reshape(2, 3, 3)
    found = jax.jit(with_elite, static_argnums=2)(genes, parents, 2)
    np.testing.assert_array_equal(found[:, :2], parents[:, :2])
    np.testing.assert_array_equal(found[:, 2:], 0)


@pytest.mark.parametrize("mutation", ["additive", "multiplicative"])
def test_genes_without_bound_stay_finite(mutation):
    options = {"mutation": mutation, "self_referential": True, "generations": 101}
    best = lives(0, 4, 13, [1e20, 1e20], **options)
    assert np.isfinite(best).all() and (best[:, -1] == np.float32(LIMIT)).all()
