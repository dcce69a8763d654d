"""LODO against dense matrices, and on the noisy bowl of its paper."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from objectives import build
from objectives.lodo import backward, forward, initial_operator, scale_by_lodo
from tests.inner.states import QUICK

jit: Any = functools.partial(jax.jit, compiler_options=QUICK)


def dense(operator, n):
    """M E as a matrix, ``[h, n]``, from its definition."""
    blocks, order = np.asarray(operator.blocks, np.float64), np.asarray(operator.order)
    width, block = order.shape[1], blocks.shape[-1]
    matrix = np.eye(width, n)
    for layer, permutation in zip(blocks, order, strict=True):
        diagonal = np.zeros((width, width))
        for i, small in enumerate(layer):
            diagonal[i * block : (i + 1) * block, i * block : (i + 1) * block] = small
        matrix = diagonal @ np.eye(width)[permutation] @ matrix
    return matrix


def test_width_is_twice_the_parameters_and_a_bit():
    for n, block, width in ((3, 2, 8), (5, 4, 12), (6, 4, 16), (100, 4, 204)):
        operator = initial_operator(jax.random.key(0), n, 2, block)
        assert operator.order.shape == (2, width) and operator.blocks.shape == (
            2,
            width // block,
            block,
            block,
        )
        for order, back in zip(operator.order, operator.back, strict=True):
            np.testing.assert_array_equal(np.sort(order), np.arange(width))
            np.testing.assert_array_equal(order[back], np.arange(width))
    assert np.abs(np.asarray(operator.order[0]) - np.asarray(operator.order[1])).any()


def test_operator_is_its_matrix_and_begins_as_the_identity():
    with jax.enable_x64(True):
        operator = initial_operator(jax.random.key(0), 5, 3, 4, jnp.float64)
        np.testing.assert_allclose(
            backward(operator, forward(operator, jnp.eye(5)), 5), np.eye(5), atol=1e-14
        )
        noise = jax.random.normal(jax.random.key(1), operator.blocks.shape, jnp.float64)
        operator = operator._replace(blocks=operator.blocks + 0.3 * noise)
        matrix = dense(operator, 5)
        np.testing.assert_allclose(forward(operator, jnp.eye(5)), matrix, atol=1e-13)
        preconditioner = np.asarray(backward(operator, forward(operator, jnp.eye(5)), 5))
        np.testing.assert_allclose(preconditioner, matrix.T @ matrix, atol=1e-13)
        assert np.abs(preconditioner - np.eye(5)).max() > 0.1
        assert np.linalg.eigvalsh(preconditioner).min() > 0


def test_steps_are_those_of_the_sheet():
    """x_new = x - G m; theta by Adam on finite differences of the loss there; m by the gradient there."""
    n, alpha, rate, beta = 3, 0.2, 0.03, 0.8
    rng = np.random.default_rng(0)
    hessian = np.diag([1.0, 0.3, 2.0])
    targets = rng.normal(0, 1, (5, n))

    def loss(x, t):
        return 0.5 * (x - targets[t]) @ hessian @ (x - targets[t])

    with jax.enable_x64(True):
        optimizer = scale_by_lodo(alpha, rate, beta, layers=2, block=2)
        x = jnp.ones(n)
        state: Any = optimizer.init(x)
        operator = state.operator
        m, expected = np.zeros(n), np.ones(n)
        first, second = (np.zeros(operator.blocks.shape) for _ in range(2))
        update = jit(optimizer.update)
        for t in range(5):
            # The sheet's step t begins with the move, ours ends with it.
            def moved(blocks, operator=operator, m=m, x=expected):
                matrix = dense(operator._replace(blocks=blocks), n)
                return x - alpha * matrix.T @ matrix @ m

            blocks = np.asarray(operator.blocks)
            before, expected = expected, moved(blocks)
            np.testing.assert_allclose(x, expected, atol=1e-9)
            assert np.array_equal(before, expected) == (t == 0)
            hypergradient = np.zeros_like(blocks)
            for index in np.ndindex(*blocks.shape):
                shift = np.zeros_like(blocks)
                shift[index] = 1e-5
                above, below = loss(moved(blocks + shift), t), loss(moved(blocks - shift), t)
                hypergradient[index] = (above - below) / 2e-5
            assert np.any(np.abs(hypergradient) > 1e-4) == (t > 0)
            first, second = 0.9 * first + 0.1 * hypergradient, 0.999 * second + 0.001 * hypergradient**2
            direction = first / (1 - 0.9 ** (t + 1)) / (np.sqrt(second / (1 - 0.999 ** (t + 1))) + 1e-8)
            # Where the derivative is zero but for rounding, Adam's direction is noise: theirs is taken.
            gradient = jnp.asarray(hessian @ (expected - targets[t]))
            updates, state = update(gradient, state)
            real = np.abs(hypergradient) > 1e-4
            moved_by = np.asarray(state.operator.blocks) - blocks
            np.testing.assert_allclose(moved_by[real], -rate * direction[real], rtol=2e-4, atol=1e-6)
            x, operator = x + updates, state.operator
            m = beta * m + (1 - beta) * np.asarray(gradient)


def bowl(beta, meta_rate, steps, last, seed=0):
    """Mean loss over the last steps on the paper's noisy bowl: n = 100, curvatures 1e-3 to 1, N(0, I)
    drifts."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.normal(0, 1, (100, 100)))[0]
    hessian = jnp.asarray(basis @ np.diag(np.logspace(-3, 0, 100)) @ basis.T, jnp.float32)
    optimizer = scale_by_lodo(1.0, meta_rate, beta)

    @jax.jit
    def run(key):
        start = jnp.zeros(100)

        def step(carry, key):
            x, minimum, state = carry
            minimum = minimum + jax.random.normal(key, (100,))
            slope = hessian @ (x - minimum)
            loss = 0.5 * (x - minimum) @ slope
            updates, state = optimizer.update(slope, state)
            return (x + updates, minimum, state), loss

        return jax.lax.scan(step, (start, start, optimizer.init(start)), jax.random.split(key, steps))[1]

    return float(run(jax.random.key(seed))[-last:].mean())


def test_it_learns_to_follow_a_moving_minimum():
    """Without learning it is gradient descent, at 26.6 in the long run; Newton's step would reach 7.4."""
    still, learning = bowl(0.0, 0.0, 1500, 300), bowl(0.0, 1e-3, 1500, 300)
    assert 15 < still < 40 and 7.4 < learning < 0.7 * still


@pytest.mark.slow
def test_figures_on_the_noisy_bowl():
    """Those of our sheet, of another seed and another implementation, over the last sixth of 6,000 steps."""
    assert bowl(0.0, 1e-3, 6000, 1000) == pytest.approx(11.2, rel=0.15)
    assert bowl(0.5, 1e-3, 6000, 1000) == pytest.approx(12.1, rel=0.15)
    assert bowl(0.9, 1e-3, 8000, 1000) == pytest.approx(46.6, rel=0.3)


def test_sizes_that_make_no_sense_are_refused():
    for options in ({"layers": 0}, {"block": 0}):
        with pytest.raises(ValueError, match="layers and block"):
            build("lodo", options)
