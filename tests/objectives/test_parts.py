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

T, E = 12, 6
NOW = Progress(0, 10)


def make_trajectory(seed: int = 0) -> Trajectory:
    """Random, with every kind of ending; the value at an episode's end belongs to no other state."""
    rng = np.random.default_rng(seed)
    terminated, truncated = rng.random((T, E)) < 0.2, rng.random((T, E)) < 0.2
    terminated[4, 0] = truncated[4, 0] = True
    terminated[:, 1] = truncated[:, 1] = False
    terminated[-1, 2], truncated[-1, 2] = True, False
    terminated[-1, 3], truncated[-1, 3] = False, True
    value = rng.normal(0, 3, (T + 1, E))
    value_next = np.where(terminated | truncated, rng.normal(50, 3, (T, E)), value[1:])
    zeros = jnp.zeros((T, E))
    return Trajectory(
        observation=zeros[..., None],
        action=zeros.astype(jnp.int32),
        log_prob=zeros,
        reward=jnp.asarray(rng.normal(0, 1, (T, E)), jnp.float32),
        terminated=jnp.asarray(terminated),
        truncated=jnp.asarray(truncated),
        outputs={"value": jnp.asarray(value[:-1], jnp.float32)},
        outputs_next={"value": jnp.asarray(value_next, jnp.float32)},
    )


def slow_gae(trajectory: Trajectory, gamma: float, decay: float) -> np.ndarray:
    """The lambda-weighted mean of all n-step advantages that stay inside the episode and the rollout."""
    reward, value = np.asarray(trajectory.reward, float), np.asarray(trajectory.outputs["value"], float)
    value_next = np.asarray(trajectory.outputs_next["value"], float)
    terminated, truncated = np.asarray(trajectory.terminated), np.asarray(trajectory.truncated)
    advantage = np.zeros((T, E))
    for e in range(E):
        for t in range(T):
            stop = next((k for k in range(t, T) if terminated[k, e] or truncated[k, e]), T - 1)
            n_step = []
            for last in range(t, stop + 1):
                rewards = sum(gamma ** (k - t) * reward[k, e] for k in range(t, last + 1))
                bootstrap = 0.0 if terminated[last, e] else gamma ** (last - t + 1) * value_next[last, e]
                n_step.append(rewards + bootstrap - value[t, e])
            weights = [(1 - decay) * decay**n for n in range(len(n_step) - 1)] + [decay ** (len(n_step) - 1)]
            advantage[t, e] = np.dot(weights, n_step)
    return advantage


@pytest.mark.parametrize(("gamma", "decay"), [(0.99, 0.95), (0.9, 0.5), (1.0, 1.0), (0.97, 0.0)])
def test_gae_against_the_mean_of_n_step_advantages(gamma, decay):
    for seed in range(3):
        trajectory = make_trajectory(seed)
        targets = gae({"gamma": gamma, "gae_lambda": decay}, (), trajectory, NOW)
        expected = slow_gae(trajectory, gamma, decay)
        np.testing.assert_allclose(targets.advantage, expected, rtol=2e-5, atol=1e-4)
        np.testing.assert_allclose(
            targets.value, expected + np.asarray(trajectory.outputs["value"]), rtol=2e-5, atol=1e-4
        )


def test_gae_by_hand_at_the_three_kinds_of_ending():
    """One step, gamma 0.5, reward 1, V = 2, V at the final observation = 10."""
    for terminated, truncated, expected in [(1, 0, -1.0), (1, 1, -1.0), (0, 1, 4.0), (0, 0, 4.0)]:
        full = lambda x: jnp.full((1, 1), x)  # noqa: E731
        trajectory = Trajectory(
            observation=jnp.zeros((1, 1, 1)),
            action=jnp.zeros((1, 1), jnp.int32),
            log_prob=full(0.0),
            reward=full(1.0),
            terminated=full(bool(terminated)),
            truncated=full(bool(truncated)),
            outputs={"value": full(2.0)},
            outputs_next={"value": full(10.0)},
        )
        targets = gae({"gamma": 0.5, "gae_lambda": 0.9}, (), trajectory, NOW)
        assert float(targets.advantage[0, 0]) == expected
        assert float(targets.value[0, 0]) == expected + 2.0


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


def test_value_loss_with_infinite_clip_is_half_the_squared_error():
    value, old, target = jnp.array([5.0, -1.0]), jnp.array([0.0, 2.0]), jnp.array([1.0, 1.0])
    loss, gradient = jax.value_and_grad(lambda v: value_loss(v, old, target, jnp.inf).sum())(value)
    assert float(loss) == pytest.approx(0.5 * (16 + 4))
    np.testing.assert_allclose(gradient, value - target)


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
    ours, theirs = (
        jax.jit(lambda tree, clip=clip: clip.update(tree, optax.EmptyState())[0])
        for clip in (clip_by_global_norm(0.5), optax.clip_by_global_norm(0.5))
    )
    for norm in (1e-3, 0.49, 0.51, 0.7, 1e3):
        tree = random_tree(np.random.default_rng(0))
        scale = norm / float(optax.tree.norm(tree))
        tree = jax.tree.map(lambda x, scale=scale: scale * x, tree)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), ours(tree), theirs(tree))


def test_clip_by_torso_is_optax_on_each():
    ours = jax.jit(lambda tree: clip_by_global_norm(0.5, 1.0).update(tree, optax.EmptyState())[0])
    theirs = optax.clip_by_global_norm(0.5)
    for scale in (1e-3, 0.2, 1e3):
        tree = random_tree(np.random.default_rng(0), scale)
        tree["critic"] *= 10
        expected = {torso: theirs.update(part, optax.EmptyState())[0] for torso, part in tree.items()}
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), ours(tree), expected)


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
    for update in range(8):
        rates = {rate(update, epoch, 1.0) for epoch in range(4)}
        assert len(rates) == 1 and rates.pop() == pytest.approx(full * (1 - update / 8), rel=1e-6)
        assert rate(update, 0, 0.0) == full
        assert rate(update, 0, 0.5) == pytest.approx(full * (1 - 0.5 * update / 8), rel=1e-6)


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
    only = {name: set(dict(each.defaults)) for name, each in made.items()}
    assert only["sgd"] - only["adam"] == {"critic_rate", "bias_rate"}
    assert only["adam"] - only["sgd"] == {"adam_b1", "adam_b2", "adam_eps"}
    with pytest.raises(ValueError, match=r"must be one of adam, .*, radam, .*, got 'sdg'"):
        actor_critic("mine", loss, optimizer="sdg")
