"""Potentials against their published formulas, quadrature and differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate

from objectives.mirror_map.learned_potential import LOG_SHIFT, learned, monotone, random_numbers
from objectives.mirror_map.potentials import expm1_ratio, l2, log1p_ratio, negative_entropy, slope, tsallis
from tests.objectives.maps import members, network, networks

every_map = pytest.mark.parametrize("name", members())


def plain_inverse(net, y):
    """The sum as it is printed, term by term."""
    gs = [lambda z: z**3, lambda z: z**2, np.sqrt, np.cbrt, lambda z: np.log(z + LOG_SHIFT), np.exp]
    v, w, b = (np.asarray(x, float) for x in (net.w_out, net.w_in, net.bias))
    units = [v[k, j] * g(w[k, j] * y + b[k, j]) for k, g in enumerate(gs) for j in range(v.shape[1])]
    return sum(units) + float(net.terms[0]) * y + float(net.terms[1]) * np.log(y)


@every_map
def test_phi_inverts_its_inverse(name):
    potential, weights = members()[name]
    y = jnp.asarray(np.geomspace(2e-8, 1.0, 400))
    phi = jax.jit(lambda w, y: potential.phi(potential.prepare(w), potential.inverse(w, y)))
    np.testing.assert_allclose(phi(weights, y), y, rtol=2e-3, atol=5e-7)


@every_map
def test_integral_and_slope(name):
    """H(1) = 0, H' = phi^{-1}, by differences and by quadrature; H(0) is finite."""
    with jax.enable_x64(True):
        potential, weights = members()[name]
        y, h = jnp.asarray(np.geomspace(1e-4, 0.99, 40)), 1e-7

        @jax.jit
        def seen(w, y):
            both = potential.inverse(w, y), potential.integral(w, y)
            return *both, slope(potential, w, y), jax.vmap(jax.grad(lambda y: potential.integral(w, y)))(y)

        inverse, _, steep, derivative = seen(weights, y)
        np.testing.assert_allclose(derivative, inverse, rtol=1e-9, atol=1e-9)
        (up, *_), (down, *_) = seen(weights, y + h * y), seen(weights, y - h * y)
        np.testing.assert_allclose(steep, (up - down) / (2 * h * y), rtol=1e-5, atol=1e-6)
        inverse_at = jax.jit(potential.inverse)
        area = integrate.quad(lambda t: float(inverse_at(weights, jnp.asarray(t))), 0.3, 1, limit=30)[0]
        at = seen(weights, jnp.full(40, 0.3))[1][0], seen(weights, jnp.full(40, 1.0))[1][0]
        assert -area == pytest.approx(float(at[0]), rel=1e-7)
        assert float(at[1]) == 0.0
        assert np.isfinite(seen(weights, jnp.zeros(40))[1]).all()


def test_the_learned_map_is_the_printed_sum():
    net = network(seed=3)
    assert sum(x.size for x in net) == 380 and int((net.w_out > 0).sum() + (net.w_in > 0).sum()) > 100
    y = np.geomspace(1e-6, 1.0, 50)
    np.testing.assert_allclose(
        jax.jit(learned.inverse)(net, jnp.asarray(y)), plain_inverse(net, y), rtol=1e-4, atol=1e-4
    )


def test_learned_maps_increase_strictly():
    """A thousand draws, on 1e-8 .. 1, in float64: steps may be finer than float32 resolves."""
    with jax.enable_x64(True):
        y = jnp.asarray(np.geomspace(1e-8, 1.0, 200))
        nets = networks(1000, seed=5)
        x = np.asarray(jax.jit(jax.vmap(lambda net: learned.inverse(net, y)))(nets))
        assert (np.diff(x, axis=1) > 0).all()
        assert (np.asarray(nets.terms[:, 1]) == 0).mean() > 0.4  # not by the logarithm alone


def test_known_maps_by_hand():
    y = jnp.asarray([0.01, 0.25, 1.0])
    np.testing.assert_allclose(negative_entropy.inverse((), y), 1 + np.log(y), rtol=1e-6)
    np.testing.assert_allclose(l2.inverse((), y), y)
    for q in (0.5, 1.5, 3.0):
        usual = q * np.asarray(y) ** (q - 1) / (q - 1)
        difference = np.asarray(jax.jit(tsallis.inverse)(jnp.asarray(q), y)) - usual
        np.testing.assert_allclose(difference, difference[0], atol=1e-4)


def test_tsallis_passes_through_negative_entropy():
    """At q = 1, and beside it, where the usual formula loses all digits; derivatives by q are finite."""
    y, x = jnp.asarray([1e-3, 0.3, 0.9]), jnp.asarray([-2.0, 0.0, 0.9])
    for q in (1.0, 1.0 + 1e-6, 1.0 - 1e-5):
        np.testing.assert_allclose(jax.jit(tsallis.inverse)(jnp.asarray(q), y), 1 + np.log(y), rtol=2e-4)
        np.testing.assert_allclose(jax.jit(tsallis.phi)(jnp.asarray(q), x), np.exp(x - 1), rtol=2e-4)
        np.testing.assert_allclose(jax.jit(tsallis.integral)(jnp.asarray(q), y), y * np.log(y), rtol=2e-4)
    slopes = jax.jit(jax.jacobian(lambda q: tsallis.inverse(q, y)))(jnp.asarray(1.0))
    np.testing.assert_allclose(slopes, np.log(y) + np.log(y) ** 2 / 2, rtol=1e-5)


def test_ratios_are_smooth_at_zero():
    with jax.enable_x64(True):
        for f, exact in ((expm1_ratio, lambda u: np.expm1(u) / u), (log1p_ratio, lambda u: np.log1p(u) / u)):
            u = np.array([-0.5, -2e-3, -1e-3, -9e-4, 1e-5, 9e-4, 1.1e-3, 0.5])
            np.testing.assert_allclose(jax.jit(f)(jnp.asarray(u)), exact(u), rtol=1e-11)
            at_zero, slopes = jax.jit(jax.vmap(jax.value_and_grad(f)))(jnp.asarray([0.0, 9.99e-4, 1.001e-3]))
            assert float(at_zero[0]) == 1.0 and abs(float(slopes[0])) == 0.5
            assert np.isfinite(slopes).all() and slopes[1] == pytest.approx(float(slopes[2]), rel=1e-4)


def test_the_search_begins_at_negative_entropy_or_at_a_random_map():
    y = jnp.asarray(np.geomspace(1e-6, 1.0, 20))
    anchored = random_numbers(jax.random.key(0), 126, True)
    assert sum(x.size for x in jax.tree.leaves(anchored)) == 380
    inverse = jax.jit(lambda numbers: learned.inverse(monotone(numbers, True), y))
    np.testing.assert_allclose(inverse(anchored), np.log(y), rtol=1e-6, atol=1e-7)
    free = [random_numbers(jax.random.key(k), 126, False) for k in (0, 1)]
    inverse = jax.jit(lambda numbers: learned.inverse(monotone(numbers, False), y))
    x = [np.asarray(inverse(numbers)) for numbers in free]
    assert all((np.diff(one) > 0).all() for one in x) and np.abs(x[0] - x[1]).max() > 0.1


def test_numbers_of_any_sign_give_a_network_without_a_negative_one():
    numbers = {"w_out": jnp.asarray([[-1.0, 2.0]] * 6), "terms": jnp.asarray([-0.5, -0.25])}
    numbers |= {"w_in": jnp.ones((6, 2)), "bias": -jnp.ones((6, 2))}
    net = monotone(numbers, False)
    np.testing.assert_allclose(net.w_out, [[0.0, 2.0 / 12]] * 6)
    assert not net.terms.any() and not net.bias.any()
    assert monotone(numbers, True).terms.tolist() == [0.0, 0.75]


def test_gradients_leave_zero_and_are_finite_there():
    """At all zeros, at the anchor, and where input and bias of a unit are both cut off."""
    y = jnp.asarray([1e-6, 0.1, 1.0])

    @jax.jit
    def gradient(numbers):
        def total(numbers):
            net = monotone(numbers, True)
            return (learned.inverse(net, y) + learned.integral(net, y)).sum() + slope(learned, net, y).sum()

        return jax.grad(total)(numbers)

    anchor = random_numbers(jax.random.key(0), 12, True)
    for numbers in (anchor, jax.tree.map(jnp.zeros_like, anchor), jax.tree.map(lambda x: x - 2.0, anchor)):
        assert all(np.isfinite(x).all() for x in jax.tree.leaves(gradient(numbers)))
    at_anchor = gradient(anchor)
    assert (np.abs(at_anchor["w_out"]) > 1e-3).all() and abs(float(at_anchor["terms"][0])) > 0.1
