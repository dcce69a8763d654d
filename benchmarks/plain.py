"""PPO in the style of PureJaxRL, for comparison: one training function under `jit(vmap(...))`.

It was written for this comparison. Unlike ours, it draws minibatches from a full permutation
(`jax.random.permutation`), treats truncation as termination, starts all Brax episodes in the same state, and
compiles numbers in as constants. Unlike it, ours makes a second forward pass, at the states that were
reached, and records metrics.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import gymnax
import jax
import jax.numpy as jnp
import optax

from environments.task import Setup, Task

GAMMA, LAMBDA, CLIP, VALUE_COEF, MAX_NORM = 0.99, 0.95, 0.2, 0.5, 0.5


class World(NamedTuple):
    """One instance of an environment with auto-reset.

    Attributes:
        reset: ``key -> (observation [D], state)``.
        step: ``(key, state, action) -> (observation, state, reward, done)``.
        actions: number of actions, or dimensions of an action if `continuous`.
    """

    reset: Callable[..., Any]
    step: Callable[..., Any]
    actions: int
    continuous: bool


def world_of(setup: Setup) -> World:
    """The library's own environment."""
    family, slash, name = setup.environment.partition("/")
    return _brax(name, setup) if slash and family == "brax" else _gymnax(setup.environment)


def _gymnax(name: str) -> World:
    env, params = gymnax.make(name)

    def reset(key: Any) -> Any:
        observation, state = env.reset(key, params)
        return observation.reshape(-1), state

    def step(key: Any, state: Any, action: Any) -> Any:
        observation, state, reward, terminated, truncated, _ = env.step(key, state, action, params)
        return observation.reshape(-1), state, jnp.float32(reward), terminated | truncated

    return World(reset, step, env.action_space(params).n, False)  # type: ignore[attr-defined]


def _brax(name: str, setup: Setup) -> World:
    from brax import envs

    env = envs.create(name, **setup.options)  # type: ignore[arg-type]

    def reset(key: Any) -> Any:
        state = env.reset(key)
        return state.obs, state

    def step(key: Any, state: Any, action: Any) -> Any:
        state = env.step(state, jnp.clip(action, -1.0, 1.0))
        return state.obs, state, state.reward, state.done > 0

    return World(reset, step, env.action_size, True)


class Torso(nn.Module):
    """Hidden layers, followed by a linear layer of `size` outputs."""

    recipe: Setup
    size: int
    scale: float

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        act = {"tanh": jnp.tanh, "relu": nn.relu, "swish": nn.swish}[self.recipe.activation]
        for width in self.recipe.hidden:
            x = act(nn.Dense(width, kernel_init=nn.initializers.orthogonal(2**0.5))(x))
        return nn.Dense(self.size, kernel_init=nn.initializers.orthogonal(self.scale))(x)


class Agent(NamedTuple):
    """Actor and critic; the actor's outputs are logits, or means if `continuous`."""

    actor: Torso
    critic: Torso
    continuous: bool

    def init(self, key: Any, observation: jax.Array) -> Any:
        key_actor, key_critic = jax.random.split(key)
        params = {
            "actor": self.actor.init(key_actor, observation),
            "critic": self.critic.init(key_critic, observation),
        }
        return params | ({"log_std": jnp.zeros(self.actor.size)} if self.continuous else {})

    def value(self, params: Any, x: jax.Array) -> jax.Array:
        return self.critic.apply(params["critic"], x)[..., 0]  # type: ignore[index]

    def sample(self, params: Any, x: jax.Array, key: Any) -> jax.Array:
        outputs: Any = self.actor.apply(params["actor"], x)
        if not self.continuous:
            return jax.random.categorical(key, outputs)
        return outputs + jnp.exp(params["log_std"]) * jax.random.normal(key, outputs.shape)

    def log_prob(self, params: Any, x: jax.Array, action: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Log-probability of the action, and entropy."""
        outputs: Any = self.actor.apply(params["actor"], x)
        if not self.continuous:
            every = jax.nn.log_softmax(outputs)
            chosen = jnp.take_along_axis(every, action[..., None], -1)[..., 0]
            return chosen, -(jnp.exp(every) * every).sum(-1)
        spread = params["log_std"]
        z = (action - outputs) * jnp.exp(-spread)
        half = 0.5 * jnp.log(2 * jnp.pi)
        entropy = jnp.broadcast_to((spread + half + 0.5).sum(), z.shape[:-1])
        return (-0.5 * z**2 - spread - half).sum(-1), entropy


class Sample(NamedTuple):
    """A rollout, ``[T, E, ...]``."""

    observation: jax.Array
    action: jax.Array
    log_prob: jax.Array
    value: jax.Array
    reward: jax.Array
    done: jax.Array
    advantage: Any = None


def make_train(task: Task) -> Callable[[Any], Any]:
    """``key -> (reward per step of each update [N], params)``: one training, to be vmapped and jitted.

    If the params were not returned, the compiler could remove the last update's learning.
    """
    setup, world = task.setup, world_of(task.setup)
    agent = Agent(Torso(setup, world.actions, 0.01), Torso(setup, 1, 1.0), world.continuous)
    optimizer = optax.chain(
        optax.clip_by_global_norm(MAX_NORM), optax.adam(task.numbers["learning_rate"], eps=1e-5)
    )

    def train(key: Any) -> Any:
        key, key_network, key_reset = jax.random.split(key, 3)
        observation, state = jax.vmap(world.reset)(jax.random.split(key_reset, setup.n_envs))
        params = agent.init(key_network, observation)
        carry = params, optimizer.init(params), observation, state, key
        every = functools.partial(_update, task, world, agent, optimizer)
        (params, *_), rewards = jax.lax.scan(every, carry, None, task.n_updates)
        return rewards, params

    return train


def _update(task: Task, world: World, agent: Agent, optimizer: Any, carry: Any, _: None) -> Any:
    """One rollout and the learning from it."""
    setup = task.setup
    params, opt_state, observation, state, key = carry
    key, key_act, key_learn = jax.random.split(key, 3)

    def act(carry: Any, key: Any) -> Any:
        x, state = carry
        key_sample, key_step = jax.random.split(key)
        action = agent.sample(params, x, key_sample)
        log_prob, _ = agent.log_prob(params, x, action)
        keys = jax.random.split(key_step, setup.n_envs)
        following, state, reward, done = jax.vmap(world.step)(keys, state, action)
        return (following, state), Sample(x, action, log_prob, agent.value(params, x), reward, done)

    keys = jax.random.split(key_act, setup.n_steps)
    (observation, state), samples = jax.lax.scan(act, (observation, state), keys)
    samples = samples._replace(advantage=_advantages(samples, agent.value(params, observation)))
    reward = samples.reward.mean()
    flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), samples)

    def epoch(learned: Any, key: Any) -> Any:
        order = jax.random.permutation(key, setup.steps_per_update)
        batches = jax.tree.map(lambda x: x[order].reshape(setup.n_minibatches, -1, *x.shape[1:]), flat)
        return jax.lax.scan(functools.partial(_step, task, agent, optimizer), learned, batches)[0], None

    keys = jax.random.split(key_learn, setup.n_epochs)
    (params, opt_state), _ = jax.lax.scan(epoch, (params, opt_state), keys)
    return (params, opt_state, observation, state, key), reward


def _advantages(samples: Sample, last: jax.Array) -> jax.Array:
    """Generalized advantage estimates ``[T, E]``; the value after any end of an episode is 0."""

    def back(carry: Any, sample: Sample) -> Any:
        following, advantage = carry
        alive = 1.0 - sample.done
        delta = sample.reward + GAMMA * alive * following - sample.value
        advantage = delta + GAMMA * LAMBDA * alive * advantage
        return (sample.value, advantage), advantage

    return jax.lax.scan(back, (last, jnp.zeros_like(last)), samples, reverse=True)[1]


def _step(task: Task, agent: Agent, optimizer: Any, learned: Any, batch: Sample) -> tuple[Any, None]:
    """One gradient step."""
    params, opt_state = learned
    advantage = (batch.advantage - batch.advantage.mean()) / (batch.advantage.std() + 1e-8)
    target = batch.advantage + batch.value

    def loss(params: Any) -> jax.Array:
        log_prob, entropy = agent.log_prob(params, batch.observation, batch.action)
        ratio = jnp.exp(log_prob - batch.log_prob)
        gain = jnp.minimum(ratio * advantage, jnp.clip(ratio, 1 - CLIP, 1 + CLIP) * advantage)
        value = agent.value(params, batch.observation)
        near = batch.value + jnp.clip(value - batch.value, -CLIP, CLIP)
        error = jnp.maximum((value - target) ** 2, (near - target) ** 2)
        return (-gain + 0.5 * VALUE_COEF * error - task.numbers["entropy_coef"] * entropy).mean()

    updates, opt_state = optimizer.update(jax.grad(loss)(params), opt_state, params)
    return (optax.apply_updates(params, updates), opt_state), None
