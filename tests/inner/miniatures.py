"""Five learning algorithms, each in the smallest form that needs what PPO does not.

They are written with `objectives/base.py` alone (and parts that others left fixed), know nothing of the
loop that trains them, and are built by name like any user's: ``"tests.inner.miniatures:lpg"``.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from objectives.base import NO_MEMORY, Algorithm, Head, Loss, Memory, Policy
from objectives.distributions import Categorical
from objectives.known import drift_loss, ppo_drift
from objectives.optimizers import ADAM_DEFAULTS, adam
from objectives.parts import actor_critic, gae, standardize, value_loss
from tests.inner.miniature_open import FEATURES, open_optimizer

ADAM = ADAM_DEFAULTS


def nothing(key):
    return {}


# 1. LPG: no value head, but a vector y that means what a learned backward recurrence makes of it.

SIZE_Y = 4


class LpgTargets(NamedTuple):
    pi_hat: Any
    y_hat: Any


def lpg_heads(n_actions, continuous):
    return {"logits": Head(n_actions, scale=0.01), "y": Head(SIZE_Y, torso="critic")}


def lpg_distribution(meta_params, outputs, progress):
    return Categorical(outputs["logits"])


def lpg_init(key):
    """Weights of the recurrence: 5 inputs, 6 units; linear heads for pi_hat and y_hat; the embedding of y."""
    shapes = {"w_y": (SIZE_Y,), "w_in": (5, 6), "w_h": (6, 6), "w_pi_hat": (6,), "w_y_hat": (6, SIZE_Y)}
    keys = jax.random.split(key, len(shapes))
    return {"lpg": {n: 0.3 * jax.random.normal(k, s) for k, (n, s) in zip(keys, shapes.items(), strict=True)}}


def lpg_targets(meta_params, memory, trajectory, progress):
    weights = meta_params["lpg"]
    ended = (trajectory.terminated | trajectory.truncated).astype(jnp.float32)
    embedded, embedded_next = (
        jax.nn.softmax(outputs["y"]) @ weights["w_y"]
        for outputs in (trajectory.outputs, trajectory.outputs_next)
    )
    x = jnp.stack(
        [trajectory.reward, ended, jnp.exp(trajectory.log_prob), embedded, embedded_next * (1 - ended)], -1
    )

    def backward(h_tp1, inputs):
        x_t, ended_t = inputs
        h_t = jnp.tanh(x_t @ weights["w_in"] + (h_tp1 * (1 - ended_t)[:, None]) @ weights["w_h"])
        return h_t, h_t

    _, h = jax.lax.scan(backward, jnp.zeros((x.shape[1], 6)), (x, ended), reverse=True)
    return LpgTargets(h @ weights["w_pi_hat"], jax.nn.softmax(h @ weights["w_y_hat"]))


def lpg_loss(meta_params, batch, outputs, progress, key):
    log_prob = Categorical(outputs["logits"]).log_prob(batch.action)
    log_y, log_y_hat = jax.nn.log_softmax(outputs["y"]), jnp.log(batch.targets.y_hat + 1e-8)
    divergence = (jnp.exp(log_y) * (log_y - log_y_hat)).sum(-1)
    return log_prob * batch.targets.pi_hat + meta_params["kl_coef"] * divergence


def lpg() -> Algorithm:
    return Algorithm(
        name="miniature LPG",
        policy=Policy(lpg_heads, lpg_distribution),
        targets=lpg_targets,
        loss=Loss(lpg_loss),
        optimizer=adam,
        memory=NO_MEMORY,
        init=lpg_init,
        defaults=tuple(sorted({**ADAM, "kl_coef": 0.5}.items())),
    )


# 2. AMPO: one potential phi(x) = softplus(x)^k shapes the policy that acts and the loss that teaches it.


def phi(log_power, x):
    return jax.nn.softplus(x) ** jnp.exp(log_power)


def phi_inverse(log_power, y):
    return jnp.log(jnp.expm1(y ** jnp.exp(-log_power)))


@jax.custom_jvp
def normalizer(log_power, scores):
    """The lambda [...] for which sum_a phi(f_a + lambda) = 1, by bisection."""
    n_actions = scores.shape[-1]
    low = phi_inverse(log_power, 1.0 / n_actions) - scores.max(-1)
    high = phi_inverse(log_power, 1.0) - scores.max(-1)

    def halve(_, bounds):
        low, high = bounds
        middle = (low + high) / 2
        enough = phi(log_power, scores + middle[..., None]).sum(-1) > 1
        return jnp.where(enough, low, middle), jnp.where(enough, middle, high)

    return jax.lax.fori_loop(0, 25, halve, (low, high))[1]


@normalizer.defjvp
def normalizer_jvp(primals, tangents):
    """Implicit: the mass stays 1, so d lambda = -(d mass at fixed lambda) / (d mass / d lambda)."""
    shift = normalizer(*primals)
    log_power, scores = primals
    _, moved = jax.jvp(lambda p, f: phi(p, f + shift[..., None]).sum(-1), primals, tangents)
    _, slope = jax.jvp(
        lambda x: phi(log_power, scores + x[..., None]).sum(-1), (shift,), (jnp.ones_like(shift),)
    )
    return shift, -moved / slope


def ampo_heads(n_actions, continuous):
    return {"score": Head(n_actions, scale=0.01), "value": Head(0, torso="critic")}


def ampo_distribution(meta_params, outputs, progress):
    log_power = meta_params["potential"]
    p = phi(log_power, outputs["score"] + normalizer(log_power, outputs["score"])[..., None])
    return Categorical(jnp.log(p))


def ampo_loss(meta_params, batch, outputs, progress, key):
    dual = phi_inverse(meta_params["potential"], jnp.exp(batch.log_prob))
    chosen = batch.action[:, None] == jnp.arange(outputs["score"].shape[-1])
    score = jnp.where(chosen, outputs["score"], 0.0).sum(-1)
    actor = jnp.square(score - dual - meta_params["step_size"] * standardize(batch.targets.advantage))
    return actor + 0.5 * value_loss(outputs["value"], batch.outputs["value"], batch.targets.value, 0.2)


def ampo_init(key):
    return {"potential": jnp.float32(0.5)}


def ampo() -> Algorithm:
    return Algorithm(
        name="miniature AMPO",
        policy=Policy(ampo_heads, ampo_distribution),
        targets=gae,
        loss=Loss(ampo_loss, couples_batch=True),
        optimizer=adam,
        memory=NO_MEMORY,
        init=ampo_init,
        defaults=tuple(sorted({**ADAM, "gamma": 0.99, "gae_lambda": 0.95, "step_size": 1.0}.items())),
    )


# 4. OPEN: PPO's loss; the step is a learned function (see miniature_open.py).


def open_init(key):
    return {"open": {"w": 0.1 * jax.random.normal(key, (len(FEATURES), 3)), "b": jnp.zeros(3)}}


def open_rule() -> Algorithm:
    ppo = actor_critic("ppo", drift_loss(ppo_drift))
    defaults = {name: value for name, value in ppo.defaults if name not in ADAM}
    return ppo._replace(
        name="miniature OPEN",
        optimizer=open_optimizer,
        init=open_init,
        defaults=tuple(sorted(defaults.items())),
    )


# 5. PPO with an adaptive KL penalty, whose coefficient lives as long as the agent; and an average of params.


class AdaptiveTargets(NamedTuple):
    advantage: Any
    value: Any
    beta: Any


class AdaptiveMemory(NamedTuple):
    beta: Any
    average: Any


def adaptive_init(meta_params, params, key):
    return AdaptiveMemory(jnp.float32(1.0), params)


def adaptive_update(meta_params, memory, trajectory, params, metrics, progress):
    """Schulman et al. 2017, eq. 8: half beta where KL < target / 1.5, twice where KL > 1.5 target."""
    target = meta_params["kl_target"]
    kl = metrics.named["kl"]
    factor = jnp.where(kl > 1.5 * target, 2.0, jnp.where(kl < target / 1.5, 0.5, 1.0))
    average = jax.tree.map(lambda a, p: 0.9 * a + 0.1 * p, memory.average, params)
    return AdaptiveMemory(memory.beta * factor, average)


def adaptive_targets(meta_params, memory, trajectory, progress):
    targets = gae(meta_params, memory, trajectory, progress)
    return AdaptiveTargets(*targets, jnp.full_like(targets.advantage, memory.beta))


def adaptive_loss(meta_params, batch, outputs, progress, key):
    log_ratio = Categorical(outputs["logits"]).log_prob(batch.action) - batch.log_prob
    advantage = standardize(batch.targets.advantage)
    actor = batch.targets.beta * (jnp.expm1(log_ratio) - log_ratio) - jnp.exp(log_ratio) * advantage
    return actor + 0.5 * value_loss(outputs["value"], batch.outputs["value"], batch.targets.value, jnp.inf)


def adaptive_kl() -> Algorithm:
    ppo = actor_critic("ppo", drift_loss(ppo_drift), kl_target=0.01)
    return ppo._replace(
        name="miniature adaptive KL",
        targets=adaptive_targets,
        loss=Loss(adaptive_loss, couples_batch=True),
        memory=Memory(adaptive_init, adaptive_update),
    )
