"""One training, and chunks of them: resumable to the bit, independent of neighbors, of fixed size."""

import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from discovery.inner import compiled
from discovery.inner.rollout import rollout
from discovery.inner.train import advance, complete, init, parts
from discovery.inner.train import train as train_one
from discovery.inner.update import flatten_batch, shuffled, update
from discovery.work import AlgorithmSpec
from environments.task import Setup, Task
from objectives import build
from objectives.base import Progress
from tests.inner.states import CATCH, QUICK, assert_same_bits, assert_splitting_changes_no_bit, begin, go
from tests.inner.worlds import FINAL, STEPS_UNTIL_INFINITY

PPO = build("ppo")
ENDINGS = replace(
    CATCH,
    environment="tests.inner.worlds:endings",
    n_steps=12,
    n_epochs=1,
    n_minibatches=1,
    normalize_observation=False,
    normalize_reward=False,
)
WIDTH = 3


quick_train = jax.jit(train_one, static_argnums=(0, 1), compiler_options=QUICK)


def small(environment):
    shared = environment == "Pendulum-v1"
    return Setup(environment, 4, 8, 1, 1, (16,), "relu", shared_torso=shared, curve_points=5)


def numbers(**others):
    return complete(PPO, {"learning_rate": 3e-3, **others}, {})


@jax.jit
@functools.partial(jax.vmap, in_axes=(0, 0, 0))
def lives(learning_rate, seed, lifetime):
    """Whole lives of PPO in lanes: the state each ends in."""
    meta_params = {**numbers(), "learning_rate": learning_rate}
    state = init(PPO, CATCH, meta_params, jax.random.key(seed), lifetime)
    return advance(PPO, CATCH, meta_params, state, lifetime)[0]


def live(learning_rates, seeds, lifetimes):
    """`lives` in chunks of one width; a list of states."""
    states = lives(
        jnp.asarray(learning_rates, jnp.float32),
        jnp.asarray(seeds, jnp.uint32),
        jnp.asarray(lifetimes, jnp.int32),
    )
    return [jax.tree.map(lambda x, i=i: x[i], states) for i in range(WIDTH)]


# The state


def test_splitting_a_training_changes_no_bit():
    assert_splitting_changes_no_bit(PPO, numbers(), begin, go)


def test_the_same_key_gives_the_same_training_and_another_another():
    runs = [
        go(PPO, CATCH, numbers(), begin(PPO, CATCH, numbers(), jax.random.key(s), 9), 3)[0] for s in (0, 0, 1)
    ]
    assert_same_bits(runs[0], runs[1])
    assert not np.array_equal(
        runs[0].params["actor"]["logits"]["kernel"], runs[2].params["actor"]["logits"]["kernel"]
    )
    assert not np.array_equal(runs[0].environments.observation, runs[2].environments.observation)


def test_the_state_does_not_grow():
    """Not with the updates done, nor with those to come."""
    start = begin(PPO, CATCH, numbers(), jax.random.key(0), 10)
    long = begin(PPO, CATCH, numbers(), jax.random.key(0), 10_000)
    end, _ = go(PPO, CATCH, numbers(), start, 10)
    assert jax.tree.map(jnp.shape, start) == jax.tree.map(jnp.shape, end) == jax.tree.map(jnp.shape, long)
    assert int(end.update) == int(end.lifetime) == 10


def test_metrics_and_record_agree():
    state = begin(PPO, CATCH, numbers(), jax.random.key(0), 10)
    state, total = go(PPO, CATCH, numbers(), state, 10)
    sums = jax.tree.map(jnp.sum, state.record.windows)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), sums, total)
    # Catch ends after 9 steps: 80 steps make 8 episodes in each of 4 instances.
    assert float(total.episodes) == 32 and float(total.episode_length) == 9 * 32
    assert -32 <= float(total.episode_return) <= 32


# Lanes


def test_a_lane_does_not_see_its_neighbors():
    """Bitwise, at equal width: other seeds, learning rates, lifetimes and places beside it."""
    here = live([3e-3, 1e-3, 1e-2], [7, 1, 2], [12, 5, 30])[0]
    there = live([1e-2, 1e-4, 3e-3], [3, 4, 7], [7, 3, 12])[2]
    assert_same_bits(here, there)


def test_a_short_life_in_a_chunk_ends_as_it_would_alone():
    """N = 10 beside N = 25 and padding, against ten updates of a single agent: not one more."""
    padded = live([3e-3] * 3, [5, 6, 5], [10, 25, 0])
    together = live([3e-3] * 3, [5, 5, 5], [10, 10, 10])
    assert_same_bits(padded[0], together[1])
    assert int(padded[0].update) == 10 and int(padded[1].update) == 25 and int(padded[2].update) == 0
    state = begin(PPO, CATCH, numbers(), jax.random.key(5), 10)
    assert_same_params = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)  # noqa: E731
    jax.tree.map(assert_same_params, padded[2].params, state.params)  # a life of no updates
    state, _ = go(PPO, CATCH, numbers(), state, 10)
    # Another width is another program, so equal up to rounding; one update more would move by 1e-2.
    jax.tree.map(assert_same_params, padded[0].params, state.params)


def test_training_improves():
    states = live([1e-2] * 3, [0, 1, 2], [300] * 3)
    for state in states:
        curve = state.record.windows.means()["episode_return"]
        assert float(curve[0]) < 0.0 and float(curve[-1]) > 0.5


# What breaks


def test_a_diverging_lane_is_noticed_and_alone():
    good = live([3e-3] * 3, [1, 2, 3], [8] * 3)
    mixed = live([3e-3, 1e30, 3e-3], [1, 2, 3], [8] * 3)
    assert_same_bits(good[0], mixed[0])
    assert_same_bits(good[2], mixed[2])
    assert [int(state.record.nonfinite_update) for state in mixed] == [-1, 0, -1]


def test_parameters_broken_by_the_very_last_step_are_noticed():
    """A life of one update of one step, whose loss and gradient were still fine."""
    broken = numbers() | {"learning_rate": jnp.float32(jnp.nan)}
    outcome = quick_train(PPO, small("CartPole-v1"), broken, jax.random.key(0), 1)
    assert int(outcome.nonfinite_step) == 0 and np.isfinite(outcome.grad_norm[0])


def chunk(algorithm, task, searched, seeds, lifetimes):
    keys = np.stack([np.asarray(jax.random.key_data(jax.random.key(seed))) for seed in seeds])
    return compiled.run_chunk(algorithm, task, searched, keys, np.asarray(lifetimes))


def test_an_infinite_reward_is_noticed_where_it_happens():
    """In lanes whose level has one, at the update of that step; the others go on and have a score."""
    setup = replace(CATCH, environment="tests.inner.worlds:explosive", normalize_reward=False)
    outcome, _ = chunk(AlgorithmSpec("ppo"), Task("explosive", setup, 640), {}, range(6), [20] * 6)
    exploded = np.asarray(outcome.nonfinite_step) >= 0
    assert 0 < exploded.sum() < 6
    # The 40th step of each instance is in the fifth rollout of 8 steps, which begins at 4 * 32.
    assert STEPS_UNTIL_INFINITY == 40 and set(outcome.nonfinite_step[exploded]) == {128}
    assert np.isnan(outcome.score[exploded]).all() and np.isnan(outcome.auc[exploded]).all()
    np.testing.assert_array_equal(outcome.score[~exploded], 4.0)
    np.testing.assert_array_equal(outcome.length[~exploded], 4.0)


# One program


def test_no_number_recompiles_and_no_budget_costs_memory():
    """Numbers, proposals, keys, lifetimes and budgets are arguments; the width and the structure are not."""
    spec = AlgorithmSpec("lpo", (("width", 8),))
    task = Task("catch", CATCH, total_steps=320)
    proposals = [build("lpo", {"width": 8}).init(jax.random.key(seed)) for seed in range(2)]
    stacked = jax.tree.map(lambda *x: np.stack(x), *proposals)
    first, seconds = chunk(spec, task, stacked, [0, 1], [10, 10])
    assert seconds > 0 and first.curve.shape == (2, CATCH.curve_points)
    before = dict(compiled._executables)
    again, seconds = chunk(spec, task, stacked, [0, 1], [10, 10])
    assert seconds == 0.0
    assert_same_bits(tuple(first), tuple(again))

    other = jax.tree.map(lambda x: x + 0.1, stacked)
    recipe = {"learning_rate": 1e-2, "gamma": 0.9, "entropy_coef": 0.01, "clip": 0.3}
    long = replace(task, total_steps=3200, numbers=recipe, score="auc")
    assert long.n_updates == 10 * task.n_updates
    changed, seconds = chunk(spec, long, other, [2, 3], [long.n_updates, 37])
    assert seconds == 0.0 and compiled._executables == before
    assert not np.array_equal(changed.curve, first.curve)
    assert np.array_equal(changed.score, changed.auc) and np.array_equal(first.score, first.final)
    (program,) = [p for key, p in before.items() if key[0] == spec]
    memory = program.memory_analysis()
    assert memory.output_size_in_bytes < 4096 and memory.temp_size_in_bytes < 2**20


def test_meta_params_reach_the_training():
    """Another drift, another curve; the same drift, the same bits."""
    spec, task = AlgorithmSpec("lpo", (("width", 8),)), Task("catch", CATCH, total_steps=640)
    one = build("lpo", {"width": 8}).init(jax.random.key(0))
    stacked = jax.tree.map(lambda x: np.stack([x, 3.0 * x]), one)
    outcome, _ = chunk(spec, task, stacked, [4, 4], [20, 20])
    assert not np.array_equal(outcome.kl[0], outcome.kl[1])


def test_numbers_that_nothing_reads_are_refused():
    with pytest.raises(ValueError, match=r"'ppo' does not read learning_rat; it reads: adam_b1"):
        complete(PPO, {"learning_rat": 1.0}, {})
    with pytest.raises(ValueError, match="does not read kl_coef"):
        chunk(AlgorithmSpec("ppo"), Task("catch", CATCH, 320, {"kl_coef": 1.0}), {}, [0], [1])


def test_complete_prefers_the_search_to_the_task_to_the_defaults():
    got = complete(PPO, {"gamma": 0.5, "clip": 0.3}, {"clip": jnp.float32(0.4)})
    assert (float(got["gamma"]), float(got["clip"]), float(got["gae_lambda"])) == pytest.approx(
        (0.5, 0.4, 0.95)
    )
    assert all(x.dtype == jnp.float32 for x in got.values())


# Acting


@functools.cache
def recorded(legacy=False):
    """A newborn agent in the world of endings, a rollout of it, its network and its targets."""
    setup = replace(ENDINGS, legacy_truncation=legacy)
    environment, network = parts(PPO, setup)

    @functools.partial(jax.jit, compiler_options=QUICK)
    def act(meta_params):
        state = init(PPO, setup, meta_params, jax.random.key(0), 10)
        args = (state.params, state.environments, Progress(0, 10), jax.random.key(1))
        environments, trajectory, episodes = rollout(PPO, environment, setup, network, meta_params, *args)
        return (
            state,
            environments,
            trajectory,
            episodes,
            PPO.targets(meta_params, (), trajectory, Progress(0, 10)),
        )

    return network, *act(numbers())


def test_outputs_next_are_at_the_final_observation_where_an_episode_ended():
    network, state, environments, trajectory, episodes, _ = recorded()
    ended = np.asarray(episodes.finished)
    assert ended.any(0).all()
    at_end, _ = network.apply(state.params, jnp.full((1, 2), FINAL))
    reached, _ = network.apply(state.params, environments.observation)
    value, value_next = trajectory.outputs["value"], np.asarray(trajectory.outputs_next["value"])
    following = np.concatenate([value[1:], reached["value"][None]])
    np.testing.assert_allclose(value_next[~ended], following[~ended], atol=1e-5)
    np.testing.assert_allclose(value_next[ended], np.full(ended.sum(), at_end["value"][0]), atol=1e-5)
    assert (np.abs(value_next - following)[ended] > 1e-3).all()


def test_episodes_of_every_ending_are_counted():
    _, _, _, trajectory, episodes, _ = recorded()
    ended = np.asarray(episodes.finished)
    kind = np.asarray(trajectory.observation)[..., 1][ended]
    np.testing.assert_array_equal(np.asarray(episodes.episode_length)[ended], kind + 3)
    np.testing.assert_array_equal(np.asarray(episodes.episode_return)[ended], kind + 3)
    np.testing.assert_array_equal(np.asarray(trajectory.terminated)[ended], kind != 1)
    np.testing.assert_array_equal(np.asarray(trajectory.truncated)[ended], kind != 0)


def test_behavior_log_probabilities_are_those_of_the_recorded_outputs():
    _, _, _, trajectory, _, _ = recorded()
    log_p = np.asarray(jax.nn.log_softmax(trajectory.outputs["logits"]))
    expected = np.take_along_axis(log_p, np.asarray(trajectory.action)[..., None], -1)[..., 0]
    np.testing.assert_allclose(trajectory.log_prob, expected, atol=1e-6)


def test_legacy_truncation_changes_the_targets_of_time_limits_only():
    """By gamma V(final observation) at the limit, and before it by what of that flows back."""
    _, _, _, trajectory, _, targets = recorded()
    _, _, _, legacy, _, old_targets = recorded(legacy=True)
    np.testing.assert_array_equal(trajectory.action, legacy.action)
    terminated, truncated = np.asarray(trajectory.terminated), np.asarray(trajectory.truncated)
    np.testing.assert_array_equal(legacy.terminated, terminated | truncated)
    limit = truncated & ~terminated
    expected = np.zeros(limit.shape)
    carried = np.zeros(limit.shape[1])
    for t in reversed(range(limit.shape[0])):
        bootstrap = 0.99 * np.asarray(trajectory.outputs_next["value"])[t]
        ended = terminated[t] | truncated[t]
        carried = np.where(limit[t], bootstrap, np.where(ended, 0.0, 0.99 * 0.95 * carried))
        expected[t] = carried
    assert limit.any() and not limit.all(1).any()
    np.testing.assert_allclose(targets.value - old_targets.value, expected, atol=1e-5)


# Learning


def test_shuffled_is_a_permutation_and_a_fair_one():
    for size in (1, 2, 7, 96, 1000):
        np.testing.assert_array_equal(np.sort(shuffled(jax.random.key(0), size)), np.arange(size))
    orders = np.asarray(
        jax.jit(jax.vmap(lambda key: shuffled(key, 5)))(jax.random.split(jax.random.key(1), 20_000))
    )
    share = (orders[..., None] == np.arange(5)).mean(0)
    np.testing.assert_allclose(share, np.full((5, 5), 0.2), atol=0.015)


def test_an_update_is_ppo_written_out():
    """One epoch, one minibatch, from parameters that are not the behavior's: a step of textbook PPO."""
    network, state, _, trajectory, _, targets = recorded()
    meta_params = numbers(entropy_coef=0.03, max_grad_norm=0.2, anneal=1.0)
    batch = flatten_batch(trajectory, targets)
    noise = jax.random.split(jax.random.key(3), len(jax.tree.leaves(state.params)))
    noise = jax.tree.unflatten(jax.tree.structure(state.params), list(noise))
    params = jax.tree.map(lambda p, k: p + 0.1 * jax.random.normal(k, p.shape), state.params, noise)
    # The returns lie above all values: those that rise by more than the clip, about half, are held back.
    params["critic"]["value"]["bias"] += 0.3
    now = Progress(4, 10)

    @functools.partial(jax.jit, compiler_options=QUICK)
    def step(params, batch):
        agent = (params, state.opt_state)
        return update(PPO, ENDINGS, network, meta_params, agent, batch, now, jax.random.key(9))

    (got, _), seen = step(params, batch)

    def mlp(layers, head, x):
        h = jnp.tanh(x @ layers["hidden_0"]["kernel"] + layers["hidden_0"]["bias"])
        return h @ layers[head]["kernel"] + layers[head]["bias"]

    def loss(params):
        log_p = jax.nn.log_softmax(mlp(params["actor"], "logits", batch.observation))
        log_prob = log_p[jnp.arange(48), batch.action]
        ratio = jnp.exp(log_prob - batch.log_prob)
        advantage = targets.advantage.ravel()
        advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        surrogate = jnp.minimum(ratio * advantage, jnp.clip(ratio, 0.8, 1.2) * advantage)
        value, old = (
            mlp(params["critic"], "value", batch.observation)[:, 0],
            trajectory.outputs["value"].ravel(),
        )
        clipped = old + jnp.clip(value - old, -0.2, 0.2)
        target = targets.advantage.ravel() + old
        value_loss = 0.5 * jnp.maximum((value - target) ** 2, (clipped - target) ** 2).mean()
        entropy = -(jnp.exp(log_p) * log_p).sum(-1).mean()
        held = (clipped - target) ** 2 > (value - target) ** 2
        return -surrogate.mean() + 0.5 * value_loss - 0.03 * entropy, (ratio, held, entropy)

    (total, (ratio, held, entropy)), gradient = jax.jit(
        jax.value_and_grad(loss, has_aux=True), compiler_options=QUICK
    )(params)
    assert 0.1 < (np.abs(ratio - 1) > 0.2).mean() < 0.9 and held.any() and not held.all()  # both clips work
    rate = 3e-3 * (1 - 4 / 10)
    optimizer = optax.chain(optax.clip_by_global_norm(0.2), optax.adam(rate, eps=1e-5))
    updates, _ = optimizer.update(gradient, optimizer.init(params))
    assert float(optax.tree.norm(gradient)) > 0.2
    expected = jax.tree.map(lambda a, b: np.asarray(b), params, updates)
    difference = jax.tree.map(lambda a, b: np.asarray(b - a), params, got)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-3 * rate), difference, expected)
    assert float(seen.loss) == pytest.approx(float(total), rel=1e-4)
    assert float(seen.entropy) == pytest.approx(float(entropy), rel=1e-5)
    assert float(seen.grad_norm) == pytest.approx(float(optax.tree.norm(gradient)), rel=1e-4)
    assert float(seen.clip_fraction) == pytest.approx(float((np.abs(ratio - 1) > 0.2).mean()))
    assert float(seen.kl) == pytest.approx(float((ratio - 1 - np.log(ratio)).mean()), rel=1e-3)


def test_each_epoch_uses_every_sample_once_and_tells_the_loss_where_it_is():
    """A loss that only counts: samples by their reward, epochs by their progress."""
    network, state, _, trajectory, _, targets = recorded()
    setup = replace(ENDINGS, n_epochs=3, n_minibatches=4)
    tagged = flatten_batch(trajectory._replace(reward=jnp.arange(48.0).reshape(12, 4)), targets)
    seen = []

    def spy(meta_params, batch, outputs, progress, key):
        jax.debug.callback(
            lambda *x: seen.append([np.asarray(y) for y in x]), batch.reward, progress.epoch, ordered=True
        )
        return outputs["value"] * 0.0

    algorithm = PPO._replace(loss=PPO.loss._replace(per_sample=spy))
    agent = (state.params, state.opt_state)
    run = jax.jit(
        lambda b: update(algorithm, setup, network, numbers(), agent, b, Progress(0, 10), jax.random.key(0))
    )
    jax.block_until_ready(run(tagged))
    jax.effects_barrier()
    assert [int(epoch) for _, epoch in seen] == [0] * 4 + [1] * 4 + [2] * 4
    orders = [np.concatenate([reward for reward, _ in seen[4 * e : 4 * e + 4]]) for e in range(3)]
    for order in orders:
        np.testing.assert_array_equal(np.sort(order), np.arange(48))
    assert not np.array_equal(orders[0], orders[1])


@pytest.mark.parametrize("environment", ["CartPole-v1", "Pendulum-v1"])
def test_other_shapes_of_agent_train(environment):
    """Continuous actions on a shared torso; a life too short for any Pendulum episode has no score."""
    outcome = quick_train(PPO, small(environment), numbers(), jax.random.key(0), 12)
    assert int(outcome.nonfinite_step) == -1
    assert np.isfinite(outcome.entropy).all() and np.isfinite(outcome.grad_norm).all()
    assert bool(np.isnan(outcome.final)) == (environment == "Pendulum-v1")
