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
SEES_PARAMS = ("open", "open_raw", "open_anchored")

CONTEXT: dict[str, Any] = {
    "progress": Progress(1, 4, 1, 2),
    "activations": {"actor": {"hidden_0": jnp.array([[1.0, 2.0, 0.0]])}},
    "param_info": {
        "actor": {"kernel": ParamInfo("actor", 0, 1, ("actor", "hidden_0"), 1)},
        "critic": {"bias": ParamInfo("critic", 0, 1, None, 0)},
    },
}
"""What the inner loop passes beside a key."""

every_optimizer = pytest.mark.parametrize("name", [*OPTIMIZERS, *LEARNED])


def recipe(name):
    """(maker, numbers, searched entries): as plain Python numbers, which take any array's type."""
    registered, options = LEARNED.get(name, ("ppo", {"optimizer": name}))
    algorithm = build(registered, options)
    searched = jax.eval_shape(algorithm.init, jax.random.key(0))
    weights = jax.tree.map(
        lambda w: np.sin(np.arange(w.size) + 1.0, dtype=np.float32).reshape(w.shape), searched
    )
    return algorithm.optimizer, dict(algorithm.defaults), weights


def make(name):
    optimizer, plain, weights = recipe(name)
    return optimizer({**plain, **weights})


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


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (name not in ("adam", "open", "lodo")))
        for name in (*OPTIMIZERS, *LEARNED)
    ],
)
def test_hyperparameters_can_be_injected(name):
    """A schedule acts at every step of a scan, as an optimizer that is made anew with the value of then."""
    optimizer, plain, weights = recipe(name)
    scheduled = "open_scale" if name in SEES_PARAMS else {"lodo": "lodo_step"}.get(name, "learning_rate")
    constant = plain[scheduled] * np.ones(3, np.float32)
    params, gradients = tree()
    keys = jax.random.split(jax.random.key(0), 3)

    def factory(value):
        return optimizer({**plain, **weights, scheduled: value})

    @jax.jit
    def injected(values):
        made: Any = optax.inject_hyperparams(factory)(value=lambda count: values[count])

        def step(state, key):
            updates, state = made.update(gradients, state, params, key=key, **CONTEXT)
            return state, updates

        state, updates = jax.lax.scan(step, made.init(params), keys)
        return state.inner_state, updates

    @jax.jit
    def anew(values):
        def step(state, inputs):
            value, key = inputs
            updates, state = factory(value).update(gradients, state, params, key=key, **CONTEXT)
            return state, updates

        return jax.lax.scan(step, factory(values[0]).init(params), (values, keys))

    values = constant * np.array([0.5, 2.0, 4.0], np.float32)
    found, expected = jax.device_get((injected(values), anew(values)))
    assert types(found) == types(expected)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-8), found, expected)
    _, unscheduled = jax.device_get(anew(constant))
    for a, b in zip(jax.tree.leaves(found[1]), jax.tree.leaves(unscheduled), strict=True):
        for step in range(3):
            assert np.abs(a[step] - b[step]).max() > 0.1 * np.abs(b[step]).max() > 0


@pytest.mark.parametrize("name", SEES_PARAMS)
def test_what_sees_the_parameters_says_so_when_they_are_missing(name):
    params, gradients = tree()
    optimizer = make(name)

    def update():
        return optimizer.update(gradients, optimizer.init(params), key=jax.random.key(0), **CONTEXT)

    with pytest.raises(ValueError, match="pass params to update"):
        jax.eval_shape(update)
