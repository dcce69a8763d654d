"""Known optimizers against optax's own, and the numbers that come with them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from discovery.core.suites import load_suite
from discovery.inner.loops.on_policy import check_numbers
from environments.make import make
from objectives import build
from objectives.base import Progress
from objectives.optimizers import (
    ADAM_DEFAULTS,
    CAPPED_ADAM_DEFAULTS,
    LIMITS,
    LION_DEFAULTS,
    OPTIMIZERS,
    RMSPROP_DEFAULTS,
    TUNED_ADAM,
    TUNED_SGD,
    capped_adam,
    lion,
    rmsprop,
)


@pytest.mark.parametrize(
    ("make_ours", "defaults", "theirs"),
    [
        (rmsprop, RMSPROP_DEFAULTS, lambda rate: optax.rmsprop(rate, decay=0.99, eps=1e-5)),
        (lion, LION_DEFAULTS, lambda rate: optax.lion(rate, b1=0.9, b2=0.99, weight_decay=0.0)),
    ],
    ids=["rmsprop", "lion"],
)
def test_rmsprop_and_lion_are_optax_s_behind_a_clip_and_an_annealed_rate(make_ours, defaults, theirs):
    rng = np.random.default_rng(0)
    params = {"actor": jnp.zeros(3), "critic": jnp.zeros((2, 2))}
    ours = make_ours({**defaults, "learning_rate": 0.1, "anneal": 1.0, "max_grad_norm": 1.5})
    state = ours.init(params)
    clip = optax.clip_by_global_norm(1.5)
    steps = [theirs(0.1 * (1 - n / 4)) for n in range(4)]
    other = steps[0].init(params)
    for n in range(4):
        gradients = jax.tree.map(lambda p: jnp.asarray(rng.normal(0, 1, p.shape), jnp.float32), params)
        gradients["actor"] = gradients["actor"].at[0].set(0.0)
        got, state = ours.update(gradients, state, params, progress=Progress(n, 4))
        expected, other = steps[n].update(clip.update(gradients, clip.init(params))[0], other, params)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-8), got, expected)


def test_rmsprop_has_a_derivative_where_gradients_are_zero():
    params = {"actor": jnp.zeros(3)}

    def after(numbers):
        optimizer = rmsprop(numbers)
        _, state = optimizer.update(params, optimizer.init(params), params, progress=Progress(0, 4))
        updates: Any = optimizer.update(params, state, params, progress=Progress(1, 4))[0]
        return updates["actor"].sum()

    slopes = jax.grad(after)({name: jnp.float32(value) for name, value in RMSPROP_DEFAULTS.items()})
    assert all(np.isfinite(x) for x in slopes.values())


def test_capped_adam_is_optax_s_with_each_element_cut_off():
    rng = np.random.default_rng(0)
    params = {"actor": jnp.zeros(4), "critic": jnp.zeros((2, 2))}
    ours = capped_adam({**CAPPED_ADAM_DEFAULTS, "learning_rate": 0.1, "max_update": 0.1})
    state, theirs = ours.init(params), optax.scale_by_adam(0.9, 0.999, 1e-8)
    other = theirs.init(params)
    for n in range(4):
        gradients = jax.tree.map(lambda p: jnp.asarray(rng.normal(0, 1, p.shape), jnp.float32), params)
        gradients["actor"] = gradients["actor"].at[0].set(0.0)
        got, state = ours.update(gradients, state, params, progress=Progress(n, 4))
        expected: Any
        expected, other = theirs.update(gradients, other)
        assert any((jnp.abs(x) > 0.1).any() for x in jax.tree.leaves(expected))
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, -0.1 * np.clip(b, -0.1, 0.1), rtol=1e-5, atol=1e-8),
            got,
            expected,
        )


def test_no_derivative_passes_capped_adam_s_denominator():
    """After gradients g and 2: d (m / sqrt(v)) / d g is b1 (1 - b1) / (1 - b1^2) / sqrt(v), v held."""
    numbers = {name: jnp.float32(value) for name, value in CAPPED_ADAM_DEFAULTS.items()}
    numbers |= {"learning_rate": jnp.float32(1.0), "max_update": jnp.float32(10.0)}

    def second_step(g, numbers):
        optimizer = capped_adam(numbers)
        params, now = {"actor": g}, {"progress": Progress(0, 4)}
        _, state = optimizer.update(params, optimizer.init(params), params, **now)
        updates: Any = optimizer.update({"actor": jnp.float32(2.0)}, state, params, **now)[0]
        return updates["actor"]

    slope = jax.grad(second_step)(jnp.float32(1.0), numbers)
    v = (0.999 * 0.001 * 1.0 + 0.001 * 4.0) / (1 - 0.999**2)
    assert float(slope) == pytest.approx(-0.9 * 0.1 / (1 - 0.9**2) / v**0.5, rel=1e-4)
    of_numbers = jax.grad(second_step, argnums=1)(jnp.float32(0.0), numbers)
    assert all(np.isfinite(x) for x in of_numbers.values()) and float(of_numbers["adam_b2"]) != 0.0


def test_numbers_are_within_their_limits():
    for _, numbers in OPTIMIZERS.values():
        for name, value in numbers.items():
            assert LIMITS[name][0] <= value <= LIMITS[name][1]


@pytest.mark.parametrize(("optimizer", "tuned"), [("adam", TUNED_ADAM), ("sgd", TUNED_SGD)])
def test_tuned_numbers_are_read_and_of_environments_that_there_are(optimizer, tuned):
    for name, numbers in tuned.items():
        check_numbers(build("ppo", {"optimizer": optimizer}), numbers)
        assert name.startswith("brax/") or make(name)


@pytest.mark.parametrize(("name", "tasks"), [("minatar", 4), ("minatar-small", 4), ("brax", 1)])
def test_recipes_have_the_tuned_numbers(name, tasks):
    """Brax's recipe is PureJaxRL's, with its decays; OPEN's authors tuned others, but the same rate."""
    found = {task.name: task.numbers for task in load_suite(name, measured=False).tasks}
    shared = found.keys() & TUNED_ADAM.keys()
    assert len(shared) == tasks
    for each in shared:
        complete, tuned = {**ADAM_DEFAULTS, **found[each]}, TUNED_ADAM[each]
        if name == "brax":
            tuned = {"learning_rate": tuned["learning_rate"]}
        else:
            tuned = {**tuned, "anneal": 1.0, "adam_eps": 1e-5}
        assert {number: complete[number] for number in tuned} == tuned
