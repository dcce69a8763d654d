"""Learning: minibatch steps against PPO written out by hand."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from discovery.inner.update import sequences, shuffled, update
from objectives.base import Progress
from tests.inner.states import ENDINGS, PPO, numbers, recorded


def test_shuffled_is_a_permutation_and_a_fair_one():
    for size in (1, 7, 1000):
        np.testing.assert_array_equal(np.sort(shuffled(jax.random.key(0), size)), np.arange(size))
    keys = jax.random.split(jax.random.key(1), 20_000)
    orders = np.asarray(jax.jit(jax.vmap(lambda key: shuffled(key, 5)))(keys))
    share = (orders[..., None] == np.arange(5)).mean(0)
    np.testing.assert_allclose(share, np.full((5, 5), 0.2), atol=0.015)


def test_an_update_is_ppo_written_out():
    """One epoch, one minibatch, from parameters that are not the behavior's: a step of textbook PPO."""
    network, state, _, (trajectory, recall, _), targets = recorded()
    meta_params = numbers(entropy_coef=0.03, max_grad_norm=0.2, anneal=1.0)
    experience = sequences(trajectory, recall, targets, 1)
    batch = jax.tree.map(lambda x: x[0], experience.batch)
    noise = jax.random.split(jax.random.key(3), len(jax.tree.leaves(state.params)))
    noise = jax.tree.unflatten(jax.tree.structure(state.params), list(noise))
    params = jax.tree.map(lambda p, k: p + 0.1 * jax.random.normal(k, p.shape), state.params, noise)
    # The returns lie above all values: those that rise by more than the clip, about half, are held back.
    params["critic"]["value"]["bias"] += 0.3
    now = Progress(4, 10)

    @jax.jit
    def step(params, experience):
        agent = (params, state.opt_state)
        return update(PPO, ENDINGS, network, meta_params, agent, experience, now, jax.random.key(9))

    (got, _), seen = step(params, experience)

    def mlp(layers, head, x):
        h = jnp.tanh(x @ layers["hidden_0"]["kernel"] + layers["hidden_0"]["bias"])
        return h @ layers[head]["kernel"] + layers[head]["bias"]

    def loss(params):
        log_p = jax.nn.log_softmax(mlp(params["actor"], "logits", batch.observation))
        log_prob = log_p[jnp.arange(48), batch.action]
        ratio = jnp.exp(log_prob - batch.log_prob)
        advantage = targets.advantage.ravel()
        advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        surrogate = jnp.minimum(ratio * advantage, jnp.clip(ratio, 0.8, 1.2) * advantage)
        value, old = mlp(params["critic"], "value", batch.observation)[:, 0], batch.outputs["value"]
        clipped = old + jnp.clip(value - old, -0.2, 0.2)
        target = targets.advantage.ravel() + old
        value_loss = 0.5 * jnp.maximum((value - target) ** 2, (clipped - target) ** 2).mean()
        entropy = -(jnp.exp(log_p) * log_p).sum(-1).mean()
        held = (clipped - target) ** 2 > (value - target) ** 2
        return -surrogate.mean() + 0.5 * value_loss - 0.03 * entropy, (ratio, held, entropy)

    (total, (ratio, held, entropy)), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
    assert 0.1 < (np.abs(ratio - 1) > 0.2).mean() < 0.9 and held.any() and not held.all()  # both clips work
    rate = 3e-3 * (1 - 4 / 10)
    optimizer = optax.chain(optax.clip_by_global_norm(0.2), optax.adam(rate, eps=1e-5))
    updates, _ = optimizer.update(gradient, optimizer.init(params))
    assert float(optax.tree.norm(gradient)) > 0.2
    expected = jax.tree.map(lambda a, b: np.asarray(b), params, updates)
    difference = jax.tree.map(lambda a, b: np.asarray(b - a), params, got)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-3 * rate), difference, expected)
    assert float(seen.loss) == pytest.approx(float(total), rel=1e-4)
    assert float(seen.entropy) == pytest.approx(float(entropy), rel=1e-5)
    assert float(seen.grad_norm) == pytest.approx(float(optax.tree.norm(gradient)), rel=1e-4)
    assert float(seen.clip_fraction) == pytest.approx(float((np.abs(ratio - 1) > 0.2).mean()))
    assert float(seen.kl) == pytest.approx(float((ratio - 1 - np.log(ratio)).mean()), rel=1e-3)


def test_each_epoch_uses_every_sample_once_and_tells_loss_and_optimizer_where_they_are():
    """A loss that only listens: samples by their reward; and an optimizer that hears the same."""
    network, state, _, (trajectory, recall, _), targets = recorded()
    setup = replace(ENDINGS, n_epochs=3, n_minibatches=4)
    tagged = sequences(trajectory._replace(reward=jnp.arange(48.0).reshape(12, 4)), recall, targets, 1)
    losses, steps = [], []

    def listen(to, *heard):
        jax.debug.callback(lambda *x: to.append(jax.tree.map(np.asarray, x)), *heard, ordered=True)

    def per_sample(meta_params, batch, outputs, progress, key):
        listen(losses, batch.reward, batch.observation, progress.epoch)
        return PPO.loss.per_sample(meta_params, batch, outputs, progress, key)

    def optimizer(meta_params):
        made = PPO.optimizer(meta_params)

        def step(gradients, state, params=None, *, key, progress, activations, param_info):
            assert param_info == network.param_info
            listen(steps, params["actor"], activations["actor"], progress.epoch, jax.random.key_data(key))  # pyright: ignore[reportOptionalSubscript]
            return made.update(gradients, state, params, progress=progress)

        return optax.GradientTransformationExtraArgs(made.init, step)  # pyright: ignore

    algorithm = PPO._replace(loss=PPO.loss._replace(per_sample=per_sample), optimizer=optimizer)
    agent = (state.params, state.opt_state)
    run = jax.jit(
        lambda b: update(algorithm, setup, network, numbers(), agent, b, Progress(0, 10), jax.random.key(0))
    )
    jax.block_until_ready(run(tagged))
    jax.effects_barrier()
    epochs = [0] * 4 + [1] * 4 + [2] * 4
    assert [int(epoch) for _, _, epoch in losses] == [int(epoch) for _, _, epoch, _ in steps] == epochs
    orders = [np.concatenate([reward for reward, _, _ in losses[4 * e : 4 * e + 4]]) for e in range(3)]
    for order in orders:
        np.testing.assert_array_equal(np.sort(order), np.arange(48))
    assert not np.array_equal(orders[0], orders[1])
    assert len({key.tobytes() for *_, key in steps}) == 12
    # Activations are those of the minibatch, for the parameters of the moment.
    for (_, observation, _), (params, activations, _, _) in zip(losses, steps, strict=True):
        hidden = np.tanh(observation @ params["hidden_0"]["kernel"] + params["hidden_0"]["bias"])
        np.testing.assert_allclose(activations["hidden_0"], hidden, atol=1e-5)
    assert not np.array_equal(steps[0][0]["hidden_0"]["kernel"], steps[-1][0]["hidden_0"]["kernel"])
