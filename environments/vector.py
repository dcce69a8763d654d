"""The environments of one agent: E instances, normalization, and episode statistics.

Normalization follows PureJaxRL's `NormalizeVecObservation` and `NormalizeVecReward`: statistics start at mean
0, variance 1, count 1e-4, and include each new batch of E values before it is normalized; nothing is clipped.
Two differences, both at the end of an episode:

* `final_observation` is normalized too, with the same statistics, but does not enter them;
  PureJaxRL drops it.
* The discounted return is a plain ``G_t = gamma G_{t-1} + r_t`` up to and including the last step
  of an episode and restarts from zero after it. PureJaxRL resets one step early: an episode's last
  return is its last reward alone, which then leaks into the next episode.

Options that are off cost nothing: their statistics are the empty tuple.

Squashed actions: the agent chooses u, unbounded, and the environment receives a = low + (high - low) (tanh(u)
+ 1) / 2. Agents keep u and its density. The density of a is p(u) / |da/du|, and the Jacobian depends only on
u, so it cancels in every ratio of probabilities and every KL, and does not affect gradients of
log-probabilities. The entropy does differ: an entropy bonus uses that of u, not of a.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from environments.base import Environment
from environments.task import Setup

INITIAL_COUNT = 1e-4
"""Weight of the statistics' initial values, in samples."""
EPSILON = 1e-8
"""Added to variances before their root is taken."""


class Moments(NamedTuple):
    """Running mean and (biased) variance of all samples, ``[...]`` of one sample's shape."""

    mean: Float[Array, "..."]
    var: Float[Array, "..."]
    count: Float[Array, ""]


class RewardStats(NamedTuple):
    """The discounted return of each running episode, and the moments of all its past values."""

    discounted_return: Float[Array, " E"]
    moments: Moments


class VectorState(NamedTuple):
    """E running instances. `observation` is the agent's: normalized if that is on.

    `episode_return` and `episode_length` are of the episodes under way, undiscounted and raw.
    """

    env_state: Any
    observation: Float[Array, "E D"]
    level: Any
    episode_return: Float[Array, " E"]
    episode_length: Int[Array, " E"]
    obs_stats: Moments | tuple[()]
    reward_stats: RewardStats | tuple[()]


class VectorStep(NamedTuple):
    """The result of one step of E instances; see `Step` for the end of an episode.

    `observation`, `final_observation` and `reward` are normalized if that is on. `episode_return`
    (undiscounted, never normalized) and `episode_length` include the current step and are those of a
    completed episode only where `finished`.
    """

    observation: Float[Array, "E D"]
    reward: Float[Array, " E"]
    terminated: Bool[Array, " E"]
    truncated: Bool[Array, " E"]
    final_observation: Float[Array, "E D"]
    finished: Bool[Array, " E"]
    episode_return: Float[Array, " E"]
    episode_length: Int[Array, " E"]


def check(environment: Environment, setup: Setup) -> None:
    """Raises unless the environment supports the setup.

    Raises:
        ValueError: actions are to be squashed, but they are discrete or a bound is not finite.
    """
    low, high = environment.action_low, environment.action_high
    if low is not None and high is not None and not (np.asarray(low) <= np.asarray(high)).all():
        raise ValueError(f"environment {environment.id!r} has action_low {low} above action_high {high}")
    if setup.actions != "squash":
        return
    if not environment.continuous:
        found = "are discrete"
    elif low is None or high is None:
        found = "have no bounds"
    elif not (np.isfinite(low).all() and np.isfinite(high).all()):
        found = f"lie between {low.tolist()} and {high.tolist()}"
    else:
        return
    raise ValueError(
        f'actions = "squash" needs continuous actions with finite bounds, but those of environment '
        f'{environment.id!r} {found}; use actions = "clip"'
    )


def bounded(environment: Environment, setup: Setup, action: Array) -> Array:
    """The environment's action when the agent chooses `action`, of the same shape ``[..., A]``.

    Raises:
        ValueError: as for `check`.
    """
    if setup.actions != "squash":
        return action  # environments clip by themselves
    check(environment, setup)
    low, high = jnp.asarray(environment.action_low), jnp.asarray(environment.action_high)
    # tanh is 1 from u = 9 on, and the sum may then round to a number beyond the bound.
    return jnp.clip(low + (high - low) * (jnp.tanh(action) + 1.0) / 2.0, low, high)


def reset(environment: Environment, setup: Setup, key: PRNGKeyArray, level: Any = None) -> VectorState:
    """Starts ``E = setup.n_envs`` instances on one level: `level`, or None for one that the key draws.

    Raises:
        ValueError: as for `check`.
    """
    check(environment, setup)
    level_key, reset_key = jax.random.split(key)
    level = environment.sample_level(level_key) if level is None else level
    env_state, observation = jax.vmap(environment.reset, in_axes=(0, None))(
        jax.random.split(reset_key, setup.n_envs), level
    )
    obs_stats = reward_stats = ()
    if setup.normalize_observation:
        obs_stats = _merge(_no_samples(observation.shape[1:]), observation)
        observation = _standardize(obs_stats, observation)
    if setup.normalize_reward:
        reward_stats = RewardStats(jnp.zeros(setup.n_envs, jnp.float32), _no_samples(()))
    return VectorState(
        env_state=env_state,
        observation=observation,
        level=level,
        episode_return=jnp.zeros(setup.n_envs, jnp.float32),
        episode_length=jnp.zeros(setup.n_envs, jnp.int32),
        obs_stats=obs_stats,
        reward_stats=reward_stats,
    )


def refresh(environment: Environment, setup: Setup, key: PRNGKeyArray, state: VectorState) -> VectorState:
    """Prepares a rollout: renews prepared resets, if the environment has any."""
    if environment.refresh is None:
        return state
    keys = jax.random.split(key, setup.n_envs)
    env_state = jax.vmap(environment.refresh, in_axes=(0, 0, None))(keys, state.env_state, state.level)
    return state._replace(env_state=env_state)


def step(
    environment: Environment,
    setup: Setup,
    gamma: Float[Array, ""] | float,
    key: PRNGKeyArray,
    state: VectorState,
    action: Array,
) -> tuple[VectorState, VectorStep]:
    """Steps E instances with ``action`` (int32 ``[E]``, or float32 ``[E, A]``), as the agent chose it.

    `gamma` discounts the return whose spread normalizes rewards; unused if that is off.
    """
    keys = jax.random.split(key, setup.n_envs)
    env_state, raw = jax.vmap(environment.step, in_axes=(0, 0, 0, None))(
        keys, state.env_state, bounded(environment, setup, action), state.level
    )
    finished = raw.terminated | raw.truncated
    episode_return = state.episode_return + raw.reward
    episode_length = state.episode_length + 1

    observation, final_observation, obs_stats = raw.observation, raw.final_observation, state.obs_stats
    if isinstance(obs_stats, Moments):
        obs_stats = _merge(obs_stats, observation)
        observation = _standardize(obs_stats, observation)
        final_observation = _standardize(obs_stats, final_observation)
    reward, reward_stats = raw.reward, state.reward_stats
    if isinstance(reward_stats, RewardStats):
        reward, reward_stats = _normalize_reward(reward_stats, gamma, reward, finished)

    state = VectorState(
        env_state=env_state,
        observation=observation,
        level=state.level,
        episode_return=jnp.where(finished, 0.0, episode_return),
        episode_length=jnp.where(finished, 0, episode_length),
        obs_stats=obs_stats,
        reward_stats=reward_stats,
    )
    return state, VectorStep(
        observation=observation,
        reward=reward,
        terminated=raw.terminated,
        truncated=raw.truncated,
        final_observation=final_observation,
        finished=finished,
        episode_return=episode_return,
        episode_length=episode_length,
    )


def as_seen(obs_stats: Moments | tuple[()], observation: Float[Array, "E D"]) -> Float[Array, "E D"]:
    """Observations as an agent with these statistics sees them; they do not enter the statistics."""
    return _standardize(obs_stats, observation) if isinstance(obs_stats, Moments) else observation


def _normalize_reward(
    stats: RewardStats,
    gamma: Float[Array, ""] | float,
    reward: Float[Array, " E"],
    finished: Bool[Array, " E"],
) -> tuple[Float[Array, " E"], RewardStats]:
    """Divides by the standard deviation of the discounted return; the mean is not subtracted."""
    discounted_return = gamma * stats.discounted_return + reward
    moments = _merge(stats.moments, discounted_return)
    reward = reward / jnp.sqrt(moments.var + EPSILON)
    return reward, RewardStats(jnp.where(finished, 0.0, discounted_return), moments)


def _no_samples(shape: tuple[int, ...]) -> Moments:
    return Moments(
        mean=jnp.zeros(shape, jnp.float32),
        var=jnp.ones(shape, jnp.float32),
        count=jnp.asarray(INITIAL_COUNT, jnp.float32),
    )


def _merge(moments: Moments, batch: Float[Array, "E ..."]) -> Moments:
    """Adds a batch to the moments (Chan's parallel form of Welford's update)."""
    batch_count = batch.shape[0]
    delta = batch.mean(0) - moments.mean
    count = moments.count + batch_count
    squares = (
        moments.var * moments.count
        + batch.var(0) * batch_count
        + jnp.square(delta) * moments.count * batch_count / count
    )
    return Moments(mean=moments.mean + delta * batch_count / count, var=squares / count, count=count)


def _standardize(moments: Moments, value: Float[Array, "E D"]) -> Float[Array, "E D"]:
    return (value - moments.mean) / jnp.sqrt(moments.var + EPSILON)
