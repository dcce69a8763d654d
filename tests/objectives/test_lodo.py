"""LODO against dense matrices, and on the noisy bowl of its paper."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from objectives.learned_optimizers.lodo import backward, forward, initial_operator, scale_by_lodo


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


def test_operator_is_its_matrix_and_begins_as_the_identity():
    """Twice as wide as there are parameters, filled up to whole blocks."""
    with jax.enable_x64(True):
        operator = jax.jit(lambda key: initial_operator(key, 5, 3, 4, jnp.float64))(jax.random.key(0))
        assert operator.order.shape == (3, 12) and np.any(operator.order[0] != operator.order[1])

        @jax.jit
        def images(operator):
            image = forward(operator, jnp.eye(5))
            return image, backward(operator, image, 5)

        np.testing.assert_allclose(images(operator)[1], np.eye(5), atol=1e-14)
        noise = np.random.default_rng(1).normal(0, 0.3, operator.blocks.shape)
        operator = operator._replace(blocks=operator.blocks + noise)
        matrix, (image, preconditioner) = dense(operator, 5), images(operator)
        np.testing.assert_allclose(image, matrix, atol=1e-13)
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
        update = jax.jit(optimizer.update)
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


def bowl(beta, meta_rates, steps, layers=16, seed=0):
    """Losses ``[R, steps]`` on the paper's noisy bowl: n = 100, curvatures 1e-3 to 1, drifts N(0, I)."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.normal(0, 1, (100, 100)))[0]
    hessian = jnp.asarray(basis @ np.diag(np.logspace(-3, 0, 100)) @ basis.T, jnp.float32)

    def run(meta_rate, drifts):
        optimizer = scale_by_lodo(1.0, meta_rate, beta, layers=layers)
        start = jnp.zeros(100)

        def step(carry, drift):
            x, minimum, state = carry
            minimum = minimum + drift
            slope = hessian @ (x - minimum)
            loss = 0.5 * (x - minimum) @ slope
            updates, state = optimizer.update(slope, state)
            return (x + updates, minimum, state), loss

        return jax.lax.scan(step, (start, start, optimizer.init(start)), drifts)[1]

    drifts = jnp.asarray(rng.normal(0, 1, (steps, 100)), jnp.float32)
    return np.asarray(jax.jit(jax.vmap(run, in_axes=(0, None)))(jnp.asarray(meta_rates), drifts))


@pytest.mark.slow
def test_figures_on_the_noisy_bowl():
    """Those of another implementation with another seed, over the last sixth of 6,000 steps."""
    for beta, expected, spread in ((0.0, 11.2, 0.15), (0.5, 12.1, 0.15), (0.9, 46.6, 0.3)):
        loss = bowl(beta, [1e-3], 6000)[0, -1000:].mean()
        assert loss == pytest.approx(expected, rel=spread), beta
