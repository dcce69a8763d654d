"""Known algorithms as programs: where a search can start, what mutation can graft, and what is recognized.

Each is the source text that `source.parse` reads, and reproduces its hand-written original, in values and in
gradients: tests/objectives/programs/test_known.py has the originals.
"""

import functools
from collections.abc import Mapping

from objectives.programs.graph import Program
from objectives.programs.slots import slot_of
from objectives.programs.source import parse

POLICY_LOSS = {
    "policy_gradient": '''
def policy_gradient(log_ratio, advantage):
    """Importance-weighted policy gradient."""
    return -jnp.exp(log_ratio) * advantage
''',
    "ppo": '''
def ppo(log_ratio, advantage):
    """PPO's clipped surrogate (Schulman et al. 2017, eq. 7)."""
    clip = 0.2
    ratio = jnp.exp(log_ratio)
    clipped = jnp.clip(ratio, 1 - clip, 1 + clip)
    return -jnp.minimum(ratio * advantage, clipped * advantage)
''',
    "ppo_kl": '''
def ppo_kl(log_ratio, advantage):
    """PPO with a KL penalty per sample (Schulman et al. 2017, eq. 8)."""
    kl = jnp.expm1(log_ratio) - log_ratio
    return 1.0 * kl - jnp.exp(log_ratio) * advantage
''',
    "dpo": '''
def dpo(log_ratio, advantage):
    """Discovered Policy Optimisation (Lu et al. 2022), closed form."""
    alpha, beta = 2.0, 0.6
    gain = jnp.expm1(log_ratio) * advantage
    loss = log_ratio * advantage
    positive = jax.nn.relu(gain - alpha * jnp.tanh(gain / alpha))
    negative = jax.nn.relu(loss - beta * jnp.tanh(loss / beta))
    drift = jnp.where(advantage >= 0, positive, negative)
    return drift - jnp.exp(log_ratio) * advantage
''',
    "vsop": '''
def vsop(log_ratio, advantage):
    """VSOP (Jesson et al. 2023) up to log pi_old max(A, 0), which has no gradient: -log r max(A, 0)."""
    return -log_ratio * jax.nn.relu(advantage)
''',
    "tr_ppo": '''
def tr_ppo(log_ratio, advantage):
    """As TR-PPO (Wang et al. 2020): no push beyond a trust region of KL, measured per sample."""
    ratio = jnp.exp(log_ratio)
    outside = ratio - 1 - log_ratio > 0.03
    improves = (ratio - 1) * advantage > 0
    held = jnp.where(jnp.logical_and(outside, improves), jax.lax.stop_gradient(ratio), ratio)
    return -held * advantage
''',
    "lrml": '''
def lrml(log_ratio, advantage):
    """The gate of LRML (Lu et al. 2024): logistic for a small log r A, exponential for a large one."""
    z = log_ratio * advantage
    gate = jax.nn.sigmoid(z / 0.5)
    return (1 - gate) * -jax.nn.log_sigmoid(z) + gate * jnp.exp(-z)
''',
}

LOSS = {
    "ppo": '''
def ppo(log_ratio, advantage, value, old_value, target, entropy):
    """PPO with value clipping and an entropy bonus."""
    clip, value_clip = 0.2, 0.2
    ratio = jnp.exp(log_ratio)
    clipped = jnp.clip(ratio, 1 - clip, 1 + clip)
    actor = -jnp.minimum(ratio * advantage, clipped * advantage)
    near = old_value + jnp.clip(value - old_value, -value_clip, value_clip)
    critic = 0.5 * jnp.maximum(jnp.square(value - target), jnp.square(near - target))
    return actor + 0.5 * critic - 0.01 * entropy
''',
    "a2c": '''
def a2c(log_prob, advantage, value, target, entropy):
    """A2C: -log pi A, the value's squared error, an entropy bonus."""
    critic = 0.5 * jnp.square(value - target)
    return -log_prob * advantage + 0.5 * critic - 0.01 * entropy
''',
}

TRACE = {
    "constant": '''
def constant():
    """One lambda for all: generalized advantage estimation."""
    decay = 0.95
    return decay, decay
''',
    "apart": '''
def apart():
    """A lambda of the advantages and another one of the value targets."""
    return 0.95, 0.8
''',
}

ADVANTAGE = {
    "identity": '''
def identity(gae):
    """The advantage as it is estimated."""
    return gae
''',
    "standardized": '''
def standardized(gae):
    """Mean 0 and standard deviation 1 over the minibatch."""
    return (gae - jnp.mean(gae)) / (jnp.std(gae) + 1e-8)
''',
    "signed_root": '''
def signed_root(gae):
    """The square root of its size, with its sign."""
    return jnp.sign(gae) * jnp.sqrt(jnp.abs(gae))
''',
    "positive_part": '''
def positive_part(gae):
    """VSOP's: negative advantages count as zero."""
    return jax.nn.relu(gae)
''',
}

OPTIMIZER = {
    "sgd": '''
def sgd(gradient, learning_rate):
    """Stochastic gradient descent."""
    return learning_rate * gradient
''',
    "momentum": '''
def momentum(mean_9, learning_rate):
    """SGD along the running mean of the gradient."""
    return learning_rate * mean_9
''',
    "rmsprop": '''
def rmsprop(gradient, square_99, learning_rate):
    """RMSprop (Tieleman and Hinton 2012), with epsilon inside the root."""
    return learning_rate * (gradient / jnp.sqrt(square_99 + 1e-5))
''',
    "adam": '''
def adam(mean_9, square_999, learning_rate):
    """Adam without bias correction."""
    return learning_rate * (mean_9 / (jnp.sqrt(square_999) + 1e-5))
''',
    "lion": '''
def lion(gradient, mean_99, learning_rate):
    """Lion (Chen et al. 2023): with g included in the mean, sign(0.9 m + 0.1 g) is sign(10 m + g)."""
    return learning_rate * jnp.sign(10 * mean_99 + gradient)
''',
    "sign_sgd": '''
def sign_sgd(gradient, learning_rate):
    """The sign of the gradient."""
    return learning_rate * jnp.sign(gradient)
''',
}

SCHEDULE = {
    "constant": '''
def constant():
    """The learning rate of the recipe."""
    return 1.0
''',
    "linear": '''
def linear(progress):
    """Down to zero at the end."""
    return 1 - progress
''',
    "cosine": '''
def cosine(progress):
    """Half a cosine wave."""
    return 0.5 * (1 + jnp.cos(jnp.pi * progress))
''',
    "adaptive_kl": '''
def adaptive_kl(kl, last):
    """1.5 times smaller where the last step was twice the wanted KL, larger where it was half of it."""
    wanted, step = 0.01, 1.5
    slower = jnp.where(kl > 2 * wanted, last / step, last)
    return jnp.where(kl < 0.5 * wanted, last * step, slower)
''',
}

POTENTIAL = {
    "negative_entropy": '''
def negative_entropy(x):
    """1 + log x: softmax policies."""
    return 1 + jnp.log(x)
''',
    "l2": '''
def l2(x):
    """x: Euclidean projection."""
    return x
''',
    "tsallis": '''
def tsallis(x):
    """1 + q (x^(q - 1) - 1) / (q - 1): a Tsallis entropy."""
    q = 0.5
    return 1 + q * (jnp.expm1((q - 1) * jnp.log(x)) / (q - 1))
''',
}

PREFERENCE = {
    "dpo": '''
def dpo(h, beta):
    """Direct preference optimization (Rafailov et al. 2023)."""
    return -jax.nn.log_sigmoid(beta * h)
''',
    "ipo": '''
def ipo(h, beta):
    """IPO (Azar et al. 2023)."""
    return jnp.square(h - 1 / (2 * beta))
''',
    "slic": '''
def slic(h, beta):
    """SLiC's hinge (Zhao et al. 2023)."""
    return jax.nn.relu(1 - beta * h)
''',
    "kto": '''
def kto(beta, chosen, rejected):
    """KTO of pairs: the mean of the losses of both answers."""
    kl_chosen = jnp.maximum(jnp.mean(chosen), 0)
    kl_rejected = jnp.maximum(jnp.mean(rejected), 0)
    good = 1 - jax.nn.sigmoid(beta * (chosen - kl_rejected))
    bad = 1 - jax.nn.sigmoid(beta * (kl_chosen - rejected))
    return 0.5 * (good + bad)
''',
    "lrml": '''
def lrml(h, beta):
    """LRML, also called DiscoPOP (Lu et al. 2024)."""
    z = beta * h
    gate = jax.nn.sigmoid(z / 0.05)
    return (1 - gate) * -jax.nn.log_sigmoid(z) + gate * jnp.exp(-z)
''',
    "dbaql": '''
def dbaql(h, beta):
    """DBAQL (Lu et al. 2024)."""
    t = 0.9
    z = beta * h
    share = jax.nn.sigmoid(jnp.var(z / 0.05))
    return share * -jax.nn.log_sigmoid(z / t) + (1 - share) * jnp.exp(-z * t)
''',
    "aql": '''
def aql(h, beta):
    """AQL (Lu et al. 2024)."""
    z = beta * h
    quantile = 0.5 + 0.01 * (jax.nn.sigmoid(jnp.mean(z / 0.05)) - 0.5)
    weight = jax.nn.sigmoid(-(z / 0.05 - quantile))
    return weight * -jax.nn.log_sigmoid(z) + (1 - weight) * jax.nn.relu(1 - z)
''',
    "padll": '''
def padll(h, beta):
    """PADLL (Lu et al. 2024)."""
    return 0.9 * (jnp.where(h < 0, 0.5, 1.0) * -jax.nn.log_sigmoid(beta * h))
''',
    "aqfl": '''
def aqfl(h, beta):
    """AQFL (Lu et al. 2024)."""
    scaled = beta * h / 0.05
    initial = jnp.std(scaled) * jnp.mean(jax.nn.sigmoid(-scaled))
    quantile = initial + 0.05 * (jax.nn.sigmoid(jnp.mean(scaled)) - initial)
    share = jax.nn.sigmoid(0.1 * jnp.abs(scaled - quantile))
    return share * -jax.nn.log_sigmoid(beta * h) + (1 - share) * jax.nn.relu(1 - beta * h)
''',
    "cell": '''
def cell(h, beta):
    """CELL (Lu et al. 2024)."""
    z = beta * h
    return 0.5 * jnp.exp(-z) + 0.5 * -jax.nn.log_sigmoid(z)
''',
    "pfl": '''
def pfl(h, beta, margin):
    """PFL (Lu et al. 2024): softer where the policy alone prefers the right answer."""
    z = beta * h
    return jnp.where(margin > 0, 0.5 * -jax.nn.log_sigmoid(z), 2 * jax.nn.relu(1 - z))
''',
}

SOURCES: Mapping[str, Mapping[str, str]] = {
    "policy_loss": POLICY_LOSS,
    "loss": LOSS,
    "trace": TRACE,
    "advantage": ADVANTAGE,
    "optimizer": OPTIMIZER,
    "schedule": SCHEDULE,
    "potential": POTENTIAL,
    "preference": PREFERENCE,
}
"""Source texts by slot and name."""


@functools.cache
def known(slot: str, name: str) -> Program:
    """A known algorithm as a program.

    Raises:
        ValueError: the slot has none of this name.
    """
    sources = SOURCES[slot_of(slot).name]
    if name not in sources:
        raise ValueError(f"no program for {slot} is called {name!r}; known ones: {', '.join(sources)}")
    return parse(sources[name].lstrip("\n"), slot)
