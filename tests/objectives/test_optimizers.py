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
    OPTIMIZERS,
    TUNED_ADAM,
    TUNED_SGD,
    capped_adam,
)


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("adam", lambda rate: optax.adam(rate, eps=1e-5)),
        ("radam", lambda rate: optax.radam(rate, eps=1e-8)),
        ("rmsprop", lambda rate: optax.rmsprop(rate, decay=0.99, eps=1e-5)),
        ("lion", lambda rate: optax.lion(rate, b1=0.9, b2=0.99, weight_decay=0.0)),
        (
            "capped_adam",
            lambda rate: optax.chain(
                optax.scale_by_adam(0.9, 0.999, 1e-8), optax.clip(0.5), optax.scale(-rate)
            ),
        ),
    ],
)
def test_they_are_optax_s_behind_a_clip_and_an_annealed_rate(name, theirs):
    """Eight steps; from the sixth on, the variance that RAdam waits for is small enough."""
    rng = np.random.default_rng(0)
    params = {"actor": jnp.zeros(3), "critic": jnp.zeros((2, 2))}
    make_ours, defaults = OPTIMIZERS[name]
    numbers = {"learning_rate": 0.1, "anneal": 1.0, "max_grad_norm": 1.5, "max_update": 0.5}
    ours = make_ours({**defaults, **numbers})
    state, other = ours.init(params), theirs(0.1).init(params)
    clip = optax.clip_by_global_norm(1.5)

    @jax.jit
    def step(gradients, state, other, n):
        clipped, _ = clip.update(gradients, clip.init(params))
        found = ours.update(gradients, state, params, progress=Progress(n, 8))
        return found, theirs(0.1 * (1 - n / 8)).update(clipped, other, params)

    for n in range(8):
        gradients = jax.tree.map(lambda p: rng.normal(0, 1, p.shape).astype(np.float32), params)
        gradients["actor"][0] = 0.0
        (got, state), (expected, other) = step(gradients, state, other, n)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), got, expected)


def test_numbers_are_within_their_limits():
    for _, numbers in OPTIMIZERS.values():
        assert all(LIMITS[name][0] <= value <= LIMITS[name][1] for name, value in numbers.items())


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

    slopes = jax.jit(jax.grad(second_step, argnums=(0, 1)))
    slope, _ = slopes(jnp.float32(1.0), numbers)
    v = (0.999 * 0.001 * 1.0 + 0.001 * 4.0) / (1 - 0.999**2)
    assert float(slope) == pytest.approx(-0.9 * 0.1 / (1 - 0.9**2) / v**0.5, rel=1e-4)
    _, of_numbers = slopes(jnp.float32(0.0), numbers)
    assert all(np.isfinite(x) for x in of_numbers.values()) and float(of_numbers["adam_b2"]) != 0.0


@pytest.mark.parametrize(("optimizer", "tuned"), [("adam", TUNED_ADAM), ("sgd", TUNED_SGD)])
def test_tuned_numbers_are_read_and_of_environments_that_there_are(optimizer, tuned):
    for name, numbers in tuned.items():
        check_numbers(build("ppo", {"optimizer": optimizer}), numbers)
        assert name.startswith("brax/") or make(name)


@pytest.mark.parametrize("name", ["minatar", "minatar-small"])
def test_recipes_have_the_tuned_numbers(name):
    found = {task.name: task.numbers for task in load_suite(name, measured=False).tasks}
    shared = found.keys() & TUNED_ADAM.keys()
    assert len(shared) == 4
    for each in shared:
        numbers = {**TUNED_ADAM[each], "anneal": 1.0, "adam_eps": 1e-5}
        assert {**ADAM_DEFAULTS, **found[each]}.items() >= numbers.items()
