"""What optax asks of optimizers that are contributed to it, of every optimizer here."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from objectives import build
from objectives.base import ParamInfo, Progress
from objectives.optimizers import OPTIMIZERS

LEARNED = {
    "open": ("open", {"gru_width": 4, "width": 4}),
    "open_raw": ("open", {"gru_width": 0, "width": 4, "features": "raw"}),
    "open_anchored": ("open", {"gru_width": 0, "width": 4, "anchored": True}),
    "optim4rl": ("optim4rl", {"width": 3}),
    "lodo": ("lodo", {"layers": 3, "block": 2}),
}
ALL = [*OPTIMIZERS, *LEARNED]
SEES_PARAMS = ("open", "open_raw", "open_anchored")

INFO = {
    "actor": {"kernel": ParamInfo("actor", 0, 1, ("actor", "hidden_0"), 1)},
    "critic": {"bias": ParamInfo("critic", 0, 1, None, 0)},
}
CONTEXT: dict[str, Any] = {
    "progress": Progress(1, 4, 1, 2),
    "activations": {"actor": {"hidden_0": jnp.array([[1.0, 2.0, 0.0]])}},
    "param_info": INFO,
}
"""What the inner loop passes beside a key."""

every_optimizer = pytest.mark.parametrize("name", ALL)
few_by_default = pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n not in ("adam", "open", "lodo"))) for n in ALL]
)
"""For tests that compile for long."""


def recipe(name):
    """(maker, numbers, searched entries): as plain Python numbers, which take any array's type."""
    registered, options = LEARNED.get(name, ("ppo", {"optimizer": name}))
    algorithm = build(registered, options)
    searched = jax.eval_shape(algorithm.init, jax.random.key(0))
    weights = jax.tree.map(
        lambda w: np.sin(np.arange(w.size) + 1.0, dtype=np.float32).reshape(w.shape), searched
    )
    return algorithm.optimizer, dict(algorithm.defaults), weights


def make(name, **numbers):
    optimizer, plain, weights = recipe(name)
    return optimizer({**plain, **numbers, **weights})


def tree(dtype: Any = jnp.float32):
    params = {
        "actor": {"kernel": jnp.arange(6, dtype=dtype).reshape(2, 3) / 4},
        "critic": {"bias": jnp.ones(2, dtype)},
    }
    return params, jax.tree.map(lambda p: jnp.cos(p).astype(dtype), params)


def types(tree):
    return jax.tree.map(
        lambda x: (jnp.shape(x), jnp.asarray(x).dtype if not hasattr(x, "dtype") else x.dtype), tree
    )


@every_optimizer
def test_extra_arguments_pass_and_nothing_compiles_twice(name):
    """In a chain, with arguments that nobody expects; and the state keeps its structure in a scan."""
    optimizer = optax.chain(make(name), optax.with_extra_args_support(optax.scale(1.0)))
    params, gradients = tree()
    traced = []

    @jax.jit
    def steps(params, state):
        traced.append(True)

        def step(carry, key):
            updates, state = optimizer.update(gradients, carry[1], carry[0], key=key, strange=1, **CONTEXT)
            return (optax.apply_updates(carry[0], updates), state), None

        return jax.lax.scan(step, (params, state), jax.random.split(jax.random.key(0), 3))[0]

    state = optax.tree.map_params(optimizer, lambda x: x, jax.jit(optimizer.init)(params))
    after, state = steps(params, state)
    after, _ = steps(after, state)
    assert len(traced) == 1
    for a, b in zip(jax.tree.leaves(after), jax.tree.leaves(params), strict=True):
        assert np.isfinite(a).all() and np.all(a != b)


@every_optimizer
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float64])
def test_types_of_updates_and_state_are_stable(name, dtype):
    with jax.enable_x64(dtype == jnp.float64):
        params, gradients = tree(dtype)
        optimizer = make(name)
        context = {**CONTEXT, "key": jax.random.key(0)}

        def update(state):
            return optimizer.update(gradients, state, params, **context)

        state = jax.eval_shape(optimizer.init, params)
        updates, following = jax.eval_shape(update, state)
        assert types(updates) == types(params)
        assert jax.tree.structure(following) == jax.tree.structure(state) and types(following) == types(state)


@few_by_default
def test_hyperparameters_can_be_injected(name):
    """A schedule acts at every step of a scan, as an optimizer does that is made anew with the value of then.

    A constant, here a clip, is as if it had been written down.
    """
    optimizer, plain, weights = recipe(name)
    scheduled = "open_scale" if name in SEES_PARAMS else {"lodo": "lodo_step"}.get(name, "learning_rate")
    constant = "max_gradient" if name == "optim4rl" else "max_grad_norm"
    default = np.float32(plain[scheduled])
    values = default * np.array([0.5, 2.0, 4.0], np.float32)
    params, gradients = tree()
    keys = jax.random.split(jax.random.key(0), 3)

    def factory(changing, fixed):
        return optimizer({**plain, **weights, scheduled: changing, constant: fixed})

    @jax.jit
    def injected(values):
        made: Any = optax.inject_hyperparams(factory)(changing=lambda count: values[count], fixed=0.25)

        def step(state, key):
            updates, state = made.update(gradients, state, params, key=key, **CONTEXT)
            return state, updates

        newborn = made.init(params)
        state, found = jax.lax.scan(step, newborn, keys)
        return found, state.inner_state, newborn.inner_state

    @jax.jit
    def anew(value, state, index):
        return factory(value, 0.25).update(gradients, state, params, key=keys[index], **CONTEXT)

    found, last, state = jax.device_get(injected(values))
    assert jax.tree.structure(last) == jax.tree.structure(state) and types(last) == types(state)
    for index, value in enumerate(values):
        unscheduled, _ = jax.device_get(anew(default, state, index))
        updates, state = jax.device_get(anew(value, state, index))
        now = jax.tree.map(lambda x, index=index: x[index], found)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-8), now, updates)
        for a, b in zip(jax.tree.leaves(now), jax.tree.leaves(unscheduled), strict=True):
            assert np.abs(a - b).max() > 0.1 * np.abs(b).max() > 0
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-8), last, state)


@few_by_default
def test_gradients_can_be_accumulated(name):
    """Three steps change nothing; the fourth is the one on the mean of all four, and the state's first."""
    params, first = tree()
    gradients = jax.tree.map(
        lambda g: np.stack([g, 3 * g - 1, np.sin(5 * g), 0.5 - g]), jax.device_get(first)
    )
    optimizer = make(name)
    accumulated = optax.MultiSteps(optimizer, every_k_schedule=4)
    keys = jax.random.split(jax.random.key(0), 4)

    def step(state, inputs):
        gradient, key = inputs
        updates, state = accumulated.update(gradient, state, params, key=key, **CONTEXT)
        return state, (updates, state.inner_opt_state)

    @jax.jit
    def steps(gradients):
        newborn, mean = optimizer.init(params), jax.tree.map(lambda g: g.mean(axis=0), gradients)
        alone = optimizer.update(mean, newborn, params, key=keys[3], **CONTEXT)
        state, found = jax.lax.scan(step, accumulated.init(params), (gradients, keys))
        return newborn, alone, found, state.gradient_step

    newborn, alone, found, gradient_step = jax.device_get(steps(gradients))
    updates, states = found
    jax.tree.map(lambda u: np.testing.assert_array_equal(u[:3], 0), updates)
    jax.tree.map(
        lambda s, x: np.testing.assert_array_equal(s[:3], np.broadcast_to(x, s[:3].shape)), states, newborn
    )
    fourth = jax.tree.map(lambda x: x[3], found)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-8), fourth, alone)
    assert gradient_step == 1


@pytest.mark.parametrize("name", SEES_PARAMS)
def test_what_sees_the_parameters_says_so_when_they_are_missing(name):
    params, gradients = tree()
    optimizer = make(name)

    def update():
        return optimizer.update(gradients, optimizer.init(params), key=jax.random.key(0), **CONTEXT)

    with pytest.raises(ValueError, match="pass params to update"):
        jax.eval_shape(update)
