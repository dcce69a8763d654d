"""The parts are really pluggable: algorithms unlike PPO, through the unmodified loop."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from discovery.inner.loops.on_policy import complete
from objectives import build
from objectives.base import Algorithm, Loss, Memory
from objectives.distributions import Categorical
from objectives.parts import gae, standardize, value_loss
from tests.inner.states import CATCH, PPO, assert_splitting_changes_no_bit
from tests.inner.states import quick_begin as begin
from tests.inner.states import quick_go as go

# PPO with an adaptive KL penalty, whose coefficient lives as long as the agent; and an average of params.


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
    target, kl = meta_params["kl_target"], metrics.named["kl"]
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
    return PPO._replace(
        name="adaptive KL",
        targets=adaptive_targets,
        loss=Loss(adaptive_loss, couples_batch=True),
        memory=Memory(adaptive_init, adaptive_update),
        defaults=tuple(sorted({**dict(PPO.defaults), "kl_target": 0.01}.items())),
    )


DISCO = {"predictions": 3, "units": 4, "lifetime": 3, "embedding": 6, "bins": 7, "action_units": 4}
ALGORITHMS = {
    "adaptive_kl": adaptive_kl(),
    "pqn": build("pqn"),
    "ampo": build("ampo", {"units": 6}),
    "lpg": build("lpg", {"width": 4, "embedding": 3, "targets": 3, "initial": "random"}),
    "open": build("open", {"gru_width": 2, "width": 4, "start": "random"}),
    "disco": build("disco", DISCO),
}
SLOW = ("lpg", "open", "disco")


def meta_params_of(name, **numbers):
    """With weights that move an agent; initial ones may be zero."""
    searched = jax.jit(ALGORITHMS[name].init)(jax.random.key(0))
    searched = jax.tree.map(lambda w: w + 0.1 * (name in SLOW), searched)
    return complete(ALGORITHMS[name], numbers, searched)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in ALGORITHMS]
)
def test_splitting_changes_no_bit(name):
    assert_splitting_changes_no_bit(ALGORITHMS[name], meta_params_of(name), begin, go)


@pytest.mark.parametrize("name", ["adaptive_kl", "pqn", "ampo"])
def test_an_agent_learns_to_catch(name):
    """Returns of 300 rollouts, of which random players get -0.6: the paddle is rarely under the ball."""
    algorithm, meta_params = ALGORITHMS[name], meta_params_of(name, learning_rate=3e-3)
    state = begin(algorithm, CATCH, meta_params, jax.random.key(1), 300)
    state, early = go(algorithm, CATCH, meta_params, state, 30)
    state, _ = go(algorithm, CATCH, meta_params, state, 240)
    state, late = go(algorithm, CATCH, meta_params, state, 30)
    assert int(state.record.nonfinite_update) == -1
    first, last = (float(metrics.means()["episode_return"]) for metrics in (early, late))
    assert last > first + 0.3 and last > -0.2


def test_a_memory_moves_as_its_formula_says():
    """Beta from the reported KL of each update, recomputed outside; and an average of the parameters."""
    algorithm = ALGORITHMS["adaptive_kl"]
    meta_params = meta_params_of("adaptive_kl", learning_rate=3e-2, anneal=0.0, kl_target=0.003)
    state = begin(algorithm, CATCH, meta_params, jax.random.key(0), 12)
    assert float(state.memory.beta) == 1.0
    beta, average, seen = 1.0, state.params, set()
    for _ in range(12):
        state, metrics = go(algorithm, CATCH, meta_params, state, 1)
        factor = 2.0 if metrics.named["kl"] > 0.0045 else 0.5 if metrics.named["kl"] < 0.002 else 1.0
        beta, seen = beta * factor, seen | {factor}
        assert float(state.memory.beta) == beta
        average = jax.tree.map(lambda a, p: 0.9 * a + 0.1 * p, average, state.params)
    assert {0.5, 2.0} <= seen
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), state.memory.average, average
    )


def test_a_memory_reaches_the_loss():
    """A different beta in an otherwise equal state: the same rollout, other parameters after it."""
    algorithm, meta_params = ALGORITHMS["adaptive_kl"], meta_params_of("adaptive_kl")
    state = begin(algorithm, CATCH, meta_params, jax.random.key(0), 12)
    strict = state._replace(memory=state.memory._replace(beta=jnp.float32(50.0)))
    (here, a), (there, b) = (go(algorithm, CATCH, meta_params, s, 1) for s in (state, strict))
    assert float(a.episode_return) == float(b.episode_return)
    assert not np.array_equal(
        here.params["actor"]["logits"]["kernel"], there.params["actor"]["logits"]["kernel"]
    )
    assert b.named["kl"] < a.named["kl"]
