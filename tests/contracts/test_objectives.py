"""What holds for every algorithm: shapes, types, transformations, derivatives, and honest defaults."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from discovery.inner.rollout import Recall
from discovery.inner.update import sequences
from objectives import FAMILIES, build
from objectives.base import Algorithm, ParamInfo, Progress, Trajectory
from objectives.optimizers import ADAM_DEFAULTS

T, E, D, A = 5, 4, 3, 3
B = T * E
NOW = Progress(3, 10, 1, 4)
LPG = {"width": 8, "targets": 3}
DISCO = {"predictions": 4, "units": 5, "lifetime": 3, "embedding": 4, "bins": 7, "optimizer": "adam"}
MEMBERS: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in FAMILIES},
    "a2c_sgd": ("a2c", {"optimizer": "sgd", "normalize_advantage": True}),
    "ta_lpo_anchored": ("lpo", {"temporal": True, "anchored": True, "activation": "relu", "width": 8}),
    "lpg": ("lpg", LPG),
    "ta_lpg": (
        "lpg",
        {**LPG, "temporal": True, "discount_input": True, "recurrence": "lstm", "optimizer": "sgd"},
    ),
    "ampo": ("ampo", {"units": 6}),
    "ampo_l2": ("ampo", {"map": "l2"}),
    "ta_ampo_normalized": ("ampo", {"units": 6, "anchored": False, "temporal": True, "normalized": True}),
    "disco": ("disco", DISCO),
}
DISCRETE_ONLY = {"disco", "pqn", "ampo", "ampo_l2", "ta_ampo_normalized"}
SLOW_DERIVATIVES = {
    (name, False)
    for name in (
        "disco", "ta_ampo_normalized", "ta_lpg", "ampo_l2", "a2c", "a2c_sgd", "lodo", "optim4rl",
        "policy_gradient", "ppo", "ppo_kl", "dpo", "vsop", "lpo",
    )
}  # fmt: skip
"""Which compile for long, or whose like is differentiated in the fast tests."""
CONTINUOUS = {"ppo", "lpg"}
"""Whose losses the fast tests evaluate for continuous actions too: it reaches a loss through its distribution
only."""
PPO_LOSS = {"open", "optim4rl", "lodo"}
"""Whose losses are those of PPO."""

KINDS = [
    (name, continuous)
    for name in MEMBERS
    for continuous in (False, True)
    if not (continuous and name in DISCRETE_ONLY)
]
every_algorithm = pytest.mark.parametrize("name", MEMBERS)
every_algorithm_and_action = pytest.mark.parametrize(
    ("name", "continuous"),
    [
        pytest.param(
            name,
            continuous,
            marks=[pytest.mark.slow] * (name in PPO_LOSS or (continuous and name not in CONTINUOUS)),
        )
        for name, continuous in KINDS
    ],
)
differentiated = pytest.mark.parametrize(
    ("name", "continuous"),
    [
        pytest.param(name, continuous, marks=[pytest.mark.slow] * ((name, continuous) in SLOW_DERIVATIVES))
        for name, continuous in KINDS
        if (not continuous or name == "ppo") and name != "programs"
    ],
)
"""Programs are integers; their derivatives are tested in tests/objectives/programs."""


@functools.cache
def make(name: str) -> Algorithm:
    return build(*MEMBERS[name])


@functools.cache
def initial(name: str) -> Any:
    """Searched numbers at first, by a compiled function of the seed, and their shapes."""
    init = jax.jit(lambda seed: make(name).init(jax.random.key(seed)))
    return init, jax.eval_shape(init, 0)


def numbers_of(algorithm: Algorithm, seed: int = 0) -> dict[str, Any]:
    """Defaults, and random weights in place of initial ones, which may be zero and hide things.

    A program stays as it is: numbers at random are none.
    """
    plain = {key: jnp.asarray(value, float) for key, value in algorithm.defaults}
    if algorithm.name == "programs":
        return plain | algorithm.init(jax.random.key(seed))
    draw, shapes = drawing(algorithm)
    leaves = draw(jax.random.split(jax.random.key(seed + 1), max(len(jax.tree.leaves(shapes)), 1)))
    return plain | jax.tree.unflatten(jax.tree.structure(shapes), leaves)


@functools.cache
def drawing(algorithm: Algorithm) -> Any:
    """A compiled function that draws searched numbers, and their shapes."""
    shapes = jax.eval_shape(algorithm.init, jax.random.key(0))
    scale = 0.5 if algorithm.name == "disco" else 1.0  # larger weights would saturate its networks

    def draw(keys: Any) -> list[jax.Array]:
        leaves = jax.tree.leaves(shapes)
        return [scale * jax.random.normal(key, leaf.shape) for key, leaf in zip(keys, leaves, strict=False)]

    return jax.jit(draw), shapes


def linear(params: Any, observation: jax.Array) -> dict[str, jax.Array]:
    """A network with the declared heads: one matrix each."""
    outputs = {name: jnp.tensordot(observation, weights, 1) for name, weights in params.items()}
    return {name: y[..., 0] if name == "value" else y for name, y in outputs.items()}


def linear_params(algorithm: Algorithm, continuous: bool, seed: int) -> Any:
    rng = np.random.default_rng(seed)
    shapes = {
        name: (D, head.actions, head.size) if head.actions else (D, max(head.size, 1))
        for name, head in algorithm.policy.heads(A, continuous).items()
    }
    return {name: jnp.asarray(rng.normal(0, 0.3, shape)) for name, shape in shapes.items()}


def make_trajectory(algorithm: Algorithm, meta_params: Any, continuous: bool) -> Trajectory:
    """A rollout of the policy with linear heads; endings of every kind."""
    rng = np.random.default_rng(3)
    params = linear_params(algorithm, continuous, seed=0)
    observation, reached = (jnp.asarray(rng.normal(0, 1, (T, E, D))) for _ in range(2))
    outputs = linear(params, observation)
    distribution = algorithm.policy.distribution(meta_params, outputs, NOW)
    action = distribution.sample(jax.random.key(1))
    of_target = {}
    if algorithm.memory.target_params is not None:
        assert algorithm.memory.target_params(memory_of(algorithm, meta_params, params)) is params
        target = linear_params(algorithm, continuous, seed=8)
        seen = {"target_outputs": observation, "target_outputs_next": reached}
        of_target = {name: linear(target, x) for name, x in seen.items()}
    return Trajectory(
        observation=observation,
        action=action,
        log_prob=distribution.log_prob(action),
        reward=jnp.asarray(rng.normal(0, 1, (T, E))),
        terminated=jnp.asarray(rng.random((T, E)) < 0.2),
        truncated=jnp.asarray(rng.random((T, E)) < 0.2),
        outputs=outputs,
        outputs_next=linear(params, reached),
        **of_target,
    )


def memory_of(algorithm: Algorithm, meta_params: Any, params: Any) -> Any:
    return algorithm.memory.init(meta_params, params, jax.random.key(2))


def losses(algorithm: Algorithm, meta_params: Any, params: Any, trajectory: Any, memory: Any = None) -> Any:
    """Targets and loss of a whole rollout, [B]; by default the first of a life."""
    memory = memory_of(algorithm, meta_params, params) if memory is None else memory
    targets = algorithm.targets(meta_params, memory, trajectory, NOW)
    recall = Recall(jnp.zeros((T, E), bool), {})
    batch = jax.tree.map(lambda x: x[0], sequences(trajectory, recall, targets, 1).batch)
    outputs = linear(params, batch.observation)
    return algorithm.loss.per_sample(meta_params, batch, outputs, NOW, jax.random.key(5))


def learn(algorithm: Algorithm, meta_params: Any, params: Any, trajectory: Trajectory) -> Any:
    """Parameters after a gradient step of the algorithm's optimizer on a rollout, which it remembers.

    A recurrent optimizer takes a second one with the same gradient: at its first it remembers nothing yet.
    """
    memory = memory_of(algorithm, meta_params, params)
    memory = algorithm.memory.update(meta_params, memory, trajectory, params, None, NOW)
    gradient = jax.grad(lambda p: losses(algorithm, meta_params, p, trajectory, memory).mean())(params)
    optimizer = algorithm.optimizer(meta_params)
    info = {
        name: ParamInfo("critic" if name == "value" else "actor", 0, 1, None, weights.ndim - 1)
        for name, weights in params.items()
    }

    def step(agent: tuple[Any, Any], key: Any) -> tuple[tuple[Any, Any], None]:
        updates, state = optimizer.update(
            gradient, agent[1], agent[0], key=key, progress=NOW, activations={}, param_info=info
        )
        return (optax.apply_updates(agent[0], updates), state), None

    agent = params, optimizer.init(params)
    if algorithm.name in ("open", "optim4rl"):
        return jax.lax.scan(step, agent, jax.random.split(jax.random.key(7), 2))[0][0]
    return step(agent, jax.random.key(7))[0][0]


class Recording(dict):
    """A mapping that remembers what was read from it."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self.read.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        raise AssertionError(f"{name!r} must be read with [], so that a missing default is an error")


@functools.cache
def evaluated(name: str, continuous: bool) -> Any:
    """Two proposals side by side, a trajectory, and their losses as a compiled function of the three."""
    algorithm = make(name)
    proposals = [numbers_of(algorithm, seed) for seed in range(2)]
    if "gamma" in proposals[1]:  # others differ by what is searched
        proposals[1]["gamma"] = proposals[1]["gamma"] - 0.1
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *proposals)
    each = jax.vmap(lambda m, p, t: losses(algorithm, m, p, t), (0, None, None))
    return stacked, make_trajectory(algorithm, proposals[0], continuous), jax.jit(each)


@every_algorithm_and_action
def test_loss_is_one_float_per_sample_under_jit_and_vmap(name, continuous):
    """[B], never [B, B]; float32; finite away from ratio 1 and at it; of each proposal, wherever it is."""
    proposals, trajectory, loss = evaluated(name, continuous)
    for seed in (0, 1):  # 0: the behavior policy itself, ratio 1
        params = linear_params(make(name), continuous, seed)
        got = loss(proposals, params, trajectory)
        assert got.shape == (2, B) and got.dtype == jnp.float32 and np.isfinite(got).all()
    others = jax.tree.map(lambda x: x[::-1], proposals)
    np.testing.assert_allclose(loss(others, params, trajectory)[::-1], got, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name not in ("lpo", "pqn"))) for name in MEMBERS]
)
def test_vmap_over_proposals_is_a_loop(name):
    proposals, trajectory, loss = evaluated(name, False)
    params = linear_params(make(name), False, 1)
    alone = jax.jit(lambda m: losses(make(name), m, params, trajectory))
    expected = [alone(jax.tree.map(lambda x, k=k: x[k], proposals)) for k in range(2)]
    np.testing.assert_allclose(loss(proposals, params, trajectory), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in PPO_LOSS)) for name in MEMBERS]
)
def test_says_whether_it_reads_what_lies_beyond_a_termination(name):
    algorithm, (proposals, trajectory, loss) = make(name), evaluated(name, False)
    params = linear_params(algorithm, False, 1)
    noise = np.random.default_rng(2)  # a constant would leave every softmax as it is

    def moved(x):
        beyond = trajectory.terminated.reshape(T, E, *[1] * (x.ndim - 2))
        return np.where(beyond, x + noise.normal(size=x.shape), x).astype(np.float32)

    other = trajectory._replace(outputs_next=jax.tree.map(moved, trajectory.outputs_next))
    unmoved = np.array_equal(loss(proposals, params, trajectory), loss(proposals, params, other))
    assert unmoved != algorithm.reads_terminal_outputs


@pytest.mark.parametrize("name", [name for name in MEMBERS if make(name).policy_loss is not None])
def test_policy_loss_is_elementwise_and_at_ratio_one_the_policy_gradient(name):
    """A function of each sample alone: any shape, and a diagonal Jacobian. Its slope at ratio 1 is -A."""
    algorithm = make(name)
    meta_params = numbers_of(algorithm)
    rng = np.random.default_rng(0)
    given = [rng.normal(0, 0.5, 50).astype(np.float32) for _ in range(3)]
    _, old, advantage = given

    def loss(log_prob, old, advantage):
        assert algorithm.policy_loss is not None
        return algorithm.policy_loss.per_sample(meta_params, log_prob, old, advantage, NOW)

    @jax.jit
    def everything(*given):
        return loss(*given), loss(*(x.reshape(25, 2) for x in given)), jax.jacrev(loss)(*given)

    whole, in_two, jacobian = jax.device_get(everything(*given))
    assert whole.shape == (50,) and whole.dtype == jnp.float32
    np.testing.assert_allclose(in_two.ravel(), whole, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(jacobian, np.diag(np.diag(jacobian)))
    if name != "vsop":  # it is no mirror learning
        slopes = np.diag(everything(old, old, advantage)[-1])
        np.testing.assert_allclose(slopes, -advantage, rtol=1e-6, atol=1e-7)


@differentiated
def test_whole_update_matches_finite_differences(name, continuous):
    """Loss w.r.t. parameters, and parameters after an update w.r.t. every number: nothing is stopped."""
    algorithm = make(name)
    with jax.enable_x64(True):
        # So large an epsilon that the first step of Adam is not the sign of its gradient.
        numbers = {**numbers_of(algorithm), "learning_rate": 1.0, "adam_eps": 0.1, "entropy_coef": 0.1}
        meta_params = jax.tree.map(
            lambda x: jnp.asarray(
                x, jnp.float64 if jnp.issubdtype(jnp.result_type(x), jnp.floating) else None
            ),
            numbers,
        )
        finite = {k: v for k, v in meta_params.items() if np.isfinite(jax.tree.leaves(v)[0]).all()}
        trajectory = make_trajectory(algorithm, meta_params, continuous)
        params, probe = (
            jax.tree.map(lambda x: x.astype(jnp.float64), linear_params(algorithm, continuous, seed))
            for seed in (1, 9)
        )

        def loss(p):
            return losses(algorithm, meta_params, p, trajectory).mean()

        def outcome(m):
            after = learn(algorithm, {**meta_params, **m}, params, trajectory)
            return sum(jax.tree.leaves(jax.tree.map(lambda a, b: (a * b).sum(), after, probe)))

        # One program for both: the first does not depend on `m`, the second not on `p`.
        _, slopes = check_directions(
            jax.jit(jax.value_and_grad(lambda both: loss(both[0]) + outcome(both[1]))), (params, finite)
        )
        for searched in jax.eval_shape(algorithm.init, jax.random.key(0)):
            for path, slope in jax.tree.leaves_with_path(slopes[searched]):
                entry = searched + jax.tree_util.keystr(path)
                reached = np.abs(slope).max() > 1e-6
                # One entry moves nothing: it adds the same to all logits of a policy.
                assert reached != (entry == "disco['pi_hat']['out']['bias']"), f"no gradient reaches {entry}"


def check_directions(value_and_grad: Any, at: Any, h: float = 1e-6) -> Any:
    """Compares the gradient along a random direction of every leaf with central differences; returns it."""
    _, gradient = value_and_grad(at)
    leaves, treedef = jax.tree.flatten(at)
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(at)]
    for index, (leaf, slope) in enumerate(zip(leaves, jax.tree.leaves(gradient), strict=True)):
        leaf = np.asarray(leaf)  # numpy compiles nothing for each of the shapes
        direction = np.random.default_rng(index).normal(0, 1, leaf.shape)
        there, here = (
            value_and_grad(jax.tree.unflatten(treedef, [*leaves[:index], moved, *leaves[index + 1 :]]))[0]
            for moved in (leaf + h * direction, leaf - h * direction)
        )
        difference, expected = float(there - here) / (2 * h), float((np.asarray(slope) * direction).sum())
        assert expected == pytest.approx(difference, rel=1e-5, abs=1e-8), paths[index]
    return gradient


@every_algorithm
def test_defaults_are_what_the_parts_read(name):
    """A missing default would be a KeyError in a run; one that nothing reads would be a lie in a record."""
    algorithm, continuous = make(name), name not in DISCRETE_ONLY
    init, shapes = initial(name)
    meta_params = Recording({**dict(algorithm.defaults), **init(0)})

    def life():
        trajectory = make_trajectory(algorithm, meta_params, continuous)
        return learn(algorithm, meta_params, linear_params(algorithm, continuous, 1), trajectory)

    jax.eval_shape(life)  # tracing reads; nothing needs computing
    read = meta_params.read
    if name == "random":  # it takes the numbers of others' recipes without reading any
        assert not read and algorithm.defaults == build("ppo").defaults
        return
    declared = set(dict(algorithm.defaults)) | set(shapes)
    # The clip fraction is a diagnostic of the loop; algorithms without clipping share its default.
    unread = {"clip"}
    if name in ("lodo", "open", "optim4rl"):  # they take the numbers of PPO's recipes, Adam's among them
        unread |= set(ADAM_DEFAULTS)
    assert declared - read <= unread, f"declared but never read: {declared - read}"


@pytest.mark.parametrize("continuous", [False, True])
def test_the_random_policy_learns_nothing(continuous):
    algorithm = make("random")
    meta_params = numbers_of(algorithm)
    trajectory = make_trajectory(algorithm, meta_params, continuous)
    params = linear_params(algorithm, continuous, 1)
    assert not np.any(losses(algorithm, meta_params, params, trajectory))
    after = learn(algorithm, meta_params, params, trajectory)
    jax.tree.map(np.testing.assert_array_equal, after, params)


@every_algorithm
def test_an_algorithm_is_hashable_named_and_sorted(name):
    algorithm = make(name)
    hash(algorithm)
    assert algorithm.name and list(algorithm.defaults) == sorted(algorithm.defaults)
    init, _ = initial(name)
    searched = init(0)
    assert not set(searched) & set(dict(algorithm.defaults))
    assert all(leaf.dtype in (jnp.float32, jnp.int32) for leaf in jax.tree.leaves(searched))
    same, other = init(0), init(1)
    for a, b, c in zip(*(jax.tree.leaves(x) for x in (searched, same, other)), strict=True):
        np.testing.assert_array_equal(a, b)
        assert not np.any(a) or not np.array_equal(a, c) or name == "programs"
