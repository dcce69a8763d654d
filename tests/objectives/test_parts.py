"""The usual parts against slow formulas, hand calculations and optax."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from objectives.base import ParamInfo, Progress, Trajectory
from objectives.optimizers import OPTIMIZERS, adam, clip_by_global_norm, sgd
from objectives.parts import DEFAULTS, gae, standardize, value_loss
from tests.objectives.by_hand import mean_of_n_step_returns, random_rollout

T, E = 12, 6
NOW = Progress(0, 10)


def make_trajectory() -> Trajectory:
    """With every kind of ending; the value at an episode's end belongs to no other state."""
    rng = np.random.default_rng(0)
    terminated, truncated = rng.random((2, T, E)) < 0.2
    terminated[4, 0] = truncated[4, 0] = True
    terminated[:, 1] = truncated[:, 1] = False
    terminated[-1, 2:4], truncated[-1, 2:4] = (True, False), (False, True)
    ends: Any = [[tuple(place) for place in np.argwhere(flags)] for flags in (terminated, truncated)]
    trajectory = random_rollout(T, E, {"value": ()}, *ends)
    value = rng.normal(0, 3, (T + 1, E))
    value_next = np.where(terminated | truncated, rng.normal(50, 3, (T, E)), value[1:])
    return trajectory._replace(
        outputs={"value": jnp.asarray(value[:-1], jnp.float32)},
        outputs_next={"value": jnp.asarray(value_next, jnp.float32)},
    )


@pytest.mark.parametrize(("gamma", "decay"), [(0.9, 0.5), (1.0, 1.0), (0.97, 0.0)])
def test_gae_against_the_mean_of_n_step_advantages(gamma, decay):
    """Whatever the value after a termination: nobody looks at it."""
    trajectory = make_trajectory()
    value_next = jnp.where(trajectory.terminated, jnp.nan, trajectory.outputs_next["value"])
    trajectory = trajectory._replace(outputs_next={"value": value_next})
    targets = gae({"gamma": gamma, "gae_lambda": decay}, (), trajectory, NOW)
    expected = mean_of_n_step_returns(trajectory, value_next, gamma, decay)
    np.testing.assert_allclose(targets.value, expected, rtol=2e-5, atol=1e-4)
    advantage = expected - np.asarray(trajectory.outputs["value"])
    np.testing.assert_allclose(targets.advantage, advantage, rtol=2e-5, atol=1e-4)


def test_value_loss_by_hand():
    #                     inside the clip   worse outside    better outside, so the clipped one counts
    value = jnp.array([1.1, 2.0, 2.0])
    old = jnp.array([1.0, 1.0, 1.0])
    target = jnp.array([2.0, 0.0, 3.0])
    expected = 0.5 * np.array([0.9**2, 2.0**2, 1.8**2])
    np.testing.assert_allclose(value_loss(value, old, target, 0.2), expected, rtol=1e-6)
    gradient = jax.grad(lambda v: value_loss(v, old, target, 0.2).sum())(value)
    np.testing.assert_allclose(gradient, [-0.9, 2.0, 0.0], rtol=1e-6)
    half_squares = 0.5 * (value - target) ** 2
    np.testing.assert_allclose(value_loss(value, old, target, jnp.inf), half_squares, rtol=1e-6)


def test_standardize():
    both = jax.jit(lambda x: (standardize(x), jax.jacobian(standardize)(x)))
    x = np.random.default_rng(0).normal(3, 5, 8).astype(np.float32)
    np.testing.assert_allclose(both(x)[0], (x - np.mean(x)) / (np.std(x) + 1e-8), rtol=1e-5, atol=1e-6)
    for equal in (np.full(1, 1.5, np.float32), np.full(8, 1.5, np.float32)):
        found, slopes = both(equal)
        np.testing.assert_array_equal(found, np.zeros_like(equal))
        assert np.isfinite(slopes).all()


def random_tree() -> dict:
    rng = np.random.default_rng(0)
    draw = lambda *shape: jnp.asarray(rng.normal(0, 1, shape), jnp.float32)  # noqa: E731
    return {"actor": {"kernel": draw(3, 4), "bias": draw(4)}, "critic": draw(5)}


def test_clip_by_global_norm_is_optax_elsewhere():
    """On the whole, and by torso on each."""
    ours, by_torso, theirs = (
        jax.jit(lambda tree, clip=clip: clip.update(tree, optax.EmptyState())[0])
        for clip in (clip_by_global_norm(0.5), clip_by_global_norm(0.5, 1.0), optax.clip_by_global_norm(0.5))
    )
    for norm in (1e-3, 0.49, 0.51, 1e3):
        tree = random_tree()
        scale = norm / float(optax.tree.norm(tree))
        tree = jax.tree.map(lambda x, scale=scale: scale * x, tree)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), ours(tree), theirs(tree))
        expected = {torso: theirs(part) for torso, part in tree.items()}
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), by_torso(tree), expected)


def test_clip_by_global_norm_at_zero_gradients():
    zeros = jax.tree.map(jnp.zeros_like, random_tree())

    def clipped(tree, max_norm, by_torso=0.0):
        return clip_by_global_norm(max_norm, by_torso).update(tree, optax.EmptyState())[0]

    jax.tree.map(lambda x: np.testing.assert_array_equal(x, np.zeros_like(x)), clipped(zeros, 0.5))
    for by_torso in (0.0, 1.0):
        derivative = jax.jit(jax.jacrev(clipped, argnums=(0, 1)))(zeros, 0.5, by_torso)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(derivative))
    _, tangent = jax.jit(lambda *x: jax.jvp(clipped, *x))(
        (zeros, 0.5), (jax.tree.map(jnp.ones_like, zeros), 1.0)
    )
    jax.tree.map(lambda x: np.testing.assert_array_equal(x, np.ones_like(x)), tangent)


def test_adam_step_is_optax_adam_step_for_gradients_of_any_size():
    """The first update, without parameters to round it: what `eps_root` must not change."""
    gradient = {"actor": jnp.asarray(np.logspace(-12, 0, 49), jnp.float32)}
    numbers = {**DEFAULTS, "max_grad_norm": jnp.inf, "anneal": 0.0, "learning_rate": 1.0}
    ours, theirs = adam(numbers), optax.adam(1.0, eps=1e-5)
    got, _ = jax.jit(lambda g: ours.update(g, ours.init(g), g, progress=NOW))(gradient)
    expected, _ = jax.jit(lambda g: theirs.update(g, theirs.init(g), g))(gradient)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), got, expected)


@pytest.mark.parametrize("name", ["adam", "rmsprop"])
def test_meta_gradient_through_updates_is_finite(name):
    """d (parameters after two updates) / d (numbers, gradients): at zero gradients above all."""
    params = {"w": jnp.array([1.0, -2.0]), "b": jnp.zeros(1)}
    make, defaults = OPTIMIZERS[name]

    def after(numbers, gradients):
        optimizer = make(numbers)
        here, state = params, optimizer.init(params)
        for n in range(2):
            updates, state = optimizer.update(gradients, state, here, progress=Progress(n, 4))
            here = optax.apply_updates(here, updates)
        return here

    derivative = jax.jit(jax.jacrev(after, argnums=(0, 1)))
    numbers = {number: jnp.float32(value) for number, value in defaults.items()}
    for size in (0.0, 1e-20, 1e-10, 1.0):
        got = derivative(numbers, jax.tree.map(lambda p, size=size: jnp.full_like(p, size), params))
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(got)), size
    for number in ("learning_rate", "max_grad_norm", f"{name}_eps"):
        assert np.asarray(got["w"][0][number]).all(), number


def test_sgd_step_by_hand():
    """Rate 10, a quarter of it gone at half of life: 8.75 for the actor, half of that for the critic.

    The rate is the same in every epoch of an update.
    """
    weight, bias = ParamInfo("actor", 0, 1, ("actor", "logits"), 1), ParamInfo("critic", 0, 1, ("", ""), 0)
    free = ParamInfo("actor", 1, 2, None, 0)
    info = {
        "actor": {"logits": {"kernel": weight}, "log_std": free},
        "critic": {"kernel": bias._replace(neuron_axis=1), "bias": bias},
    }
    gradients = {
        "actor": {"logits": {"kernel": jnp.array([[3.0, 0.0]])}, "log_std": jnp.array([4.0])},  # norm 5
        "critic": {"kernel": jnp.array([[0.3]]), "bias": jnp.array([4.0])},  # of norm 0.5 with a tenth of 4
    }
    numbers = {"learning_rate": 10.0, "anneal": 0.25, "max_grad_norm": 0.5, "clip_by_torso": 1.0}
    optimizer = sgd({**numbers, "critic_rate": 0.5, "bias_rate": 0.1})
    step: Any = optimizer.update(
        gradients, optimizer.init(gradients), gradients, progress=Progress(5, 10, 1, 4), param_info=info
    )[0]
    assert jax.tree.structure(step) == jax.tree.structure(gradients)
    np.testing.assert_allclose(step["actor"]["logits"]["kernel"], [[-8.75 * 0.3, 0.0]], rtol=1e-6)
    np.testing.assert_allclose(step["actor"]["log_std"], [-8.75 * 0.4], rtol=1e-6)
    np.testing.assert_allclose(step["critic"]["kernel"], [[-8.75 * 0.5 * 0.3]], rtol=1e-6)
    np.testing.assert_allclose(step["critic"]["bias"], [-8.75 * 0.5 * 0.4], rtol=1e-6)
