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
from objectives.learned_optimizers.features import GROUPS, chosen, dormancy, proportions
from objectives.learned_optimizers.open import actor_noise
from objectives.optimizers import adam
from objectives.per_parameter import unflat
from tests.inner.states import CATCH, begin, go, quick_begin, quick_go
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
    def live(x):
        params = jax.tree.map(lambda p: p + 0.1, network.init(jax.random.key(1)))
        start = jnp.zeros((3, 3), bool)
        _, _, activations = network.unroll(params, network.initial_carry(3), x, start)
        return params, jax.tree.map(lambda a: a.reshape(B, *a.shape[2:]), activations)

    x = np.random.default_rng(2).normal(0, 1, (3, 3, 16)).astype(np.float32)
    return network, *live(x)


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
        return optimizer.update(
            gradients,
            state,
            params,
            key=key,
            progress=now,
            activations=activations,
            param_info=network.param_info,
        )

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
        ("discrete", {}, 3),
        ("continuous", {}, 3),
        ("discrete", MULTI_TASK, 2),
        ("discrete", FEED_FORWARD, 2),
        ("continuous", NO_FEATURES, 2),
        ("discrete", {"gru_width": 0, "features": "momentum,gradient"}, 2),
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


def test_numbers_of_weights():
    """Those of the vectors that the authors published, and of the feed-forward rules."""

    def size(**options):
        shapes = jax.eval_shape(build("open", options).init, jax.random.key(0))
        return sum(w.size for w in jax.tree.leaves(shapes))

    assert size() == 1211
    assert size(**MULTI_TASK) == 3571
    assert size(**FEED_FORWARD) == 707
    assert size(**NO_FEATURES) == 514
    outputs = jax.eval_shape(build("open", {"features": "raw", "width": 3}).init, jax.random.key(0))
    assert outputs["optimizer"]["out"]["kernel"].shape == (2, 3)  # whatever the widths
    assert len(chosen("momentum,gradient")) == 14 and chosen("all") == tuple(range(19))
    assert sorted(i for group in GROUPS.values() for i in group) == list(range(19))


def test_zero_weights_move_nothing_and_anchored_ones_as_adam():
    initial = {
        start: jax.jit(build("open", {"start": start}).init)(jax.random.key(3))
        for start in ("zeros", "random")
    }
    for searched in initial.values():
        assert not any(np.any(x) for x in jax.tree.leaves(one_step("discrete", searched["optimizer"])))
    assert np.abs(initial["random"]["optimizer"]["gru"]["input"]).max() > 0.1
    got = one_step("discrete", anchored=True, gru_width=0)
    _, params, _ = agent("discrete")
    numbers = dict(stepper("discrete", anchored=True, gru_width=0)[0].defaults)
    tuned, gradients = adam(numbers), random_like(params, 0, (1.0, 1.0))
    expected, _ = jax.jit(lambda g: tuned.update(g, tuned.init(g), progress=Progress(1, 4)))(gradients)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-9), got, expected)
    assert numbers["clip_by_torso"] == dict(build("ppo").defaults)["clip_by_torso"]


def test_one_mean_is_subtracted_from_all_and_noise_reaches_the_actor_only():
    random = weights_of(stepper("continuous")[0])
    steps = jax.tree.map(np.asarray, one_step("continuous", random))
    total = {torso: sum(x.sum() for x in jax.tree.leaves(part)) for torso, part in steps.items()}
    assert abs(total["actor"] + total["critic"]) < 1e-6 < 1e-4 < abs(total["actor"])
    quiet = jax.tree.map(np.zeros_like, random)
    quiet["out"]["bias"][2] = 1.0
    steps = jax.tree.map(np.asarray, one_step("continuous", quiet))
    still = np.concatenate([x.ravel() for x in jax.tree.leaves(steps["critic"])])
    np.testing.assert_allclose(still, still[0], atol=1e-9)
    noise = (np.concatenate([x.ravel() for x in jax.tree.leaves(steps["actor"])]) - still[0]) / 1e-3
    assert len(set(noise.tolist())) == len(noise) and np.std(noise) == pytest.approx(1, rel=0.2)
    assert abs(noise.mean()) < 0.3 and (steps["actor"]["log_std"] != still[0]).all()
    other = one_step("continuous", quiet, seed=1)
    assert (np.asarray(other["actor"]["log_std"]) != steps["actor"]["log_std"]).all()


def test_dormancy_is_one_on_average_and_for_what_feeds_no_layer():
    info = ParamInfo("actor", 0, 2, ("actor", "hidden_0"), 1)
    active = jnp.array([[1.0, -2.0, 0.0], [3.0, 0.0, 0.0]])
    got = dormancy({"actor": {"hidden_0": active}}, info, (2, 3))
    np.testing.assert_allclose(got, np.tile([2.0, 1.0, 0.0], (2, 1)), atol=1e-6)  # means 2, 1, 0
    dead = dormancy({"actor": {"hidden_0": 0 * active}}, info._replace(neuron_axis=0), (3,))
    np.testing.assert_allclose(dead, 1.0)
    np.testing.assert_array_equal(dormancy({}, info._replace(path=None), (4,)), np.ones(4))
    with pytest.raises(ValueError, match="hidden_0"):
        dormancy({"actor": {}}, info, (2, 3))


def test_proportions_go_from_0_to_1_and_are_0_where_there_is_one_of_a_kind():
    shares = jax.jit(lambda *counts: proportions(Progress(*counts)))
    for counts, expected in (
        ((0, 5, 0, 3), (0, 0)),
        ((1, 5, 1, 3), (0.25, 0.5)),
        ((4, 5, 2, 3), (1, 1)),
        ((0, 1, 0, 1), (0, 0)),
        ((9, 5, 0, 1), (1, 0)),
    ):
        assert [float(x) for x in shares(*counts)] == pytest.approx(expected)


def test_derivatives_through_updates_are_finite():
    """Three steps of an agent whose first layer is dead, so that most gradients are exactly zero."""
    network, params, _ = agent("discrete")
    algorithm = build("open")
    params = {**params, "actor": {**params["actor"]}}
    params["actor"]["hidden_0"] = jax.tree.map(lambda p: 0 * p - 1.0, params["actor"]["hidden_0"])
    x = jnp.abs(jax.random.normal(jax.random.key(2), (B, 16)))

    def loss(params):
        _, outputs, activations = network.unroll(params, {}, x, jnp.zeros(B, bool))
        return jnp.square(outputs["logits"]).sum() + jnp.square(outputs["value"] - 1).sum(), activations

    def after(meta_params):
        optimizer = algorithm.optimizer(meta_params)

        def step(carry, n):
            params, state = carry
            gradients, activations = jax.grad(loss, has_aux=True)(params)
            updates, state = optimizer.update(
                gradients,
                state,
                params,
                key=jax.random.key(n),
                progress=Progress(n, 3),
                activations=activations,
                param_info=network.param_info,
            )
            return (optax.apply_updates(params, updates), state), None

        (final, _), _ = jax.lax.scan(step, (params, optimizer.init(params)), jnp.arange(3))
        return loss(final)[0]

    slope = jax.jit(jax.grad(after))
    for size in (0.0, 0.3):
        gradient = slope(complete(algorithm, weights_of(algorithm, size=size)))
        assert all(np.isfinite(x).all() for x in jax.tree.leaves(gradient))
        assert np.abs(gradient["optimizer"]["out"]["bias"]).max() > 0
        assert (np.abs(gradient["optimizer"]["gru"]["inner"]).max() > 0) == (size > 0)


@pytest.mark.slow  # tests/inner/test_update.py sees what is handed over
def test_a_training_hands_over_what_it_needs():
    """Zero weights: the agent stays as it was born. Others: it moves, all of it."""
    algorithm = build("open", {"gru_width": 4, "width": 4})
    born = quick_begin(
        algorithm, CATCH, complete(algorithm, weights_of(algorithm, size=0.0)), jax.random.key(0), 4
    )
    for size in (0.0, 1.0):
        meta_params = complete(algorithm, weights_of(algorithm, size=size))
        grown, _ = quick_go(algorithm, CATCH, meta_params, born, 2)
        for a, b in zip(jax.tree.leaves(born.params), jax.tree.leaves(grown.params), strict=True):
            assert np.isfinite(b).all() and np.array_equal(a, b) == (size == 0)


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


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"gru_width": -1}, "gru_width"),
        ({"width": 0}, "width"),
        ({"features": "gradient,layers"}, "momentum, gradient"),
        ({"features": "raw,layer"}, "all, raw, or some of parameter"),
        ({"start": "adam"}, "zeros, random"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, says):
    with pytest.raises(ValueError, match=says):
        build("open", options)
