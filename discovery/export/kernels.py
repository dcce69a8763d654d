"""The exported maths: for each family, the source of its elementwise policy loss.

The texts repeat the formulas of `objectives/` in the form a stranger wants to read: numbers as
module constants, no `meta_params`, no `Progress`. `verify.py` holds the two together. A family
becomes exportable by one function here and its line in `KERNELS`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from string import Template
from typing import Any

import numpy as np

from discovery.export.literals import array, literal
from objectives import place_of

_POLICY_LOSS = Template('''\
def policy_loss(log_prob, old_log_prob, advantage$parameter):
    """The loss of each sample, to be minimized: $formula.

    Elementwise and pure: no mean, no normalization, no state. It computes in the dtype it is given,
    float32 at least.

    Args:
        log_prob: log-probability of the actions under the policy being trained, of any shape.
        old_log_prob: the same under the policy that acted.
        advantage: same shape, $normalized.
$fraction
    Returns:
        the loss, of the same shape.
    """
    if not jnp.shape(log_prob) == jnp.shape(old_log_prob) == jnp.shape(advantage):
        shapes = f"{jnp.shape(log_prob)}, {jnp.shape(old_log_prob)}, {jnp.shape(advantage)}"
        raise ValueError(f"log_prob, old_log_prob and advantage must have one shape, got {shapes}")
$body''')

_FRACTION = """\
        fraction: share of the training that has passed, n / N with n = 0 .. N - 1 the rollouts learned
            from before this one and N those of the whole training; a scalar, or the same shape.
"""

_MIRROR = """\
    log_ratio = jnp.clip(log_prob - old_log_prob, -60.0, 60.0)  # r overflows float32 beyond 88
    return drift(log_ratio, advantage$argument) - jnp.exp(log_ratio) * advantage
"""

_PPO_DRIFT = '''\
def $name(log_ratio, advantage):
    """PPO's clipping as a drift: relu((r - clip(r, 1 - CLIP, 1 + CLIP)) A)."""
    ratio = jnp.exp(log_ratio)
    return jax.nn.relu((ratio - jnp.clip(ratio, 1.0 - CLIP, 1.0 + CLIP)) * advantage)
'''

_NO_DRIFT = '''\
def drift(log_ratio, advantage):
    """No drift: the importance-weighted policy gradient."""
    return jnp.zeros_like(log_ratio * advantage)
'''

_KL_DRIFT = '''\
def drift(log_ratio, advantage):
    """KL_COEF (r - 1 - log r): KL_COEF times KL(old || new), one sample's estimate."""
    return KL_COEF * (jnp.expm1(log_ratio) - log_ratio)
'''

_DPO_DRIFT = '''\
def drift(log_ratio, advantage):
    """DPO: relu((r-1)A - a tanh((r-1)A / a)) where A >= 0, relu(A log r - b tanh(A log r / b)) elsewhere."""
    gain = jnp.expm1(log_ratio) * advantage
    loss = log_ratio * advantage
    positive = jax.nn.relu(gain - DPO_ALPHA * jnp.tanh(gain / DPO_ALPHA))
    negative = jax.nn.relu(loss - DPO_BETA * jnp.tanh(loss / DPO_BETA))
    return jnp.where(advantage >= 0, positive, negative)
'''

_LPO_DRIFT = Template('''\
def drift_features(log_ratio, advantage$parameter):
    """The network's inputs [..., $n_features]: $inputs, u = (log r, (log r)^2, 1-r, (1-r)^2)."""
    one_minus_ratio = -jnp.expm1(log_ratio)
    u = jnp.stack([log_ratio, jnp.square(log_ratio), one_minus_ratio, jnp.square(one_minus_ratio)], axis=-1)
$features

def drift(log_ratio, advantage$parameter):
    """The learned drift f(r, A$gate_argument) >= 0, zero around r = 1: $formula."""
    bounded = jnp.clip(log_ratio, -LOG_RATIO_CLIP, LOG_RATIO_CLIP)
    features = drift_features(bounded, advantage$argument)
    g = $activation(features @ W_IN) @ W_OUT
    return jax.nn.relu($base - XI)
''')

_PLAIN_FEATURES = """\
    return jnp.concatenate([u, jnp.expand_dims(advantage, -1) * u], axis=-1)
"""

_GATED_FEATURES = """\
    x = jnp.concatenate([u, jnp.expand_dims(advantage, -1) * u], axis=-1)
    gate = jnp.expand_dims(jnp.asarray(fraction, x.dtype), -1)
    return jnp.concatenate([x, gate * x], axis=-1)
"""

_ACTIVATIONS = {"tanh": "jnp.tanh", "relu": "jax.nn.relu", "swish": "jax.nn.swish", "gelu": "jax.nn.gelu"}

MIRROR = "drift - ratio * advantage"


@dataclass(frozen=True)
class Kernel:
    """The source of one policy loss.

    Attributes:
        formula: what `policy_loss` returns, in words of mathematics.
        constants: source of the numbers it reads.
        weights: source of its arrays, for the end of the file.
        drift: source of `drift` and what it calls; empty for a loss that has no drift.
        body: the last lines of `policy_loss`.
        temporal: whether it needs `fraction`.
    """

    formula: str
    constants: str = ""
    weights: str = ""
    drift: str = ""
    body: str = _MIRROR
    temporal: bool = False

    def functions(self, normalize_advantage: bool) -> str:
        """Source of all functions, `policy_loss` last."""
        loss = _POLICY_LOSS.substitute(
            parameter=", *, fraction" if self.temporal else "",
            formula=self.formula,
            normalized="standardized over the minibatch" if normalize_advantage else "not normalized",
            fraction=_FRACTION if self.temporal else "",
            body=Template(self.body).substitute(argument=", fraction=fraction" if self.temporal else ""),
        )
        return f"{self.drift}\n\n{loss}" if self.drift else loss


def _constants(**values: float) -> str:
    return "".join(f"{name.upper()} = {literal(value)}\n" for name, value in values.items())


Numbers = Mapping[str, float]
Arrays = Mapping[str, Any]


def _policy_gradient(options: Mapping[str, Any], numbers: Numbers, arrays: Arrays) -> Kernel:
    return Kernel(MIRROR, drift=_NO_DRIFT)


def _ppo(options: Mapping[str, Any], numbers: Numbers, arrays: Arrays) -> Kernel:
    drift = Template(_PPO_DRIFT).substitute(name="drift")
    return Kernel(MIRROR, constants=_constants(clip=numbers["clip"]), drift=drift)


def _ppo_kl(options: Mapping[str, Any], numbers: Numbers, arrays: Arrays) -> Kernel:
    return Kernel(MIRROR, constants=_constants(kl_coef=numbers["kl_coef"]), drift=_KL_DRIFT)


def _dpo(options: Mapping[str, Any], numbers: Numbers, arrays: Arrays) -> Kernel:
    constants = _constants(dpo_alpha=numbers["dpo_alpha"], dpo_beta=numbers["dpo_beta"])
    return Kernel(MIRROR, constants=constants, drift=_DPO_DRIFT)


def _vsop(options: Mapping[str, Any], numbers: Numbers, arrays: Arrays) -> Kernel:
    return Kernel("-log pi max(A, 0)", body="    return -log_prob * jax.nn.relu(advantage)\n")


def _a2c(options: Mapping[str, Any], numbers: Numbers, arrays: Arrays) -> Kernel:
    return Kernel("-log pi A", body="    return -log_prob * advantage\n")


def _lpo(options: Mapping[str, Any], numbers: Numbers, arrays: Arrays) -> Kernel:
    anchored, temporal = options["anchored"], options["temporal"]
    anchor = Template(_PPO_DRIFT).substitute(name="ppo_drift") + "\n\n" if anchored else ""
    drift = _LPO_DRIFT.substitute(
        parameter=", *, fraction" if temporal else "",
        argument=", fraction=fraction" if temporal else "",
        n_features=16 if temporal else 8,
        inputs="x = (u, A u) and n/N x" if temporal else "(u, A u)",
        gate_argument=", n/N" if temporal else "",
        features=_GATED_FEATURES if temporal else _PLAIN_FEATURES,
        activation=_ACTIVATIONS[options["activation"]],
        formula="relu(f_PPO + g - XI)" if anchored else "relu(g - XI)",
        base="ppo_drift(log_ratio, advantage) + g" if anchored else "g",
    )
    clip = {"clip": numbers["clip"]} if anchored else {}
    constants = _constants(**clip, xi=options["xi"], log_ratio_clip=options["log_ratio_clip"])
    weights = {name: np.asarray(arrays["drift"][name]) for name in ("w_in", "w_out")}
    return Kernel(
        MIRROR,
        constants=constants,
        weights="\n".join(array(name.upper(), value) for name, value in weights.items()),
        drift=anchor + drift,
        temporal=temporal,
    )


KERNELS: dict[str, Callable[[Mapping[str, Any], Numbers, Arrays], Kernel]] = {
    "objectives.drift:lpo": _lpo,
    "objectives.known:a2c": _a2c,
    "objectives.known:dpo": _dpo,
    "objectives.known:policy_gradient": _policy_gradient,
    "objectives.known:ppo": _ppo,
    "objectives.known:ppo_kl": _ppo_kl,
    "objectives.known:vsop": _vsop,
}
"""Factory to kernel: ``(its options, plain numbers, searched entries) -> Kernel``."""


def kernel_of(name: str) -> Callable[[Mapping[str, Any], Numbers, Arrays], Kernel] | None:
    """The kernel of an algorithm by name or place; None for one that cannot be exported."""
    return KERNELS.get(place_of(name))
