"""The parts are really pluggable: algorithms unlike PPO, through the unmodified loop."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from discovery.inner.loops.on_policy import complete
from objectives import build
from objectives.base import Algorithm, Memory
from tests.inner.states import CATCH, PPO, assert_splitting_changes_no_bit
from tests.inner.states import quick_begin as begin
from tests.inner.states import quick_go as go


def remembering() -> Algorithm:
    """PPO that remembers the sum of its KL, which it adds to its value targets, and an average of itself."""

    def update(meta_params, memory, trajectory, params, metrics, progress):
        average = jax.tree.map(lambda a, p: 0.9 * a + 0.1 * p, memory["average"], params)
        return {"total": memory["total"] + metrics.named["kl"], "average": average}

    def targets(meta_params, memory, trajectory, progress):
        found = PPO.targets(meta_params, memory, trajectory, progress)
        return found._replace(value=found.value + memory["total"])

    memory = Memory(lambda meta_params, params, key: {"total": jnp.float32(0), "average": params}, update)
    return PPO._replace(name="remembering", targets=targets, memory=memory)


DISCO = {"predictions": 3, "units": 4, "lifetime": 3, "embedding": 6, "bins": 7, "action_units": 4}
ALGORITHMS = {
    "remembering": remembering(),
    "pqn": build("pqn"),
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


def test_an_agent_without_an_actor_learns_to_catch():
    """Returns of 300 rollouts, of which random players get -0.6: the paddle is rarely under the ball."""
    algorithm, meta_params = ALGORITHMS["pqn"], meta_params_of("pqn", learning_rate=3e-3)
    state = begin(algorithm, CATCH, meta_params, jax.random.key(1), 300)
    state, early = go(algorithm, CATCH, meta_params, state, 30)
    state, _ = go(algorithm, CATCH, meta_params, state, 240)
    state, late = go(algorithm, CATCH, meta_params, state, 30)
    assert int(state.record.nonfinite_update) == -1
    first, last = (float(metrics.means()["episode_return"]) for metrics in (early, late))
    assert last > first + 0.3 and last > -0.2


def test_a_memory_changes_once_per_update_and_reaches_the_targets():
    """By the parameters and the reported KL of each update, recomputed outside."""
    algorithm, meta_params = ALGORITHMS["remembering"], meta_params_of("remembering")
    born = state = begin(algorithm, CATCH, meta_params, jax.random.key(0), 12)
    total, average = 0.0, born.params
    for _ in range(3):
        state, metrics = go(algorithm, CATCH, meta_params, state, 1)
        total += float(metrics.named["kl"])
        average = jax.tree.map(lambda a, p: 0.9 * a + 0.1 * p, average, state.params)
    assert total > 0 and float(state.memory["total"]) == pytest.approx(total, rel=1e-5)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6)
    jax.tree.map(close, state.memory["average"], average)

    # Another memory in a state that is else equal: the same rollout, another critic after it.
    other = born._replace(memory={**born.memory, "total": jnp.float32(5)})
    (here, a), (there, b) = (go(algorithm, CATCH, meta_params, start, 1) for start in (born, other))
    assert float(a.episode_return) == float(b.episode_return)
    kernels = [after.params["critic"]["value"]["kernel"] for after in (here, there)]
    assert np.abs(kernels[0] - kernels[1]).max() > 1e-4
