"""DiscoRL: sizes by hand, the meta-network and its inputs against numpy, what gradients reach, the loss."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from objectives import build
from objectives.base import Progress
from objectives.disco.algorithm import DiscoMemory, disco_loss, remember
from objectives.disco.network import DiscoTargets, initial_life
from objectives.disco.values import Moments, add_to_moments, no_moments, two_hot, values_of
from tests.objectives.by_hand import batch_of, random_rollout, sigmoid, softmax

T, E, A, M, BINS = 5, 2, 3, 4, 7
NOW = Progress(0, 10)
SMALL = {"predictions": M, "units": 6, "lifetime": 5, "embedding": 3, "bins": BINS, "action_units": 8}
HEADS = {"logits": (A,), "y": (M,), "z": (A, M), "next_policy": (A, A), "q": (A, BINS)}
DISCO = build("disco", SMALL)
NUMBERS = {**dict(DISCO.defaults), "gamma": 0.9}


def random_weights() -> Any:
    """Of gain 1, biases too."""
    rng = np.random.default_rng(0)

    def drawn(leaf: Any) -> Any:
        return jnp.asarray(rng.normal(0, leaf.shape[0] ** -0.5, leaf.shape), jnp.float32)

    return jax.tree.map(drawn, jax.eval_shape(DISCO.init, jax.random.key(0)))["disco"]


WEIGHTS = random_weights()
ROLLOUT = random_rollout(T, E, HEADS, terminated=[(1, 0)], truncated=[(2, 1)], n_actions=A, target=True)
LIFE = tuple(jnp.asarray(x, jnp.float32) for x in np.random.default_rng(5).normal(0, 0.5, (2, 5)))
MEMORY = DiscoMemory({"w": jnp.ones(2)}, {"w": jnp.zeros(2)}, Moments(*jnp.array([0.1, 0.4, 0.3])), LIFE)


def test_the_published_network_has_754_778_numbers_in_42_arrays():
    """Every layer is a matrix and a bias: 21 of them."""
    mlp = (600 * 16 + 16) + (16 * 1 + 1)  # f_y, and f_z
    actions = (2 * 9 * 16 + 16) + (2 * 16 * 2 + 2)  # each action's numbers, and their mean
    inputs = 2 * mlp + actions  # 6 layers, once for the trajectory and once for the lifetime
    look_back = (27 + 256) * 4 * 256 + 4 * 256
    gate = 128 * 256 + 256
    y_hat = z_hat = 256 * 600 + 600
    summary = 256 + 1
    pi_hat = (2 * (256 + 2) * 16 + 16) + (16 + 1)
    of_trajectory = inputs + look_back + gate + y_hat + z_hat + summary + pi_hat  # 6 + 1 + 1 + 2 + 1 + 2
    step = (27 + 2) * 16 + 16
    of_life = inputs + step + (16 + 128) * 4 * 128 + 4 * 128  # 6 + 1 + 1
    leaves = jax.tree.leaves(jax.eval_shape(build("disco").init, jax.random.key(0)))
    assert sum(math.prod(leaf.shape) for leaf in leaves) == of_trajectory + of_life == 754_778
    assert len(leaves) == 2 * (13 + 8) == 42


def test_random_weights_have_the_published_deviations():
    """A normal distribution cut off at two deviations has 0.88 of its own."""
    weights = jax.jit(build("disco", {**SMALL, "units": 64, "lifetime": 32, "predictions": 64}).init)(
        jax.random.key(0)
    )["disco"]
    of = lambda *path: float(np.std(functools.reduce(lambda w, k: w[k], path, weights)["kernel"]))  # noqa: E731
    assert of("gate") == pytest.approx(0.88, rel=0.05)
    assert of("y_hat") == pytest.approx(0.3 * 0.88, rel=0.05) == of("z_hat")
    assert of("look_back") == pytest.approx((27 + 64) ** -0.5, rel=0.05)
    assert of("inputs", "y", "in") == pytest.approx(1 / 8, rel=0.15)
    assert np.abs(weights["y_hat"]["kernel"] - weights["z_hat"]["kernel"]).max() > 0.1
    for path, leaf in jax.tree.leaves_with_path(weights):
        assert np.any(leaf) != ("bias" in jax.tree_util.keystr(path)), path


def test_heads_have_the_published_sizes_and_deviations():
    heads = build("disco").policy.heads(4, False)
    declared = {name: (head.actions, head.size, round(head.deviation, 4)) for name, head in heads.items()}
    of_model = 0.0884  # of 128 inputs, each with variance 1 / 128
    assert declared == {
        "logits": (0, 4, 0.01),
        "y": (0, 600, 0.01),
        "z": (4, 600, of_model),
        "next_policy": (4, 4, of_model),
        "q": (4, 601, of_model),
    }


# The network, once more: numpy, float64, one step of one environment at a time


def slog(x: Any) -> Any:
    return np.sign(x) * np.log(1 + np.abs(x))


def dense(layer: Any, x: Any) -> Any:
    return x @ layer["kernel"] + layer["bias"]


def embed(mlp: Any, logits: Any) -> Any:
    return dense(mlp["out"], np.maximum(dense(mlp["in"], softmax(logits)), 0))[..., 0]


def in_context(layer: Any, rows: Any) -> Any:
    mean = sum(rows) / len(rows)
    return np.array([np.maximum(dense(layer, np.concatenate([row, mean])), 0) for row in rows])


def lstm(layer: Any, x: Any, h: Any, c: Any) -> Any:
    i, f, g, o = np.split(dense(layer, np.concatenate([x, h])), 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def inputs_of_step(w: Any, tr: Any, values: Any, moments: Any, t: int, e: int) -> Any:
    """The 27 numbers of a step, in the order of the reference's table, and the action embedding."""
    here, there, target, target_there = (
        {name: np.asarray(head[t, e], np.float64) for name, head in outputs.items()}
        for outputs in (tr.outputs, tr.outputs_next, tr.target_outputs, tr.target_outputs_next)
    )
    a = int(tr.action[t, e])
    pi, pi_next, pi_target = (softmax(o["logits"]) for o in (here, there, target))
    mean = moments.first / moments.weight
    deviation = np.sqrt(moments.second / moments.weight - mean**2 + 1e-12) + 1e-6
    z, z_next, z_target, z_target_next = (embed(w["z"], o["z"]) for o in (here, there, target, target_there))
    rows = []
    for action in range(A):
        advantage = values.action_advantage[t, e, action]
        row = [pi[action], pi[action], pi_target[action], z[action], z_target[action]]
        row += [slog(values.action_value[t, e, action]), slog(advantage), (advantage - mean) / deviation]
        rows.append(np.array([*row, float(action == a)]))
    embedding = in_context(w["actions"]["out"], in_context(w["actions"]["in"], rows))
    advantage = values.advantage[t, e]
    step = [pi[a], np.exp(tr.log_prob[t, e]), slog(tr.reward[t, e]), 1 - float(tr.terminated[t, e])]
    step += [slog(values.value[t, e]), slog(values.value_next[t, e])]
    step += [slog(advantage), (advantage - mean) / deviation, pi_target[a]]
    step += [embed(w["y"], o["y"]) for o in (here, there, target, target_there)]
    step += [z[a], pi @ z, pi_next @ z_next, z.max(), z_next.max()]
    step += [z_target[a], pi @ z_target, pi_next @ z_target_next, z_target.max(), z_target_next.max()]
    return np.array([*step, *embedding.mean(0), *embedding[a]], np.float64), embedding


def in_loops(weights: Any, life: Any, tr: Any, values: Any, moments: Any) -> Any:
    """pi_hat, y_hat, z_hat, and the lifetime's state after the rollout."""
    w, values, moments, life, tr = (
        jax.tree.map(lambda x: np.asarray(x, np.float64), tree)
        for tree in (weights, values, moments, life, tr)
    )
    tr = tr._replace(action=tr.action.astype(int))
    gate = dense(w["gate"], life[0])
    pi_hat, y_hat, z_hat = np.zeros((T, E, A)), np.zeros((T, E, M)), np.zeros((T, E, M))
    lived = []
    for e in range(E):
        h, c = np.zeros((2, len(gate)))
        for t in reversed(range(T)):
            if tr.terminated[t, e] or tr.truncated[t, e]:
                h, c = np.zeros((2, len(gate)))
            inputs, embedding = inputs_of_step(w["inputs"], tr, values, moments, t, e)
            h, c = lstm(w["look_back"], inputs, h, c)
            x = h * gate
            y_hat[t, e], z_hat[t, e] = dense(w["y_hat"], x), dense(w["z_hat"], x)
            rows = in_context(w["pi_hat"]["context"], [np.concatenate([x, row]) for row in embedding])
            pi_hat[t, e] = [dense(w["pi_hat"]["out"], row).item() for row in rows]
            own, _ = inputs_of_step(w["lifetime"]["inputs"], tr, values, moments, t, e)
            said = embed(w["lifetime"]["inputs"]["y"], y_hat[t, e])
            seen = np.concatenate([own, dense(w["summary"], x), [said]])
            lived.append(dense(w["lifetime"]["step"], seen))
    return pi_hat, y_hat, z_hat, lstm(w["lifetime"]["recurrence"], sum(lived) / len(lived), *life)


@pytest.fixture(scope="module")
def reflected() -> Any:
    """Targets and the next memory."""

    @jax.jit
    def both(memory: Any) -> Any:
        meta_params = {**NUMBERS, "disco": WEIGHTS}
        targets = DISCO.targets(meta_params, memory, ROLLOUT, NOW)
        return targets, DISCO.memory.update(meta_params, memory, ROLLOUT, {"w": jnp.full(2, 7.0)}, None, NOW)

    return both


def test_targets_and_life_are_those_of_loops_in_numpy(reflected):
    """Resets at both kinds of end; the lifetime makes one step of an LSTM for the whole rollout."""
    targets, after = reflected(MEMORY)
    values = jax.jit(values_of)(NUMBERS, ROLLOUT)
    moments = add_to_moments(MEMORY.advantages, values.advantage, NUMBERS["moments_decay"])
    pi_hat, y_hat, z_hat, life = in_loops(WEIGHTS, LIFE, ROLLOUT, values, moments)
    assert min(np.ptp(pi_hat), np.ptp(y_hat), np.ptp(z_hat)) > 0.05
    for got, expected in (
        (targets.pi_hat, pi_hat),
        (targets.y_hat, y_hat),
        (targets.z_hat, z_hat),
        (after.life, life),
    ):
        np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(targets.policy_next, ROLLOUT.outputs_next["logits"])
    np.testing.assert_allclose(targets.q_target, values.q_target, rtol=2e-4)
    np.testing.assert_allclose(after.advantages, moments, rtol=1e-6)


def test_a_memory_begins_at_zero_and_changes_once_per_rollout(reflected):
    params = {"w": jnp.array([3.0, 4.0])}
    born = DISCO.memory.init({}, params, jax.random.key(0))
    assert all(not np.any(x) for x in (*born.life, *born.advantages))
    assert born.target is params and DISCO.memory.target_params(born) is params
    assert [x.shape for x in initial_life(5)] == [x.shape for x in born.life] == [(5,), (5,)]
    first = reflected(MEMORY._replace(life=born.life, advantages=no_moments()))[1]
    second = reflected(first)[1]
    # The target network follows with parameters from before the update: 0, and then 7.
    np.testing.assert_allclose(first.target["w"], 0.9, rtol=1e-6)
    np.testing.assert_allclose(second.target["w"], 0.9 * 0.9 + 0.1 * 7, rtol=1e-6)
    for a, b in zip(first.life, second.life, strict=True):
        assert np.abs(a - b).max() > 1e-4 and np.any(a)
    np.testing.assert_allclose([first.advantages.weight, second.advantages.weight], [0.01, 0.0199], rtol=1e-4)


def test_gradients_pass_through_y_and_z_and_not_through_policies_and_values():
    """Derivatives of all targets and of the life."""

    @jax.jit
    @jax.grad
    def slopes(moved):
        trajectory, memory = moved
        rollout = ROLLOUT._replace(**trajectory)
        targets = DISCO.targets({**NUMBERS, "disco": WEIGHTS}, memory, rollout, NOW)
        of_first = sum(jnp.sin(x[0, 0]).sum() for x in targets)
        after = remember({**NUMBERS, "disco": WEIGHTS}, memory, rollout, memory.latest, None, NOW)
        return of_first + jnp.sin(after.life[0]).sum()

    names = ("outputs", "outputs_next", "target_outputs", "target_outputs_next", "log_prob")
    by_rollout, by_memory = slopes(({name: getattr(ROLLOUT, name) for name in names}, MEMORY))
    for outputs in names[:-1]:
        for head, slope in by_rollout[outputs].items():
            assert np.any(slope) == (head in ("y", "z")), (outputs, head)
    assert not np.any(by_rollout["log_prob"])
    assert all(np.any(x) for x in (*by_memory.life, *by_memory.advantages))


def test_loss_and_its_slopes_by_hand():
    """Five terms with coefficients of different sizes; slopes in what is a distribution: q - p."""
    rng = np.random.default_rng(0)
    n = 6
    outputs = {name: rng.normal(0, 1, (n, *shape)) for name, shape in HEADS.items()}
    action, rows = rng.integers(0, A, n), np.arange(n)
    terminated = np.arange(n) % 2 == 0
    logits = [rng.normal(0, 1, (n, size)) for size in (A, M, M, A)]
    said: Any = DiscoTargets(*logits, q_target=rng.normal(0, 500, n))  # type: ignore[arg-type]
    single = lambda x: jnp.asarray(x, jnp.float32)  # noqa: E731
    ends = {"terminated": jnp.asarray(terminated), "truncated": jnp.asarray(~terminated)}
    batch = batch_of(action, jax.tree.map(single, said), **ends)
    names = ("policy_coef", "y_coef", "z_coef", "next_policy_coef", "q_coef")
    coefs: dict[str, Any] = dict(zip(names, (1.0, 0.5, 0.25, 2.0, 0.2), strict=True))

    def loss(outputs):
        each = disco_loss(coefs, batch, outputs, NOW, jax.random.key(0))
        return each.sum(), each

    slopes, each = jax.jit(jax.grad(loss, has_aux=True))(jax.tree.map(single, outputs))

    def kl(of, from_):
        p, q = softmax(of), softmax(from_)
        return (p * np.log(p / q)).sum(-1)

    p_a, z_a, q_a = (outputs[name][rows, action] for name in ("next_policy", "z", "q"))
    bins = np.asarray(two_hot(single(said.q_target), BINS), np.float64)
    expected = 1.0 * kl(said.pi_hat, outputs["logits"]) + 0.5 * kl(said.y_hat, outputs["y"])
    expected += 0.25 * kl(said.z_hat, z_a) + 2.0 * ~terminated * kl(said.policy_next, p_a)
    expected -= 0.2 * (bins * np.log(softmax(q_a))).sum(-1)
    np.testing.assert_allclose(each, expected, rtol=1e-4)
    np.testing.assert_allclose(slopes["logits"], softmax(outputs["logits"]) - softmax(said.pi_hat), atol=1e-5)
    by_z, by_q = np.zeros((n, A, M)), np.zeros((n, A, BINS))
    by_z[rows, action] = 0.25 * (softmax(z_a) - softmax(said.z_hat))
    by_q[rows, action] = 0.2 * (softmax(q_a) - bins)
    np.testing.assert_allclose(slopes["z"], by_z, atol=1e-5)
    np.testing.assert_allclose(slopes["q"], by_q, atol=1e-5)
    assert not np.any(slopes["next_policy"][terminated]) and np.any(slopes["next_policy"][~terminated])
