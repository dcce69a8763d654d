"""OPEN's step on top of Adam's."""

import jax
import jax.numpy as jnp
import optax

from discovery.export.templates.open import scale_by_open
from discovery.export.templates.steps import anneal, clip_by_global_norm

ADAM_B1 = 0.9
ADAM_B2 = 0.999
ADAM_EPS = 1e-5


def added(first, second):
    """A transformation whose step is the sum of two others' on the same gradients."""

    def init(params):
        return first.init(params), second.init(params)

    def update(updates, state, params=None, **extra):
        one, first_state = first.update(updates, state[0], params, **extra)
        other, second_state = second.update(updates, state[1], params, **extra)
        return jax.tree.map(jnp.add, one, other), (first_state, second_state)

    return optax.GradientTransformationExtraArgs(init, update)


def rule():
    """The step of Adam, with its own learning rate, plus the learned one; each of clipped gradients."""
    adam = optax.scale_by_adam(ADAM_B1, ADAM_B2, ADAM_EPS, eps_root=1e-30)
    return added(
        optax.chain(clip_by_global_norm(), adam, anneal()),
        optax.chain(clip_by_global_norm(), scale_by_open()),
    )
