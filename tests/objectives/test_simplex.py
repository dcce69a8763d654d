"""The projection against softmax, sorting and root finding; its derivatives against differences."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from objectives.mirror_map.learned_potential import learned
from objectives.mirror_map.potentials import l2, negative_entropy, tsallis
from objectives.mirror_map.simplex import _undivided, project
from tests.objectives.maps import members, network, networks, slow_projection

every_map = pytest.mark.parametrize("name", members())


def scores(n=40, actions=4, scale=1.0, seed=0):
    return np.random.default_rng(seed).normal(0, scale, (n, actions))


def by_sorting(z):
    """Euclidean projection of rows (Held, Wolfe & Crowder 1974)."""
    descending = -np.sort(-z, axis=-1)
    excess = (np.cumsum(descending, -1) - 1.0) / np.arange(1, z.shape[-1] + 1)
    support = (descending > excess).sum(-1)
    return np.maximum(z - np.take_along_axis(excess, support[:, None] - 1, -1), 0.0)


def test_negative_entropy_is_softmax():
    for scale in (0.1, 1.0, 30.0):
        z = scores(scale=scale)
        got = jax.jit(lambda z: project(negative_entropy, (), z))(jnp.asarray(z))
        np.testing.assert_allclose(got, special.softmax(z, -1), atol=1e-6)


def test_l2_is_the_euclidean_projection():
    for actions in (2, 3, 18):
        z = scores(200, actions)
        got = np.asarray(jax.jit(lambda z: project(l2, (), z))(jnp.asarray(z)))
        np.testing.assert_allclose(got, by_sorting(z), atol=1e-6)
        np.testing.assert_array_equal(got == 0.0, by_sorting(np.float32(z)) < 1e-7)
        assert (got == 0.0).any()


def test_tsallis_against_root_finding():
    """With the formula one usually writes, whose constant is another."""
    z, p = scores(10), jax.jit(lambda q, z: project(tsallis, q, z))
    for q in (0.5, 1.0, 1.5, 2.0, 3.0):
        usual = (lambda y: 1 + np.log(y)) if q == 1 else (lambda y, q=q: q * y ** (q - 1) / (q - 1))
        for row, expected in zip(p(jnp.asarray(q), jnp.asarray(z)), z, strict=True):
            np.testing.assert_allclose(row, slow_projection(usual, expected, 1e-12), atol=2e-6)


@pytest.mark.parametrize("name", ["learned", "learned_sparse"])
def test_learned_maps_against_root_finding(name):
    with jax.enable_x64(True):
        potential, net = members()[name]
        inverse = jax.jit(lambda y: potential.inverse(net, y))
        p = jax.jit(lambda z: project(potential, net, z))
        for z in scores(2, 3):
            expected = slow_projection(lambda y: float(inverse(jnp.asarray(float(y)))), z)
            np.testing.assert_allclose(p(jnp.asarray(z)), expected, atol=2e-7)


def cube_alone():
    """phi^{-1}(y) = y^3, and so phi infinitely steep at zero."""
    zeros = jnp.zeros((6, 21))
    one = zeros.at[0, 0].set(1.0)
    return network()._replace(w_out=one, w_in=one, bias=zeros, terms=jnp.zeros(2))


STEEP = {"tsallis_3": (tsallis, lambda: jnp.asarray(3.0)), "cube_alone": (learned, cube_alone)}


@pytest.mark.parametrize("name", ["l2", "tsallis_0.5", "learned_sparse", *STEEP])
def test_the_search_ends_at_a_mass_of_one(name):
    """Before the division that would hide it, in float64: within 1e-6, and where phi is steep within 2e-6.

    Eighteen actions, their scores equal, near and far apart.
    """
    with jax.enable_x64(True):
        potential, weights = members()[name] if name in members() else (STEEP[name][0], STEEP[name][1]())
        mass = jax.jit(lambda w, z: _undivided(potential, w, z).sum(-1))
        z = jnp.asarray(np.concatenate([scores(40, 18, scale) for scale in (0.0, 0.01, 0.1, 1.0, 30.0)]))
        tolerance = 2e-6 if name in STEEP else 1e-6
        np.testing.assert_allclose(mass(weights, z), 1.0, rtol=0, atol=tolerance)


def test_probabilities_of_many_learned_maps_sum_to_one():
    """In float32, for scores from equal to far apart; some maps have exact zeros. Undivided, nearly so."""

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(0, None))
    def p(net, z):
        return project(learned, net, z), _undivided(learned, net, z).sum(-1)

    nets = networks(200, seed=2)
    for scale in (1e-3, 1.0, 100.0):
        z = jnp.asarray(np.concatenate([scores(4, 5, scale), np.zeros((1, 5))]), jnp.float32)
        got, undivided = (np.asarray(x, float) for x in p(nets, z))
        assert (got >= 0).all()
        np.testing.assert_allclose(undivided, 1.0, rtol=0, atol=2e-5)
        np.testing.assert_allclose(got.sum(-1), 1.0, atol=1e-6)
        np.testing.assert_allclose(got[:, 4], 0.2, atol=1e-6)
        order = np.argsort(np.asarray(z), axis=-1)
        assert (np.diff(np.take_along_axis(got, order[None], -1), axis=-1) >= -1e-6).all()


@every_map
def test_derivatives_match_central_differences(name):
    """By the scores and by the weights, in float64, some probabilities exactly zero; no number is NaN."""
    with jax.enable_x64(True):
        potential, weights = members()[name]
        rng = np.random.default_rng(4)
        z, probe = jnp.asarray(scores(6, 4, 1.5)), jnp.asarray(rng.normal(size=(6, 4)))

        @jax.jit
        @functools.partial(jax.value_and_grad, has_aux=True)
        def f(at):
            p = project(potential, at[0], at[1])
            return (probe * p).sum(), p

        (_, p), gradient = f((weights, z))
        assert bool((p == 0).any()) == (name in ("l2", "tsallis_1.5", "learned_sparse"))
        leaves, treedef = jax.tree.flatten((weights, z))
        for k, (leaf, slope) in enumerate(zip(leaves, jax.tree.leaves(gradient), strict=True)):
            along = jnp.asarray(rng.normal(size=leaf.shape)) * (leaf > 0 if k < len(leaves) - 1 else 1.0)
            there, here = (
                f(jax.tree.unflatten(treedef, [*leaves[:k], leaf + h * along, *leaves[k + 1 :]]))[0][0]
                for h in (1e-6, -1e-6)
            )
            assert np.isfinite(slope).all()
            assert float((slope * along).sum()) == pytest.approx(
                float(there - here) / 2e-6, rel=1e-5, abs=1e-7
            )


def test_second_derivatives_match_differences_of_the_first():
    """Meta-gradients differentiate a gradient."""
    with jax.enable_x64(True):
        net = network(log=0.3)
        z, probe = jnp.asarray(scores(2, 3)), jnp.asarray(scores(2, 3, seed=1))
        along = jnp.asarray(scores(2, 3, seed=2))
        gradient = jax.grad(lambda z, net: (probe * project(learned, net, z)).sum())
        first = jax.jit(gradient)
        second = jax.jit(jax.grad(lambda net: (gradient(z, net) * along).sum()))(net)
        h = 1e-6
        for k in (0, 1):
            up, down = (net._replace(terms=net.terms.at[k].add(s)) for s in (h, -h))
            difference = ((first(z, up) - first(z, down)) * along).sum() / (2 * h)
            assert float(second.terms[k]) == pytest.approx(float(difference), rel=1e-4)


@every_map
def test_extreme_scores_give_finite_values_and_gradients(name):
    potential, weights = members()[name]
    z = jnp.asarray([[0.0, 0.0, 0.0], [1e4, 0.0, -1e4], [1.0, 1.0, -1e6], [-300.0, -299.0, -300.5]])

    @jax.jit
    def seen(w, z):
        p, pull = jax.vjp(lambda w, z: project(potential, w, z), w, z)
        return p, pull(p)

    p, slopes = seen(weights, z)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(slopes))
    np.testing.assert_allclose(p.sum(-1), 1.0, atol=1e-6)
    np.testing.assert_allclose(p[0], 1 / 3, atol=1e-6)
    assert p[2, 0] == pytest.approx(0.5, abs=1e-3) and p[2, 0] == p[2, 1]


def test_a_map_of_no_numbers_is_greedy():
    """phi^{-1} = 0 regularizes nothing: the best action, and no NaN."""
    nothing = jax.tree.map(jnp.zeros_like, network())
    z = jnp.asarray([[0.0, 1.0, -1.0]])
    value, slopes = jax.jit(jax.value_and_grad(lambda n: (project(learned, n, z) * z).sum()))(nothing)
    assert float(value) == 1.0 and all(np.isfinite(x).all() for x in jax.tree.leaves(slopes))
