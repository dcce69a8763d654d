"""Acting: what a rollout records, at the ends of episodes above all."""

import functools
from dataclasses import replace
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from discovery.inner.loops.on_policy import init, parts
from discovery.inner.rollout import rollout
from environments import vector
from environments.episodes import Game, with_episodes
from environments.task import Setup
from objectives.base import Progress
from tests.inner.states import ENDINGS, PPO, applied, numbers, quick_begin, recorded
from tests.inner.worlds import FINAL


@pytest.mark.parametrize("recurrence", ["none", pytest.param("gru", marks=pytest.mark.slow)])
def test_few_states_are_valued_as_in_a_pass_over_every_step(recurrence):
    """Episodes of 3 to 5 steps, none truncated before the 4th: 4 steps truncate once at most."""
    setup = replace(ENDINGS, recurrence=recurrence, n_steps=4)
    environment, network = parts(PPO, setup)
    now = Progress(0, 10)

    @functools.partial(jax.jit, static_argnums=0)
    def play(environment, state, key):
        state, (trajectory, _, episodes) = rollout(
            PPO, environment, setup, network, numbers(), params, state, now, key
        )
        return state, (trajectory, episodes, PPO.targets(numbers(), (), trajectory, now))

    start = quick_begin(PPO, setup, numbers(), jax.random.key(0), 10)
    params, state, n_cut, n_ended = start.params, (start.environments, start.carry), np.zeros(4), np.zeros(4)
    for seed in range(12):
        key = jax.random.key(seed)
        _, (every, _, targets) = play(environment._replace(shortest_truncation=1), state, key)
        state, (few, episodes, their_targets) = play(environment._replace(shortest_truncation=4), state, key)
        cut = np.asarray(every.truncated & ~every.terminated)
        n_cut, n_ended = n_cut + cut.sum(0), n_ended + (np.asarray(episodes.finished) & ~cut).sum(0)
        matters = ~np.asarray(every.terminated)
        for name, value in every.outputs_next.items():
            assert np.isfinite(few.outputs_next[name]).all()
            np.testing.assert_allclose(few.outputs_next[name][matters], value[matters], atol=1e-6)
        np.testing.assert_allclose(their_targets.advantage, targets.advantage, atol=1e-5)
    assert n_cut.all() and n_ended.all()


def test_what_is_recorded_of_episodes_of_every_ending():
    """Ends, lengths and returns by their kind; log-probabilities; and values where each step leads.

    Where an episode ended, `outputs_next` are those at its final observation.
    """
    network, state, environments, (trajectory, _, episodes), _ = recorded()
    ended = np.asarray(episodes.finished)
    assert ended.any(0).all()
    kind = np.asarray(trajectory.observation)[..., 1][ended]
    np.testing.assert_array_equal(episodes.episode_length[ended], kind + 3)
    np.testing.assert_array_equal(episodes.episode_return[ended], kind + 3)
    np.testing.assert_array_equal(trajectory.terminated[ended], kind != 1)
    np.testing.assert_array_equal(trajectory.truncated[ended], kind != 0)
    log_p = np.asarray(jax.nn.log_softmax(trajectory.outputs["logits"]))
    expected = np.take_along_axis(log_p, np.asarray(trajectory.action)[..., None], -1)[..., 0]
    np.testing.assert_allclose(trajectory.log_prob, expected, atol=1e-6)

    at_end, _ = applied(network, state.params, jnp.full((1, 2), FINAL))
    reached, _ = applied(network, state.params, environments.observation)
    value_next = np.asarray(trajectory.outputs_next["value"])
    following = np.concatenate([trajectory.outputs["value"][1:], reached["value"][None]])
    np.testing.assert_allclose(value_next[~ended], following[~ended], atol=1e-5)
    np.testing.assert_allclose(value_next[ended], np.full(ended.sum(), at_end["value"][0]), atol=1e-5)
    assert (np.abs(value_next - following)[ended] > 1e-3).all()


def test_legacy_truncation_changes_the_targets_of_time_limits_only():
    """By gamma V(final observation) at the limit, and before it by what of that flows back."""
    _, _, _, (trajectory, _, _), targets = recorded()
    _, _, _, (legacy, _, _), old_targets = recorded(legacy=True)
    np.testing.assert_array_equal(trajectory.action, legacy.action)
    terminated, truncated = np.asarray(trajectory.terminated), np.asarray(trajectory.truncated)
    np.testing.assert_array_equal(legacy.terminated, terminated | truncated)
    limit = truncated & ~terminated
    expected = np.zeros(limit.shape)
    carried = np.zeros(limit.shape[1])
    for t in reversed(range(limit.shape[0])):
        bootstrap = 0.99 * np.asarray(trajectory.outputs_next["value"])[t]
        ended = terminated[t] | truncated[t]
        carried = np.where(limit[t], bootstrap, np.where(ended, 0.0, 0.99 * 0.95 * carried))
        expected[t] = carried
    assert limit.any() and not limit.all(1).any()
    np.testing.assert_allclose(targets.value - old_targets.value, expected, atol=1e-5)


def test_squashed_actions_are_recorded_as_they_were_chosen():
    """Unbounded, with the density of the Gaussian they came from; what moved the world was their tanh."""
    setup = Setup("Pendulum-v1", n_envs=2, n_steps=8, hidden=(4,), actions="squash")
    environment, network = parts(PPO, setup)

    @jax.jit
    def play(key):
        state = init(PPO, setup, numbers(), key, 1)
        state.params["actor"]["log_std"] = jnp.array([1.5])  # as wide as actions ever are
        worlds = (state.environments, state.carry)
        args = (network, numbers(), state.params, worlds, Progress(0, 1), key)
        return rollout(PPO, environment, setup, *args)[1].trajectory

    seen = play(jax.random.key(0))
    action, mean = np.asarray(seen.action), np.asarray(seen.outputs["mean"])
    assert np.abs(action).max() > environment.action_high
    z = (action - mean) / np.exp(1.5)
    np.testing.assert_allclose(seen.log_prob, (-0.5 * z**2 - 1.5 - 0.918939)[..., 0], rtol=1e-4)
    # Pendulum: th'' = 15 sin(th) + 3 u, for 0.05 s
    _, sine, speed = np.moveaxis(np.asarray(seen.observation), -1, 0)
    torque = (speed[1:] - speed[:-1]) / 0.05 / 3 - 5 * sine[:-1]
    np.testing.assert_allclose(torque, 2 * np.tanh(action[:-1, :, 0]), atol=1e-3)


@pytest.mark.parametrize("renew", [True, False])
def test_each_rollout_renews_prepared_beginnings(renew):
    """Episodes of three steps that show a random beginning all along; two are kept prepared."""

    def begin(key, level):
        beginning = jax.random.uniform(key, (2,))
        return beginning, beginning

    def move(key, state, action, level):
        return state, state, jnp.float32(1), jnp.bool_(False)

    environment = with_episodes("prepared", Game(begin, move, 2), 3, bank=2, renew=renew)
    network, agent, *_ = recorded()
    setup = replace(ENDINGS, n_envs=2, n_steps=8)

    @jax.jit
    def play(key):
        first = vector.reset(environment, setup, key)

        def go(state, key):
            args = (environment, setup, network, numbers(), agent.params, state, Progress(0, 10), key)
            state, experience = rollout(PPO, *args)
            return state, (state[0].env_state, experience.episodes.finished.sum(0))

        _, seen = jax.lax.scan(go, (first, network.initial_carry(2)), jax.random.split(key, 2))
        return first.env_state, *seen

    first, after, episodes = jax.tree.map(np.asarray, play(jax.random.key(0)))
    np.testing.assert_array_equal(episodes, [[2, 2], [3, 3]])
    for before, later in pairwise([first.bank[1], *after.bank[1]]):
        assert (before != later).all() == (before != later).any() == renew
    np.testing.assert_array_equal(after.used, episodes if renew else 1 + episodes.cumsum(0))
    last = ((after.used - 1) % 2)[..., None, None]
    np.testing.assert_array_equal(after.game, np.take_along_axis(after.bank[1], last, 2)[..., 0, :])
