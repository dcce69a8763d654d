"""Learning: several passes of minibatch steps over one rollout."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Int, PRNGKeyArray

from discovery.inner.networks.network import Network
from discovery.inner.record import finite
from discovery.inner.rollout import Recall
from environments.task import Setup
from objectives.base import NO_MEMORY, Algorithm, Batch, MetaParams, Progress, Trajectory
from objectives.parts import DEFAULTS


class Diagnostics(NamedTuple):
    """Means over the minibatch steps of one update; `finite` is whether all of them were."""

    loss: Array
    kl: Array
    clip_fraction: Array
    entropy: Array
    grad_norm: Array
    finite: Array


class Sequences(NamedTuple):
    """N sequences of L steps each, to be shuffled and cut into minibatches.

    Agents without a memory learn from sequences of one step, in any order.

    Attributes:
        batch: transitions ``[L, N, ...]``.
        start: whether a step is the first of its episode, ``[L, N]``.
        carry: of the agent before each sequence when it acted, ``[N, ...]``.
    """

    batch: Batch
    start: Bool[Array, "L N"]
    carry: Any


def sequences(trajectory: Trajectory, recall: Recall, targets: Any, length: int) -> Sequences:
    """Cut a rollout ``[T, E, ...]`` into sequences ``[L, T / L * E, ...]`` of `length` L."""
    batch = Batch(
        observation=trajectory.observation,
        action=trajectory.action,
        log_prob=trajectory.log_prob,
        reward=trajectory.reward,
        terminated=trajectory.terminated,
        truncated=trajectory.truncated,
        outputs=trajectory.outputs,
        targets=targets,
    )

    def cut(x: Array) -> Array:
        if length == 1:  # the general case would copy
            return x.reshape(1, -1, *x.shape[2:])
        pieces = x.reshape(-1, length, *x.shape[1:])
        return jnp.moveaxis(pieces, 1, 0).reshape(length, -1, *x.shape[2:])

    first = jax.tree.map(lambda x: x[::length].reshape(-1, *x.shape[2:]), recall.carry)
    return Sequences(jax.tree.map(cut, batch), cut(recall.start), first)


def shuffled(key: PRNGKeyArray, size: int) -> Int[Array, " {size}"]:
    """A random order of ``0 .. size - 1``, int32.

    It sorts single words, with random bits above the index: ten times faster on a CPU than
    `jax.random.permutation`, which sorts pairs twice. Two rows whose random bits coincide (one pair in 2^(32
    - bits of size)) keep their order.
    """
    index_mask = jnp.uint32((1 << max(size - 1, 1).bit_length()) - 1)
    words = (jax.random.bits(key, (size,)) & ~index_mask) | jnp.arange(size, dtype=jnp.uint32)
    return (jnp.sort(words) & index_mask).astype(jnp.int32)


def _flat(tree: Any) -> Any:
    """``[L, N, ...]`` to ``[L * N, ...]``."""
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), tree)


def minibatch_step(
    algorithm: Algorithm,
    network: Network,
    meta_params: MetaParams,
    agent: tuple[Any, Any],
    minibatch: Sequences,
    progress: Progress,
    key: PRNGKeyArray,
    memory: Any = (),
) -> tuple[tuple[Any, Any], Diagnostics]:
    """One gradient step on one minibatch; `agent` is (params, optimizer state).

    The network runs over whole sequences; the loss sees their steps as one flat batch.

    Raises:
        ValueError: while tracing, if the loss is not one number per sample.
    """
    params, opt_state = agent
    key_loss, key_optimizer = jax.random.split(key)
    batch = _flat(minibatch.batch)

    def objective(params: Any) -> tuple[Array, tuple[Any, Any]]:
        unrolled = network.unroll(params, minibatch.carry, minibatch.batch.observation, minibatch.start)
        outputs, activations = _flat(unrolled[1:])
        per_sample = algorithm.loss.per_sample(meta_params, batch, outputs, progress, key_loss)
        size, shape = len(batch.log_prob), jnp.shape(per_sample)
        if shape != (size,):
            raise ValueError(f"the loss of a batch of {size} must have shape ({size},), got {shape}")
        return per_sample.mean(), (outputs, activations)

    (loss, (outputs, activations)), grads = jax.value_and_grad(objective, has_aux=True)(params)
    distribution = algorithm.policy.distribution(meta_params, outputs, progress)
    log_ratio = distribution.log_prob(batch.action) - batch.log_prob
    ratio_minus_one = jnp.expm1(log_ratio)
    grad_norm = optax.tree.norm(grads)
    diagnostics = Diagnostics(
        loss=loss,
        kl=(ratio_minus_one - log_ratio).mean(),
        clip_fraction=(jnp.abs(ratio_minus_one) > meta_params.get("clip", DEFAULTS["clip"])).mean(),
        entropy=distribution.entropy().mean(),
        grad_norm=grad_norm,
        finite=finite(loss, grad_norm),
    )
    updates, opt_state = algorithm.optimizer(meta_params).update(
        grads,
        opt_state,
        params,
        key=key_optimizer,
        progress=progress,
        activations=activations,
        param_info=network.param_info,
        **({} if algorithm.memory is NO_MEMORY else {"memory": memory}),
    )
    return (optax.apply_updates(params, updates), opt_state), diagnostics


def update(
    algorithm: Algorithm,
    setup: Setup,
    network: Network,
    meta_params: MetaParams,
    agent: tuple[Any, Any],
    experience: Sequences,
    progress: Progress,
    key: PRNGKeyArray,
    memory: Any = (),
) -> tuple[tuple[Any, Any], Diagnostics]:
    """`n_epochs` passes over all sequences, each in a fresh order, in minibatches of whole sequences."""
    size = experience.start.shape[1]

    def epoch(
        carry: tuple[Any, Diagnostics], inputs: tuple[Array, Any]
    ) -> tuple[tuple[Any, Diagnostics], None]:
        index, key_epoch = inputs
        key_order, key_steps = jax.random.split(key_epoch)
        order = shuffled(key_order, size).reshape(setup.n_minibatches, -1)
        now = progress._replace(epoch=index, n_epochs=setup.n_epochs)

        def step(
            carry: tuple[Any, Diagnostics], inputs: tuple[Array, Any]
        ) -> tuple[tuple[Any, Diagnostics], None]:
            rows, key_step = inputs
            agent, total = carry
            batch, start = jax.tree.map(lambda x: x[:, rows], experience[:2])
            minibatch = Sequences(batch, start, jax.tree.map(lambda x: x[rows], experience.carry))
            agent, seen = minibatch_step(
                algorithm, network, meta_params, agent, minibatch, now, key_step, memory
            )
            total = jax.tree.map(jnp.add, total, seen)._replace(finite=total.finite & seen.finite)
            return (agent, total), None

        return jax.lax.scan(step, carry, (order, jax.random.split(key_steps, setup.n_minibatches)))

    zeros = Diagnostics(*(jnp.zeros(()) for _ in range(5)), finite=jnp.bool_(True))
    epochs = (jnp.arange(setup.n_epochs), jax.random.split(key, setup.n_epochs))
    (agent, total), _ = jax.lax.scan(epoch, (agent, zeros), epochs)
    steps = setup.n_epochs * setup.n_minibatches
    return agent, Diagnostics(*(x / steps for x in total[:-1]), finite=total.finite)
