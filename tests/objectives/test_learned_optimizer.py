"""OPEN against numpy, and what holds of it whatever its weights."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from discovery.inner.networks.network import Body, make_network
from objectives import build
from objectives.base import Head, ParamInfo, Progress
from objectives.learned_optimizers.features import chosen, dormancy, proportions
from objectives.learned_optimizers.open import actor_noise
from objectives.optimizers import adam
from objectives.per_parameter import unflat
from tests.inner.states import CATCH, begin, go
from tests.objectives.open_by_hand import MOMENTUM, Open, Tensor, descending

DISCRETE = {"logits": Head(3, scale=0.01), "value": Head(0, torso="critic")}
CONTINUOUS = {"mean": Head(2), "log_std": Head(2, free=True), "value": Head(0, torso="critic")}
B, SHAPE = 9, (4, 4, 1)
AGENTS = {
    "discrete": (DISCRETE, Body((7, 6), "relu"), False),
    "continuous": (CONTINUOUS, Body((7, 6)), False),
    "shared, of everything": (CONTINUOUS, Body((5, 4), "relu", (3,), True, 2, "gru"), True),
}
MULTI_TASK = {"gru_width": 16, "width": 32}
FEED_FORWARD = {"gru_width": 0}
NO_FEATURES = {"gru_width": 0, "features": "raw"}
COUNTS = (1, 2, 4)
"""Minibatches, epochs, rollouts."""


def weights_of(algorithm, seed=0, size=0.5):
    """Random ones: initial ones may be zero."""
    shapes = jax.eval_shape(algorithm.init, jax.random.key(0))["optimizer"]
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda s: jnp.asarray(rng.normal(0, size, s.shape), jnp.float32), shapes)


def complete(algorithm, weights, **numbers):
    plain = {name: jnp.float32(value) for name, value in {**dict(algorithm.defaults), **numbers}.items()}
    return {**plain, "optimizer": weights}


@functools.cache
def agent(name):
    """Network, params, and activations of a batch, flat as the loop hands them over."""
    heads, body, shared = AGENTS[name]
    network = make_network(heads, SHAPE, body, shared)

    @jax.jit
    def live(params, x):
        _, _, activations = network.unroll(params, network.initial_carry(3), x, jnp.zeros((3, 3), bool))
        return jax.tree.map(lambda a: a.reshape(B, *a.shape[2:]), activations)

    rng, shapes = np.random.default_rng(2), jax.eval_shape(network.init, jax.random.key(0))
    params = jax.tree.map(lambda p: jnp.asarray(rng.normal(0, 0.4, p.shape), p.dtype), shapes)
    return network, params, live(params, jnp.asarray(rng.normal(0, 1, (3, 3, 16)), jnp.float32))


@functools.cache
def stepper(name, **options):
    """An algorithm with OPEN, and a step of it that is compiled once."""
    network = agent(name)[0]
    algorithm = build("open", options)

    @jax.jit
    def step(meta_params, params, state, gradients, activations, now, key):
        optimizer = algorithm.optimizer(meta_params)
        if state is None:
            state = optimizer.init(params)
        context = {"activations": activations, "param_info": network.param_info}
        return optimizer.update(gradients, state, params, key=key, progress=now, **context)

    return algorithm, step


def one_step(name, weights=None, seed=0, **options):
    """From the beginning, with initial weights or others."""
    _, params, activations = agent(name)
    algorithm, step = stepper(name, **options)
    if weights is None:
        weights = algorithm.init(jax.random.key(3))["optimizer"]
    gradients = random_like(params, seed, (1.0, 1.0))
    meta_params = complete(algorithm, weights)
    now = Progress(1, 4, 1, 2)
    return step(meta_params, params, None, gradients, activations, now, jax.random.key(seed))[0]


def random_like(params, seed, sizes):
    """Gradients, of a given size in each torso; some of them exactly zero."""
    rng = np.random.default_rng(seed)

    def draw(p, size):
        return jnp.asarray(rng.normal(0, size, p.shape) * (rng.random(p.shape) < 0.8), jnp.float32)

    return {
        torso: jax.tree.map(lambda p, s=size: draw(p, s), params[torso])
        for torso, size in zip(params, sizes, strict=True)
    }


def tensors(params, gradients, activations, param_info):
    """Every tensor of an agent in the order of its tree, for the rule in numpy."""
    leaves, treedef = jax.tree.flatten(params)
    double = functools.partial(np.asarray, dtype=np.float64)
    return [
        Tensor(
            double(p),
            double(g),
            info.layer / max(info.n_layers - 1, 1),
            info.role == "actor",
            None if info.path is None else double(activations[info.path[0]][info.path[1]]),
        )
        for p, g, info in zip(
            leaves, treedef.flatten_up_to(gradients), treedef.flatten_up_to(param_info), strict=True
        )
    ]


def clipped(gradients, limit=0.5):
    """Each torso's own norm."""
    norms = {torso: float(optax.tree.norm(g)) for torso, g in gradients.items()}
    return {
        torso: jax.tree.map(lambda x, n=norms[torso]: np.asarray(x, np.float64) * min(1.0, limit / n), g)
        for torso, g in gradients.items()
    }


@pytest.mark.parametrize(
    ("name", "options", "steps"),
    [
        ("continuous", {}, 3),
        ("continuous", NO_FEATURES, 2),
        ("discrete", {"gru_width": 0, "features": "momentum,gradient"}, 2),
        pytest.param("discrete", {}, 3, marks=pytest.mark.slow),
        pytest.param("shared, of everything", {}, 1, marks=pytest.mark.slow),
    ],
)
def test_steps_are_those_of_a_loop_over_tensors(name, options, steps):
    """With so large a scale that exp(c o_1) matters, and parameters move far."""
    network, params, activations = agent(name)
    algorithm, step = stepper(name, **options)
    meta_params = complete(algorithm, weights_of(algorithm), open_scale=0.3)
    weights = jax.tree.map(lambda w: np.asarray(w, np.float64), meta_params["optimizer"])
    seen = options.get("features", "all")
    by_hand = Open(weights, 0.3, seen if seen == "raw" else list(chosen(seen)))
    leaves, treedef = jax.tree.flatten(params)
    infos = treedef.flatten_up_to(network.param_info)
    state = algorithm.optimizer(meta_params).init(params)
    sizes = (1.0,) if AGENTS[name][2] else (1.0, 1e-3)  # only the first is clipped
    updates: Any
    for k in range(steps):
        active = jax.tree.map(lambda a, k=k: a * (1 + k) - 0.1 * k, activations)
        gradients = random_like(params, k, sizes)
        key = jax.random.key(k)
        now = Progress(k // 2, 4, k % 2, 2)
        updates, state = step(meta_params, params, state, gradients, active, now, key)
        noise = unflat(actor_noise(key, leaves, infos, jnp.float32), leaves, treedef)
        noise = [np.asarray(x, np.float64) for x in jax.tree.leaves(noise)]
        expected = by_hand(tensors(params, clipped(gradients), active, network.param_info), k, COUNTS, noise)
        got = jax.tree.leaves(updates)
        assert [x.shape for x in got] == [x.shape for x in leaves]  # every parameter once, in its place
        largest = max(np.abs(x).max() for x in expected)
        assert largest > 0.05
        for path, (a, b) in zip(
            jax.tree.leaves_with_path(params), zip(got, expected, strict=True), strict=True
        ):
            np.testing.assert_allclose(a, b, atol=2e-4 * largest, err_msg=jax.tree_util.keystr(path[0]))
        params = optax.apply_updates(params, updates)


@pytest.mark.parametrize(
    ("options", "size"), [({}, 1211), (MULTI_TASK, 3571), (FEED_FORWARD, 707), (NO_FEATURES, 514)], ids=str
)
def test_numbers_of_weights(options, size):
    """Those of the vectors that the authors published, and of the feed-forward rules."""
    shapes = jax.eval_shape(build("open", options).init, jax.random.key(0))
    assert sum(w.size for w in jax.tree.leaves(shapes)) == size


def test_zero_weights_move_nothing_and_anchored_ones_as_adam():
    for start in ("zeros", "random"):
        weights = jax.jit(build("open", {"start": start}).init)(jax.random.key(3))["optimizer"]
        assert not any(np.any(x) for x in jax.tree.leaves(one_step("discrete", weights)))
    assert np.abs(weights["gru"]["input"]).max() > 0.1
    got = one_step("discrete", anchored=True, gru_width=0)
    _, params, _ = agent("discrete")
    numbers = dict(stepper("discrete", anchored=True, gru_width=0)[0].defaults)
    tuned, gradients = adam(numbers), random_like(params, 0, (1.0, 1.0))
    expected, _ = jax.jit(lambda g: tuned.update(g, tuned.init(g), progress=Progress(1, 4)))(gradients)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-9), got, expected)
    assert numbers["clip_by_torso"] == dict(build("ppo").defaults)["clip_by_torso"]


def test_noise_is_normal_and_reaches_the_actor_only():
    quiet = jax.tree.map(np.zeros_like, weights_of(stepper("continuous")[0]))
    quiet["out"]["bias"][2] = 1.0

    def noise(seed):
        steps = one_step("continuous", quiet, seed)
        actor, critic = (
            np.concatenate([np.ravel(x) for x in jax.tree.leaves(steps[torso])])
            for torso in ("actor", "critic")
        )
        np.testing.assert_allclose(critic, critic[0], atol=1e-9)  # the mean that is subtracted from all
        return (actor - critic[0]) / 1e-3

    first = noise(0)
    assert len(set(first.tolist())) == len(first)
    assert np.std(first) == pytest.approx(1, rel=0.2) and abs(first.mean()) < 0.3
    assert np.abs(noise(1) - first).max() > 0.1


def test_dormancy_of_a_dead_layer_is_one_and_that_of_an_unknown_one_an_error():
    info = ParamInfo("actor", 0, 2, ("actor", "hidden_0"), 0)
    np.testing.assert_allclose(dormancy({"actor": {"hidden_0": jnp.zeros((2, 3))}}, info, (3,)), 1.0)
    with pytest.raises(ValueError, match="hidden_0"):
        dormancy({"actor": {}}, info, (3,))


def test_proportions_go_from_0_to_1_and_are_0_where_there_is_one_of_a_kind():
    shares = jax.jit(lambda *counts: proportions(Progress(*counts)))
    for counts, expected in (((1, 5, 1, 3), (0.25, 0.5)), ((9, 5, 2, 3), (1, 1)), ((0, 1, 0, 1), (0, 0))):
        assert [float(x) for x in shares(*counts)] == pytest.approx(expected)


def test_derivatives_through_updates_are_finite():
    """Two steps of an agent with dead layers, most of whose gradients are exactly zero."""
    _, params, activations = agent("discrete")
    algorithm, step = stepper("discrete")
    slopes, dead = random_like(params, 0, (0.0, 1.0)), jax.tree.map(jnp.zeros_like, activations)

    def after(meta_params):
        here, state = params, algorithm.optimizer(meta_params).init(params)
        for n in range(2):
            gradients = jax.tree.map(jnp.multiply, slopes, here)
            args = (gradients, dead, Progress(n, 3), jax.random.key(n))
            updates, state = step(meta_params, here, state, *args)
            here = optax.apply_updates(here, updates)
        return sum(jnp.square(x).sum() for x in jax.tree.leaves(here))

    slope = jax.jit(jax.grad(after))
    for size in (0.0, 0.3):
        gradient = slope(complete(algorithm, weights_of(algorithm, size=size)))
        assert all(np.isfinite(x).all() for x in jax.tree.leaves(gradient))
        assert np.abs(gradient["optimizer"]["out"]["bias"]).max() > 0
        assert (np.abs(gradient["optimizer"]["gru"]["inner"]).max() > 0) == (size > 0)


@pytest.mark.slow
def test_with_weights_that_descend_an_agent_learns_and_with_their_opposite_none_does():
    """Steps of 0.003 against the sign of a momentum. Players of Catch reach 1 at best, random ones -0.6."""
    algorithm = build("open", {"gru_width": 0, "width": 2})

    def last_returns(rate):
        """Of the last tenth of 300 rollouts, of three agents."""
        meta_params = complete(algorithm, jax.tree.map(jnp.asarray, descending(rate, MOMENTUM)))
        found = []
        for seed in range(3):
            state = begin(algorithm, CATCH, meta_params, jax.random.key(seed), 300)
            state, _ = go(algorithm, CATCH, meta_params, state, 270)
            _, late = go(algorithm, CATCH, meta_params, state, 30)
            found.append(float(late.means()["episode_return"]))
        return found

    random, learned, opposite = last_returns(0.0), last_returns(3.0), last_returns(-3.0)
    assert np.mean(random) == pytest.approx(-0.6, abs=0.15)  # all-zero outputs: the agent that was born
    assert min(learned) > max(random) + 0.6 and np.mean(learned) > np.mean(random) + 1.0
    assert np.mean(opposite) < np.mean(random)
