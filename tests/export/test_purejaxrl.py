"""The PureJaxRL adapter returns what the script's own `_loss_fn` would."""

import functools
from types import SimpleNamespace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from discovery.core.jobs import AlgorithmSpec
from discovery.export import Provenance
from environments import Setup, Task

CONFIG = {"CLIP_EPS": 0.2, "VF_COEF": 0.5, "ENT_COEF": 0.01}
B = 64


class Transition(NamedTuple):
    action: jax.Array
    value: jax.Array
    log_prob: jax.Array
    obs: jax.Array


class Categorical(NamedTuple):
    logits: jax.Array

    def log_prob(self, action):
        return jnp.take_along_axis(jax.nn.log_softmax(self.logits), action[:, None], axis=-1)[:, 0]

    def entropy(self):
        log_p = jax.nn.log_softmax(self.logits)
        return -(jnp.exp(log_p) * log_p).sum(-1)


def apply(params, obs):
    return Categorical(obs @ params["actor"]), (obs @ params["critic"])[:, 0]


NETWORK = SimpleNamespace(apply=apply)


@pytest.fixture(scope="module")
def data():
    keys = iter(jax.random.split(jax.random.key(0), 9))
    obs = jax.random.normal(next(keys), (B, 5))
    params = {"actor": jax.random.normal(next(keys), (5, 3)), "critic": jax.random.normal(next(keys), (5, 1))}
    old = {name: value + 0.3 * jax.random.normal(next(keys), value.shape) for name, value in params.items()}
    pi, value = apply(old, obs)
    action = jax.random.categorical(next(keys), pi.logits)
    gae = 2.0 + 3.0 * jax.random.normal(next(keys), (B,))
    return params, Transition(action, value, pi.log_prob(action), obs), gae, gae + value


def script_loss(params, traj_batch, gae, targets):
    """`_loss_fn` of a PureJaxRL script, written out."""
    pi, value = apply(params, traj_batch.obs)
    ratio = jnp.exp(pi.log_prob(traj_batch.action) - traj_batch.log_prob)
    clipped = traj_batch.value + jnp.clip(value - traj_batch.value, -0.2, 0.2)
    value_loss = 0.5 * jnp.maximum((value - targets) ** 2, (clipped - targets) ** 2).mean()
    gae = (gae - gae.mean()) / (gae.std() + 1e-8)
    actor = -jnp.minimum(ratio * gae, jnp.clip(ratio, 0.8, 1.2) * gae).mean()
    entropy = pi.entropy().mean()
    return actor + 0.5 * value_loss - 0.01 * entropy, (value_loss, actor, entropy)


def test_ppo_equals_the_scripts_own_loss(exported, load, data):
    file = load(exported(AlgorithmSpec("ppo"), target="purejaxrl"))
    ours = functools.partial(file["ppo_loss"], network=NETWORK, config=CONFIG)
    (total, parts), gradient = jax.jit(jax.value_and_grad(ours, has_aux=True))(*data)
    (expected, expected_parts), slope = jax.jit(jax.value_and_grad(script_loss, has_aux=True))(*data)
    np.testing.assert_allclose(total, expected, rtol=1e-5)
    np.testing.assert_allclose(parts, expected_parts, rtol=1e-5, atol=1e-6)
    for name in ("actor", "critic"):
        np.testing.assert_allclose(gradient[name], slope[name], rtol=1e-4, atol=1e-6)


def test_a_temporal_loss_needs_the_fraction_and_uses_it(exported, load, data):
    file = load(exported(AlgorithmSpec("lpo", (("temporal", True), ("width", 8))), target="purejaxrl"))
    params, batch, gae, _ = data
    log_prob = apply(params, batch.obs)[0].log_prob(batch.action)
    normalized = (gae - gae.mean()) / (gae.std() + 1e-8)
    for fraction in (0.0, 0.5):
        loss = functools.partial(file["ppo_loss"], network=NETWORK, config=CONFIG, fraction=fraction)
        _, (_, actor, _) = jax.jit(loss)(*data)
        by_hand = jax.jit(file["policy_loss"])(log_prob, batch.log_prob, normalized, fraction=fraction).mean()
        np.testing.assert_allclose(actor, by_hand, rtol=1e-6)
    with pytest.raises(TypeError, match="fraction"):
        file["ppo_loss"](*data, network=NETWORK, config=CONFIG)
    script = {"NUM_MINIBATCHES": 4, "UPDATE_EPOCHS": 2, "NUM_UPDATES": 10}
    steps = [file["training_fraction"](step, script) for step in (0, 7, 8, 79)]
    np.testing.assert_allclose(steps, [0.0, 0.0, 0.1, 0.9])


def test_losses_of_raw_advantages_are_not_normalized(exported, load, data):
    file = load(exported(AlgorithmSpec("a2c"), target="purejaxrl"))
    params, batch, gae, _ = data
    log_prob = apply(params, batch.obs)[0].log_prob(batch.action)
    loss = file["loss_actor"](log_prob, batch.log_prob, gae)
    np.testing.assert_allclose(loss, (-log_prob * gae).mean(), rtol=1e-6)


def test_the_recipe_is_given_in_the_scripts_words(exported, load):
    task = Task("Cart", Setup(n_envs=4, n_steps=128, n_epochs=4), 512_000, {"learning_rate": 2.5e-4})
    source = exported(AlgorithmSpec("vsop"), target="purejaxrl", provenance=Provenance(tasks=(task,)))
    recipe = {"LR": 2.5e-4, "NUM_ENVS": 4, "NUM_STEPS": 128, "UPDATE_EPOCHS": 4, "TOTAL_TIMESTEPS": 512_000}
    recipe |= {"CLIP_EPS": float("inf"), "ANNEAL_LR": True, "ENV_NAME": "CartPole-v1", "MAX_GRAD_NORM": 0.5}
    assert load(source)["CONFIG"].items() >= recipe.items()
