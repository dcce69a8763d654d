"""What every agent keeps to, whatever it is made of: one suite over all of them."""

import functools
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from discovery.inner.loops.on_policy import advance, init, parts
from discovery.inner.networks.network import Body, make_network
from discovery.inner.rollout import rollout
from discovery.inner.update import sequences, update
from objectives.base import Head, Progress
from tests.inner.states import ENDINGS, PPO, assert_same_bits, numbers
from tests.objectives.by_hand import sigmoid

SHAPE = (4, 5, 2)
HEADS = {"mean": Head(2, scale=0.01), "log_std": Head(2, free=True), "value": Head(0, torso="critic")}
ACTION_HEADS = {"z": Head(3, actions=2, units=5), "p": Head(0, actions=2, units=5), "logits": Head(2)}
BODIES = {
    "no hidden layer": Body(()),
    "wide": Body((32, 16)),
    "deep": Body((8,) * 5, "swish", layer_norm=True),
    "convolution": Body((8,), "relu", filters=(3,)),
    "experts": Body((8, 6), experts=3, layer_norm=True),
    "gru": Body((8, 6), recurrence="gru"),
    "linear recurrence": Body((8, 6), recurrence="linear"),
    "actions": Body((8, 6)),
    "everything": Body((8, 6), "relu", (3,), True, 2, "gru"),
}
STEPS = 8
RECURRENT = {"gru": STEPS, "linear": STEPS // 2}
"""Recurrence to length of sequences, in rollouts of 8 steps."""

SECOND_LOOK = ("no hidden layer", "wide", "deep", "convolution", "experts", "gru")
"""What others are made of, too."""

every_agent = pytest.mark.parametrize(
    ("name", "shared"),
    [
        *(pytest.param(name, False, marks=[pytest.mark.slow] * (name in SECOND_LOOK)) for name in BODIES),
        ("wide", True),
        pytest.param("actions", True, marks=pytest.mark.slow),
        pytest.param("everything", True, marks=pytest.mark.slow),
    ],
)
T, E = 6, 3


def heads_of(name):
    return HEADS | (ACTION_HEADS if name == "actions" else {})


@functools.cache
def made(name, shared):
    """Network, params that are all in use, a sequence with starts in it, and what comes of it."""
    network = make_network(heads_of(name), SHAPE, BODIES[name], shared)
    rng, shapes = np.random.default_rng(0), jax.eval_shape(network.init, jax.random.key(0))
    params = jax.tree.map(lambda p: jnp.asarray(rng.normal(0, 0.4, p.shape), p.dtype), shapes)
    x = jax.random.normal(jax.random.key(1), (T, E, 40))
    start = jnp.zeros((T, E), bool).at[3, 1].set(True)
    carry = jax.tree.map(lambda c: c + 0.3, network.initial_carry(E))
    unroll = jax.jit(network.unroll)
    return network, params, carry, x, start, unroll, unroll(params, carry, x, start)


@every_agent
def test_shapes_and_types(name, shared):
    _, params, carry, _, _, _, (following, outputs, activations) = made(name, shared)
    assert set(outputs) == set(heads_of(name))
    for head, output in outputs.items():
        declared = heads_of(name)[head]
        assert output.shape == (T, E, *(n for n in (declared.actions, declared.size) if n))
    every = jax.tree.leaves((params, following, outputs, activations))
    assert {str(x.dtype) for x in every} == {"float32"}
    assert jax.tree.map(jnp.shape, following) == jax.tree.map(jnp.shape, carry)
    assert bool(jax.tree.leaves(carry)) == (BODIES[name].recurrence != "none")


@every_agent
def test_it_says_what_its_parameters_are(name, shared):
    network, params, *_, (_, _, activations) = made(name, shared)
    leaves, treedef = jax.tree.flatten(params)
    seen, depths = set(), set()
    for leaf, info in zip(leaves, treedef.flatten_up_to(network.param_info), strict=True):
        assert 0 <= info.layer < info.n_layers
        depths.add((info.role, info.layer))
        if info.path is not None:
            torso, layer = info.path
            assert activations[torso][layer].shape == (T, E, leaf.shape[info.neuron_axis])
            seen.add(info.path)
    assert seen == {(torso, layer) for torso, layers in activations.items() for layer in layers}
    for role in {role for role, _ in depths}:
        present = sorted(depth for of, depth in depths if of == role)
        assert present == list(range(present[0], present[-1] + 1))  # no layer is left out


@every_agent
def test_every_parameter_is_in_use(name, shared):
    network, params, carry, x, start, _, _ = made(name, shared)

    @jax.jit
    @jax.grad
    def gradient(params):
        _, outputs, _ = network.unroll(params, carry, x, start)
        return sum(n * (jnp.sin(outputs[head]) ** 2).sum() for n, head in enumerate(heads_of(name), 1))

    for path, leaf in jax.tree.leaves_with_path(gradient(params)):
        assert np.isfinite(leaf).all() and np.abs(leaf).max() > 0, jax.tree_util.keystr(path)


@every_agent
def test_step_by_step_is_the_whole_sequence(name, shared):
    """As it acts, so it learns: one step at a time with a carry, or all of them at once."""
    _, params, carry, x, start, unroll, (last, outputs, _) = made(name, shared)
    seen = []
    for t in range(T):
        carry, outputs_t, _ = unroll(params, carry, x[t : t + 1], start[t : t + 1])
        seen.append(outputs_t)
    stepped = jax.tree.map(lambda *xs: jnp.concatenate(xs), *seen)
    close = functools.partial(np.testing.assert_allclose, atol=2e-5)
    jax.tree.map(close, (stepped, carry), (outputs, last))


@every_agent
def test_nothing_passes_from_one_episode_or_environment_to_another(name, shared):
    _, params, carry, x, start, unroll, (_, outputs, _) = made(name, shared)
    _, changed, _ = unroll(params, carry, x.at[2, 1].add(1.0), start)
    value, other = np.asarray(outputs["value"]), np.asarray(changed["value"])
    assert value[2, 1] != other[2, 1]
    mask = np.ones((T, E), bool)
    mask[2, 1] = False
    np.testing.assert_allclose(value[mask], other[mask], atol=1e-6)  # steps 3 to 5 are another episode
    _, changed, _ = unroll(params, carry, x.at[3, 1].add(1.0), start)
    later = np.abs(np.asarray(changed["value"]) - value)[4:, 1].max()
    assert (later > 1e-4) == (BODIES[name].recurrence != "none")


def test_an_action_model_by_hand():
    """c = W x + b, h = tanh(c), a step of an LSTM for each action, a hidden layer, a head; loops in numpy."""
    _, params, _, x, _, _, (_, outputs, _) = made("actions", False)
    p = jax.tree.map(lambda w: np.asarray(w, np.float64), params["actor"])
    for t, e in [(0, 0), (4, 2)]:
        h = np.asarray(x, np.float64)[t, e]
        for layer in ("hidden_0", "hidden_1"):
            h = np.tanh(h @ p[layer]["kernel"] + p[layer]["bias"])
        c = h @ p["action_start"]["kernel"] + p["action_start"]["bias"]
        model = p["action_model"]
        for action in range(2):
            i, f, g, o = (
                model["kernel"][action, gate] + np.tanh(c) @ model["inner"][:, gate] + model["bias"][gate]
                for gate in range(4)
            )
            after = sigmoid(o) * np.tanh(sigmoid(f) * c + sigmoid(i) * np.tanh(g))
            hidden = np.tanh(after @ p["z_hidden"]["kernel"] + p["z_hidden"]["bias"])
            z = hidden @ p["z"]["kernel"] + p["z"]["bias"]
            np.testing.assert_allclose(outputs["z"][t, e, action], z, rtol=1e-4, atol=1e-5)


def test_heads_that_cannot_share_an_action_model_are_refused():
    heads = {"z": Head(3, actions=2, units=5), "q": Head(3, actions=2, units=6)}
    with pytest.raises(ValueError, match=r"'actor' .*\(2, 6\)"):
        make_network(heads, SHAPE, Body((8,)))


# Agents in training


def setup_of(name):
    sizes = {"n_steps": STEPS, "n_epochs": 2, "n_minibatches": 2}
    return replace(ENDINGS, recurrence=name, sequence_length=RECURRENT[name], **sizes)


begin = jax.jit(init, static_argnums=(0, 1))
go: Any = jax.jit(advance, static_argnums=(0, 1))


@functools.cache
def lived(name):
    """An agent two updates old, in the middle of its episodes, and its next rollout and targets."""
    setup = setup_of(name)
    environment, network = parts(PPO, setup)
    state = begin(PPO, setup, numbers(), jax.random.key(0), 10)
    state.params["actor"]["logits"]["kernel"] *= 100.0  # so that what it remembers shows in what it does
    state, _ = go(PPO, setup, numbers(), state, 2)
    act = jax.jit(functools.partial(rollout, PPO, environment, setup, network))
    worlds = (state.environments, state.carry)
    now = Progress(state.update, 10)
    following, experience = act(numbers(), state.params, worlds, now, jax.random.key(9))
    targets = PPO.targets(numbers(), (), experience.trajectory, now)
    return setup, network, state, following, experience, targets


@pytest.mark.parametrize(
    ("name", "length"),
    [
        ("gru", STEPS // 2),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in (("gru", STEPS), ("linear", STEPS // 2))),
    ],
)
def test_it_recalls_in_learning_what_it_knew_in_acting(name, length):
    """While nothing is learned the ratio is one in every shuffled minibatch of every epoch.

    So sequences keep their order, their carries, and where episodes begin in them.
    """
    _, network, state, _, experience, targets = lived(name)
    setup = replace(setup_of(name), sequence_length=length)
    pieces = sequences(experience.trajectory, experience.recall, targets, setup.steps_per_sequence)
    n = 4 * STEPS // length
    assert pieces.start.shape == (length, n) and pieces.start[1:].any() and not pieces.start[0].all()
    assert all(np.abs(c).reshape(n, -1).max(1).min() > 0.1 for c in jax.tree.leaves(pieces.carry))
    agent, still = (state.params, state.opt_state), numbers(learning_rate=0.0)

    @jax.jit
    def learn(pieces):
        return update(PPO, setup, network, still, agent, pieces, Progress(2, 10), jax.random.key(0))

    (params, _), seen = learn(pieces)
    assert_same_bits(params, state.params)
    assert abs(float(seen.kl)) < 1e-9 and float(seen.clip_fraction) == 0.0
    for wrong in (
        pieces._replace(carry=jax.tree.map(jnp.zeros_like, pieces.carry)),
        pieces._replace(carry=jax.tree.map(lambda c: jnp.roll(c, 1, 0), pieces.carry)),
        pieces._replace(start=jnp.zeros_like(pieces.start)),
        pieces._replace(start=jnp.roll(pieces.start, 1, 1)),
    ):
        _, seen = learn(wrong)
        assert float(seen.kl) > 1e-6


@pytest.mark.parametrize("name", ["gru", pytest.param("linear", marks=pytest.mark.slow)])
def test_values_after_a_step_follow_from_what_is_remembered_there(name):
    """Within an episode the next output is the next step's; at its end it is one more step of the same."""
    _, network, state, (worlds, carry), experience, _ = lived(name)
    trajectory, recall, episodes = experience
    value, value_next = (np.asarray(o["value"]) for o in (trajectory.outputs, trajectory.outputs_next))
    ended = np.asarray(episodes.finished)
    goes_on = ~ended[:-1]
    np.testing.assert_allclose(value_next[:-1][goes_on], value[1:][goes_on], atol=1e-5)
    np.testing.assert_array_equal(np.asarray(recall.start)[1:], ended[:-1])
    final = jnp.full((1, 4, 2), 9.0)  # what is seen at the end of an episode
    unroll = jax.jit(network.unroll)
    for t, e in np.argwhere(ended):
        before = jax.tree.map(lambda c, t=t: c[t], recall.carry)
        start = recall.start[t][None]
        after, _, _ = unroll(state.params, before, trajectory.observation[t][None], start)
        _, outputs, _ = unroll(state.params, after, final, jnp.zeros((1, 4), bool))
        np.testing.assert_allclose(value_next[t, e], outputs["value"][0, e], atol=1e-5)
    last = unroll(state.params, carry, worlds.observation[None], (worlds.episode_length == 0)[None])
    np.testing.assert_allclose(value_next[-1][~ended[-1]], last[1]["value"][0][~ended[-1]], atol=1e-5)


IMAGES = replace(
    ENDINGS,
    environment="Breakout-MinAtar",
    n_steps=STEPS,
    hidden=(4,),
    filters=(2,),
    layer_norm=True,
    experts=2,
)
SETUPS = {**{name: setup_of(name) for name in RECURRENT}, "images": IMAGES}
every_setup = pytest.mark.parametrize(
    "name", ["gru", *(pytest.param(name, marks=pytest.mark.slow) for name in ("linear", "images"))]
)


@every_setup
def test_splitting_changes_no_bit_and_a_second_instance_compiles_nothing(name):
    setup = SETUPS[name]
    start = begin(PPO, setup, numbers(), jax.random.key(0), 20)
    whole, _ = go(PPO, setup, numbers(), start, 5)
    part, _ = go(PPO, setup, numbers(), go(PPO, setup, numbers(), start, 2)[0], 3)
    assert_same_bits(whole, part)
    assert int(whole.record.nonfinite_update) == -1
    assert all(np.abs(c).max() > 0 for c in jax.tree.leaves(whole.carry))
    compiled, again = go._cache_size(), replace(setup)
    go(PPO, again, numbers(gamma=0.5), begin(PPO, again, numbers(), jax.random.key(1), 7), 3)
    assert again is not setup and go._cache_size() == compiled
