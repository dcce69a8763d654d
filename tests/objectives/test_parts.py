"""The usual parts against slow formulas, hand calculations and optax."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from objectives.base import ParamInfo, Progress, Trajectory
from objectives.optimizers import OPTIMIZERS, adam, clip_by_global_norm, sgd
from objectives.parts import DEFAULTS, PolicyLoss, actor_critic, gae, standardize, value_loss
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
    trajectory = make_trajectory()
    targets = gae({"gamma": gamma, "gae_lambda": decay}, (), trajectory, NOW)
    expected = mean_of_n_step_returns(trajectory, trajectory.outputs_next["value"], gamma, decay)
    np.testing.assert_allclose(targets.value, expected, rtol=2e-5, atol=1e-4)
    np.testing.assert_allclose(
        targets.advantage, expected - np.asarray(trajectory.outputs["value"]), rtol=2e-5, atol=1e-4
    )


def test_gae_never_looks_at_the_value_after_a_termination():
    trajectory = make_trajectory()
    poisoned = jnp.where(trajectory.terminated, jnp.nan, trajectory.outputs_next["value"])
    numbers = {"gamma": 0.99, "gae_lambda": 0.95}
    expected = gae(numbers, (), trajectory, NOW)
    got = gae(numbers, (), trajectory._replace(outputs_next={"value": poisoned}), NOW)
    np.testing.assert_array_equal(got.advantage, expected.advantage)


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
    x = jnp.asarray(np.random.default_rng(0).normal(3, 5, 64), jnp.float32)
    np.testing.assert_allclose(standardize(x), (x - np.mean(x)) / (np.std(x) + 1e-8), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [1, 8])
def test_standardize_of_equal_values_is_zero_with_a_finite_derivative(size):
    x = jnp.full(size, 1.5)
    np.testing.assert_array_equal(standardize(x), np.zeros(size))
    assert np.isfinite(jax.jit(jax.jacobian(standardize))(x)).all()


def random_tree(rng: np.random.Generator, scale: float = 1.0) -> dict:
    draw = lambda *shape: jnp.asarray(rng.normal(0, scale, shape), jnp.float32)  # noqa: E731
    return {"actor": {"kernel": draw(3, 4), "bias": draw(4)}, "critic": draw(5)}


def test_clip_by_global_norm_is_optax_elsewhere():
    """On the whole, and by torso on each."""
    ours, by_torso, theirs = (
        jax.jit(lambda tree, clip=clip: clip.update(tree, optax.EmptyState())[0])
        for clip in (clip_by_global_norm(0.5), clip_by_global_norm(0.5, 1.0), optax.clip_by_global_norm(0.5))
    )
    for norm in (1e-3, 0.49, 0.51, 1e3):
        tree = random_tree(np.random.default_rng(0))
        scale = norm / float(optax.tree.norm(tree))
        tree = jax.tree.map(lambda x, scale=scale: scale * x, tree)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), ours(tree), theirs(tree))
        expected = {torso: theirs(part) for torso, part in tree.items()}
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), by_torso(tree), expected)


def test_clip_by_global_norm_at_zero_gradients():
    zeros = jax.tree.map(jnp.zeros_like, random_tree(np.random.default_rng(0)))

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


def test_adam_is_optax_adam_behind_a_clip():
    """30 steps, 6 to a rollout, in a life of 5 rollouts: the rate falls once per rollout."""
    schedule: Any = lambda count: 0.01 * (1.0 - (count // 6) / 5)  # noqa: E731
    theirs = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(schedule, eps=1e-5))
    ours = adam({**DEFAULTS, "learning_rate": 0.01})

    @jax.jit
    def run(gradients):
        """How far every parameter moves from zero, by either."""
        zeros = jax.tree.map(lambda g: jnp.zeros_like(g[0]), gradients)

        def step(carry, inputs):
            (p, s), (q, r) = carry
            gradient, n = inputs
            updates, s = ours.update(gradient, s, p, progress=Progress(n, 5))
            others, r = theirs.update(gradient, r, q)
            return ((optax.apply_updates(p, updates), s), (optax.apply_updates(q, others), r)), None

        start = ((zeros, ours.init(zeros)), (zeros, theirs.init(zeros)))
        ((p, _), (q, _)), _ = jax.lax.scan(step, start, (gradients, jnp.arange(30) // 6))
        return p, q

    rng = np.random.default_rng(0)
    for scale in (1e-8, 1e-6, 1e-2, 10.0):
        trees = [random_tree(rng, scale) for _ in range(30)]
        got, expected = run(jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees))
        largest = max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(expected))
        close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * largest)  # noqa: B023, E731
        jax.tree.map(close, got, expected)


def test_adam_step_is_optax_adam_step_for_gradients_of_any_size():
    """The first update, without parameters to round it: what `eps_root` must not change."""
    gradient = {"actor": jnp.asarray(np.logspace(-12, 0, 49), jnp.float32)}
    numbers = {**DEFAULTS, "max_grad_norm": jnp.inf, "anneal": 0.0, "learning_rate": 1.0}
    ours, theirs = adam(numbers), optax.adam(1.0, eps=1e-5)
    got, _ = ours.update(gradient, ours.init(gradient), gradient, progress=NOW)
    expected, _ = theirs.update(gradient, theirs.init(gradient), gradient)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), got, expected)


def test_annealing_is_constant_within_a_rollout_and_linear_over_the_life():
    """Adam's first step is learning_rate * g / (|g| + eps): the rate can be read off."""
    gradient = {"w": jnp.ones(1)}

    def rate(update, epoch, anneal):
        optimizer = adam({**DEFAULTS, "learning_rate": 0.1, "anneal": anneal})
        now = Progress(update, 8, epoch, 4)
        step: Any = optimizer.update(gradient, optimizer.init(gradient), progress=now)[0]
        return -float(step["w"][0])

    full = rate(0, 0, 1.0)
    assert rate(4, 0, 1.0) == rate(4, 3, 1.0) == pytest.approx(full * (1 - 4 / 8), rel=1e-6)
    assert rate(4, 0, 0.0) == full
    assert rate(4, 0, 0.5) == pytest.approx(full * (1 - 0.5 * 4 / 8), rel=1e-6)


def test_meta_gradient_through_updates_is_finite():
    """d (parameters after two updates) / d (numbers, gradients): at zero gradients above all."""
    params = {"w": jnp.array([1.0, -2.0]), "b": jnp.zeros(1)}

    def after(numbers, gradients):
        optimizer = adam(numbers)
        here, state = params, optimizer.init(params)
        for n in range(2):
            updates, state = optimizer.update(gradients, state, here, progress=Progress(n, 4))
            here = optax.apply_updates(here, updates)
        return here

    derivative = jax.jit(jax.jacrev(after, argnums=(0, 1)))
    numbers = {name: jnp.float32(value) for name, value in DEFAULTS.items()}
    for size in (0.0, 1e-20, 1e-10, 1.0):
        gradients = jax.tree.map(lambda p: jnp.full_like(p, size), params)  # noqa: B023
        got = derivative(numbers, gradients)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(got)), size
    for name in ("learning_rate", "max_grad_norm", "adam_eps"):
        assert np.asarray(got["w"][0][name]).all(), name


def test_sgd_step_by_hand():
    """Rate 10, a quarter of it gone at half of life: 8.75 for the actor, half of that for the critic."""
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
        gradients, optimizer.init(gradients), gradients, progress=Progress(5, 10), param_info=info
    )[0]
    assert jax.tree.structure(step) == jax.tree.structure(gradients)
    np.testing.assert_allclose(step["actor"]["logits"]["kernel"], [[-8.75 * 0.3, 0.0]], rtol=1e-6)
    np.testing.assert_allclose(step["actor"]["log_std"], [-8.75 * 0.4], rtol=1e-6)
    np.testing.assert_allclose(step["critic"]["kernel"], [[-8.75 * 0.5 * 0.3]], rtol=1e-6)
    np.testing.assert_allclose(step["critic"]["bias"], [-8.75 * 0.5 * 0.4], rtol=1e-6)


def test_optimizers_by_name():
    loss = PolicyLoss(lambda numbers, log_prob, old, advantage, progress: -log_prob * advantage)
    made = {name: actor_critic("mine", loss, optimizer=name, gamma=0.5) for name in OPTIMIZERS}
    assert made["adam"].optimizer is adam and made["sgd"].optimizer is sgd
    assert dict(made["adam"].defaults) == {**DEFAULTS, "gamma": 0.5}
    with pytest.raises(ValueError, match="sdg"):
        actor_critic("mine", loss, optimizer="sdg")
