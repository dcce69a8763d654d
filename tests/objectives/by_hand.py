"""What several tests of formulas need: rollouts, minibatches, and in numpy what every network has."""

import jax.numpy as jnp
import numpy as np

from objectives.base import Batch, Trajectory


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    x = np.asarray(x, np.float64)
    p = np.exp(x - x.max(-1, keepdims=True))
    return p / p.sum(-1, keepdims=True)


def random_rollout(steps, n_envs, heads, terminated, truncated, n_actions=3, target=False, seed=0):
    """Random steps; what acted differs from what learns.

    Args:
        heads: shape of each head's output.
        terminated: places (time, environment) where an episode ended so; `truncated` likewise.
        target: whether there is a target network.
    """
    rng = np.random.default_rng(seed)

    def normal(*shape):
        return jnp.asarray(rng.normal(0, 1, (steps, n_envs, *shape)), jnp.float32)

    def outputs():
        return {name: normal(*shape) for name, shape in heads.items()}

    def at(places):
        flags = np.zeros((steps, n_envs), bool)
        for place in places:
            flags[place] = True
        return jnp.asarray(flags)

    return Trajectory(
        observation=normal(2),
        action=jnp.asarray(rng.integers(0, n_actions, (steps, n_envs)), jnp.int32),
        log_prob=jnp.log(jnp.asarray(rng.uniform(0.1, 1, (steps, n_envs)), jnp.float32)),
        reward=normal(),
        terminated=at(terminated),
        truncated=at(truncated),
        outputs=outputs(),
        outputs_next=outputs(),
        **({"target_outputs": outputs(), "target_outputs_next": outputs()} if target else {}),
    )


def batch_of(action, targets, **others):
    """A minibatch with these actions, targets and `others`; all else in it is zero."""
    zeros, no = jnp.zeros(len(action)), jnp.zeros(len(action), bool)
    action = jnp.asarray(action, jnp.int32)
    return Batch(zeros[:, None], action, zeros, zeros, no, no, {}, targets)._replace(**others)


def mean_of_n_step_returns(rollout, value_next, gamma, decay):
    """The lambda-weighted mean of all n-step returns that stay inside the episode and the rollout."""
    reward, value_next = np.asarray(rollout.reward, float), np.asarray(value_next, float)
    terminated = np.asarray(rollout.terminated)
    ended = terminated | np.asarray(rollout.truncated)
    found = np.zeros(reward.shape)
    for t, e in np.ndindex(reward.shape):
        stop = next((k for k in range(t, len(reward)) if ended[k, e]), len(reward) - 1)
        n_step = []
        for last in range(t, stop + 1):
            rewards = sum(gamma ** (k - t) * reward[k, e] for k in range(t, last + 1))
            bootstrap = 0.0 if terminated[last, e] else gamma ** (last - t + 1) * value_next[last, e]
            n_step.append(rewards + bootstrap)
        weights = [(1 - decay) * decay**n for n in range(len(n_step) - 1)] + [decay ** (len(n_step) - 1)]
        found[t, e] = np.dot(weights, n_step)
    return found
