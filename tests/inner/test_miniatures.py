"""The parts are really pluggable: five algorithms unlike PPO, through the unmodified loop."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from discovery.inner.loops.on_policy import advance, complete, init, parts
from discovery.inner.rollout import Recall, rollout
from discovery.inner.update import sequences
from objectives import build
from objectives.base import Progress
from tests.inner import miniatures
from tests.inner.states import CATCH, assert_splitting_changes_no_bit
from tests.inner.states import quick_begin as begin
from tests.inner.states import quick_go as go

NAMES = ["lpg", "ampo", "open_rule", "adaptive_kl"]
RANDOM_RETURN = -0.6
"""Of Catch: the paddle of a random player is rarely under the ball."""
ALGORITHMS = {name: build(f"tests.inner.miniatures:{name}") for name in NAMES}
NOW = Progress(3, 10, 0, 2)


def meta_params_of(name, seed=0, **numbers):
    algorithm = ALGORITHMS[name]
    return complete(algorithm, numbers, algorithm.init(jax.random.key(seed)))


def train(name, meta_params, lifetime=300, seed=1):
    """Mean return of the first tenth and of the last tenth of a life, and the state at its end."""
    algorithm, tenth = ALGORITHMS[name], lifetime // 10
    state = begin(algorithm, CATCH, meta_params, jax.random.key(seed), lifetime)
    state, early = go(algorithm, CATCH, meta_params, state, tenth)
    state, _ = go(algorithm, CATCH, meta_params, state, lifetime - 2 * tenth)
    state, late = go(algorithm, CATCH, meta_params, state, tenth)
    assert int(state.record.nonfinite_update) == -1
    return float(early.means()["episode_return"]), float(late.means()["episode_return"]), state


def one_rollout(name, meta_params):
    """A rollout of a newborn agent."""
    algorithm = ALGORITHMS[name]
    environment, network = parts(algorithm, CATCH)

    @jax.jit
    def act(meta_params):
        state = init(algorithm, CATCH, meta_params, jax.random.key(0), 10)
        return rollout(
            algorithm,
            environment,
            CATCH,
            network,
            meta_params,
            state.params,
            (state.environments, state.carry),
            NOW,
            jax.random.key(1),
        )[1].trajectory

    return act(meta_params)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in ("lpg", "open_rule") else n for n in NAMES]
)
def test_splitting_changes_no_bit(name):
    assert_splitting_changes_no_bit(ALGORITHMS[name], meta_params_of(name), begin, go)


# LPG


def reinforce_weights():
    """A recurrence that is nearly the discounted return, its negative as pi_hat: LPG could discover it."""
    weights = jax.tree.map(jnp.zeros_like, ALGORITHMS["lpg"].init(jax.random.key(0))["lpg"])
    weights["w_in"] = weights["w_in"].at[0, 0].set(0.2)
    weights["w_h"] = weights["w_h"].at[0, 0].set(0.95)
    weights["w_pi_hat"] = weights["w_pi_hat"].at[0].set(-5.0)
    weights["w_y_hat"] = weights["w_y_hat"].at[0].set(jnp.array([5.0, 0.0, 0.0, -5.0]))
    return {"lpg": weights}


@pytest.mark.slow
def test_lpg_has_its_heads_and_learns_with_the_weights_of_reinforce():
    meta_params = {**meta_params_of("lpg", learning_rate=1e-2, anneal=0.0), **reinforce_weights()}
    early, late, state = train("lpg", meta_params)
    assert set(state.params) == {"actor", "critic"} and set(state.params["critic"]) == {"hidden_0", "y"}
    assert state.params["critic"]["y"]["kernel"].shape == (16, miniatures.SIZE_Y)
    assert late > early + 0.3 and late > RANDOM_RETURN + 0.4


@pytest.mark.slow  # tests/inner/test_lpg_lives.py has a derivative through lives of LPG itself
def test_lpg_meta_gradient_flows_through_the_loop():
    """From parameters after two updates back to every weight of the recurrence."""
    algorithm, numbers = ALGORITHMS["lpg"], meta_params_of("lpg", learning_rate=1e-2)
    setup = replace(CATCH, n_epochs=1, n_minibatches=1)

    @jax.jit
    @jax.grad
    def gradient(searched):
        meta_params = {**numbers, **searched}
        state = init(algorithm, setup, meta_params, jax.random.key(0), 10)
        state, _ = advance(algorithm, setup, meta_params, state, 2)
        return sum(jnp.sin(leaf).sum() for leaf in jax.tree.leaves(state.params))

    for path, leaf in jax.tree.leaves_with_path(gradient(algorithm.init(jax.random.key(0)))):
        assert np.isfinite(leaf).all() and np.abs(leaf).max() > 1e-6, path


# AMPO


def test_ampo_normalizer_is_a_root_with_the_implicit_derivative():
    log_power, scores = jnp.float32(0.4), jnp.array([0.3, -1.0, 0.7])
    power = np.exp(0.4)
    mass = lambda shift: (np.log1p(np.exp(np.asarray(scores, float) + shift)) ** power).sum()  # noqa: E731
    root = optimize.brentq(lambda shift: mass(shift) - 1.0, -20, 5)
    assert float(miniatures.normalizer(log_power, scores)) == pytest.approx(root, abs=1e-5)
    probabilities = lambda p, f: jnp.exp(  # noqa: E731
        miniatures.ampo_distribution({"potential": p}, {"score": f}, NOW).logits
    )
    jacobians = jax.jit(jax.jacrev(probabilities, argnums=(0, 1)))(log_power, scores)
    for jacobian in jacobians:  # mass is conserved in every direction
        assert np.abs(jacobian).max() > 1e-2
        np.testing.assert_allclose(jacobian.sum(0), np.zeros(jacobian.shape[1:]), atol=1e-6)


def test_ampo_potential_shapes_acting_and_loss_alike():
    """The same entry of meta_params changes who acts and what is learned; and it learns."""
    plain, sharp = (meta_params_of("ampo") | {"potential": jnp.float32(x)} for x in (0.0, 1.5))
    scores = {"score": jnp.array([[1.0, 0.0, -1.0]]), "value": jnp.zeros(1)}
    entropies = [
        float(ALGORITHMS["ampo"].policy.distribution(m, scores, NOW).entropy()[0]) for m in (plain, sharp)
    ]
    assert entropies[0] - entropies[1] > 0.05
    here, there = (one_rollout("ampo", m) for m in (plain, sharp))
    assert not np.array_equal(here.log_prob, there.log_prob)

    slope = jax.jit(jax.grad(lambda x: _ampo_loss(here, {**plain, "potential": x})))(jnp.float32(0.5))
    assert np.isfinite(slope) and abs(float(slope)) > 1e-3
    meta_params = meta_params_of("ampo", learning_rate=3e-3)
    early, late, _ = train("ampo", meta_params)
    assert late > early + 0.3 and late > RANDOM_RETURN + 0.4


def _ampo_loss(trajectory, meta_params):
    algorithm = ALGORITHMS["ampo"]
    targets = algorithm.targets(meta_params, (), trajectory, NOW)
    recall = Recall(jnp.zeros(trajectory.reward.shape, bool), {})
    batch = jax.tree.map(lambda x: x[0], sequences(trajectory, recall, targets, 1).batch)
    return algorithm.loss.per_sample(meta_params, batch, batch.outputs, NOW, jax.random.key(0)).mean()


# OPEN


def open_meta_params(**outputs):
    """Weights of the learned optimizer: zero but for ``o_<feature>=value``; ``noise`` is a bias of o_2."""
    weights = {"w": np.zeros((len(miniatures.FEATURES), 3), np.float32), "b": np.zeros(3, np.float32)}
    weights["b"][2] = outputs.pop("noise", 0.0)
    for feature, value in outputs.items():
        weights["w"][miniatures.FEATURES.index(feature), 0] = value
    return {**meta_params_of("open_rule"), "open": jax.tree.map(jnp.asarray, weights)}


def steps_taken(meta_params, n_updates=1):
    """Change of every parameter in units of the optimizer's 1e-3, over all its steps."""
    algorithm = ALGORITHMS["open_rule"]
    start = begin(algorithm, CATCH, meta_params, jax.random.key(0), 10)
    end, _ = go(algorithm, CATCH, meta_params, start, n_updates)
    return jax.tree.map(lambda a, b: 1e3 * np.asarray(b - a), start.params, end.params)


@pytest.mark.slow
def test_open_with_zero_weights_moves_nothing():
    assert not any(step.any() for step in jax.tree.leaves(steps_taken(open_meta_params())))


def test_open_noise_reaches_the_actor_only_and_one_mean_is_subtracted():
    """The critic moves by the joint mean alone, all of it alike; and no mass is created."""
    steps = steps_taken(open_meta_params(noise=1.0))
    critic = np.concatenate([step.ravel() for step in jax.tree.leaves(steps["critic"])])
    actor = np.concatenate([step.ravel() for step in jax.tree.leaves(steps["actor"])])
    assert np.ptp(critic) < 1e-3 and np.abs(critic).max() > 1e-3
    # 2 epochs x 2 minibatches of unit noise: variance 4.
    assert np.std(actor) == pytest.approx(2.0, rel=0.1)
    assert actor.sum() + critic.sum() == pytest.approx(0.0, abs=0.05)


def test_open_reads_activations_and_layers():
    """What feeds one neuron moves alike, by its dormancy; the layer feature tells layers apart."""
    steps = steps_taken(open_meta_params(dormancy=1.0))
    for torso in ("actor", "critic"):
        kernel, bias = steps[torso]["hidden_0"]["kernel"], steps[torso]["hidden_0"]["bias"]
        np.testing.assert_allclose(kernel, np.broadcast_to(bias, kernel.shape), atol=1e-3)
        # Four steps, dormancies of mean one in each layer: the mean over a layer is that of all parameters.
        assert np.std(bias) > 0.1 and bias.mean() == pytest.approx(0.0, abs=0.05)
    steps = steps_taken(open_meta_params(layer=1.0))
    hidden, head = steps["actor"]["hidden_0"]["kernel"], steps["actor"]["logits"]["kernel"]
    np.testing.assert_allclose(hidden.mean() - head.mean(), 4.0, atol=1e-2)  # p <- p - u
    assert np.ptp(hidden) < 1e-3


def test_open_reads_life_and_epoch():
    """A rule that pushes one layer by n/N or by epoch alone cannot act: the mean takes all of it."""
    for feature in ("life", "epoch"):
        assert (
            max(
                np.abs(step).max()
                for step in jax.tree.leaves(steps_taken(open_meta_params(**{feature: 1.0})))
            )
            < 1e-3
        )
    meta_params = open_meta_params(layer=1.0)
    meta_params["open"]["w"] = meta_params["open"]["w"].at[miniatures.FEATURES.index("epoch"), 1].set(1000.0)
    # o_0 exp(c o_1): layer 1's push grows by e in the second of two epochs, of two steps each.
    steps = steps_taken(meta_params)
    gap = steps["actor"]["hidden_0"]["bias"].mean() - steps["actor"]["logits"]["bias"].mean()
    assert gap == pytest.approx(2 + 2 * np.e, rel=1e-3)


def test_open_learns_as_sign_descent():
    early, late, _ = train("open_rule", open_meta_params(sign=3.0))
    assert late > early + 0.3 and late > RANDOM_RETURN + 0.4


# A memory of the life


def test_adaptive_kl_moves_its_coefficient_as_the_formula_says():
    """Beta from the reported KL of each update, recomputed outside; and an average of the parameters."""
    algorithm, meta_params = (
        ALGORITHMS["adaptive_kl"],
        meta_params_of("adaptive_kl", learning_rate=3e-2, anneal=0.0),
    )
    meta_params["kl_target"] = jnp.float32(0.003)
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


def test_adaptive_kl_memory_reaches_the_loss():
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


def test_adaptive_kl_learns():
    early, late, _ = train("adaptive_kl", meta_params_of("adaptive_kl", learning_rate=3e-3))
    assert late > early + 0.3 and late > RANDOM_RETURN + 0.4
