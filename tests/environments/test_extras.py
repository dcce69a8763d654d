"""The environments of other libraries, which `make test-extras` installs: the contract, and an oracle.

What is not installed is skipped; what is said about that is tested everywhere.
"""

import functools
import importlib
import importlib.util
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from discovery.app.commands.catalog import actions_text, known, shape_text
from discovery.inner.loops import train
from discovery.inner.loops.on_policy import complete
from environments import vector
from environments.base import Step
from environments.make import FAMILIES, make
from environments.task import Setup
from objectives import build
from tests.environments.bare import bare, keys_of

FAMILY = ("craftax", "jumanji", "navix", "pgx", "xminigrid")


class Case(NamedTuple):
    """What a random policy does: `n_steps` of it, with episodes so short that some are truncated.

    Attributes:
        bank: as the option of that name.
        ends: whether some episodes end by themselves.
        doom: fields of the library's state that end the next episode but one, for a game that is long.
    """

    episode_length: int
    n_steps: int
    bank: int = 0
    ends: bool = True
    doom: dict[str, Any] | None = None


CASES = {
    "craftax/Craftax-Classic-Symbolic-v1": Case(5, 14, bank=2, doom={"player_health": 0}),
    "jumanji/Game2048-v1": Case(130, 700),
    "jumanji/Maze-v0": Case(200, 3000, bank=5),
    "jumanji/Snake-v1": Case(8, 100, bank=2),
    "navix/Navix-Dynamic-Obstacles-5x5-Random-v0": Case(9, 150),
    "navix/Navix-Empty-5x5-v0": Case(60, 1500),
    "pgx/minatar-breakout": Case(12, 100, bank=4),
    "pgx/minatar-freeway": Case(7, 20, ends=False),
    "xminigrid/MiniGrid-EmptyRandom-5x5": Case(60, 800, bank=2),
    "xminigrid/MiniGrid-MemoryS8": Case(80, 1200),
}
SAME_START = ("navix/Navix-Empty-5x5-v0",)
"""Episodes of these begin in one and the same way."""

each = pytest.mark.parametrize(
    "id", [pytest.param(id, marks=pytest.mark.xdist_group(id)) for id in CASES]
)  # tests of one environment share what one process has compiled
extras = pytest.mark.extras


@pytest.fixture(autouse=True)
def installed(request):
    """Skips the tests of a family that is not installed."""
    parameters = request.node.callspec.params if hasattr(request.node, "callspec") else {}
    if request.node.get_closest_marker("extras"):
        name = parameters.get("id") or parameters["family"]
        pytest.importorskip(FAMILIES[name.partition("/")[0]].requires)


@functools.cache
def jitted(id: str) -> tuple[Any, Any, Any]:
    environment = make(id, {"episode_length": CASES[id].episode_length, "bank": CASES[id].bank})
    reset, step = (jax.jit(function) for function in (environment.reset, environment.step))
    return environment, reset, step


def played(id: str, n_steps: int) -> tuple[Any, list[tuple[int, Any, Step]]]:
    """The first observation, and for each step its action, the state before it, and what it returned."""
    environment, reset, step = jitted(id)
    generator = np.random.default_rng(0)
    state, first = reset(jax.random.key(7), ())
    seen = []
    for index in range(n_steps):
        action = int(generator.integers(environment.n_actions))
        state = doomed(id, index, state)
        before = state
        state, taken = step(jax.random.key(index), state, np.int32(action), ())
        seen.append((action, before, taken))
    return first, seen


def doomed(id, index, state):
    """Ours or the bare state, about to end where the case says so."""
    doom = CASES[id].doom
    if not doom or index != CASES[id].episode_length + 2:
        return state
    game = state.game if hasattr(state, "game") else state
    game = game.replace(**{name: jnp.full_like(getattr(game, name), value) for name, value in doom.items()})
    return state._replace(game=game) if hasattr(state, "game") else game


@functools.cache
def whole(id: str):
    return played(id, CASES[id].n_steps)


@extras
@each
def test_types_shapes_and_vmap(id):
    environment, _, _ = jitted(id)
    key, action = jax.random.key(0), jnp.int32(0)
    state, observation = jax.eval_shape(environment.reset, key, ())
    after, step = jax.eval_shape(environment.step, key, state, action, ())
    kinds = [(leaf.shape, leaf.dtype, leaf.weak_type) for leaf in (observation, *step)]
    wide, flag = ((environment.observation_size,), np.float32, False), ((), np.bool_, False)
    assert kinds == [wide, wide, ((), np.float32, False), flag, flag, wide]
    assert environment.observation_size == np.prod(environment.observation_shape)
    assert not environment.continuous and environment.action_low is None
    assert jax.tree.structure(state) == jax.tree.structure(after)
    for one, other in zip(jax.tree.leaves(state), jax.tree.leaves(after), strict=True):
        assert (one.shape, one.dtype, one.weak_type) == (other.shape, other.dtype, False)
    keys = jax.random.split(key, 3)
    states, _ = jax.eval_shape(jax.vmap(environment.reset, (0, None)), keys, ())
    _, steps = jax.eval_shape(jax.vmap(environment.step, (0, 0, None, None)), keys, states, action, ())
    assert steps.observation.shape == (3, environment.observation_size)


@extras
@each
def test_is_the_bare_library(id):
    """Step by step for the same keys; where an episode ends, the next begins as the bare one does."""
    case = CASES[id]
    library = bare(id, case.episode_length)
    begin, move = (jax.jit(function) for function in library)
    first, seen = whole(id)
    key = jax.random.key_data(jax.random.key(7))
    bank = jax.random.split(key, case.bank) if case.bank else [key]
    state, shown = begin(bank[0])
    np.testing.assert_array_equal(first, np.ravel(shown).astype(np.float32))
    used = 1
    for index, (action, _, taken) in enumerate(seen):
        key_move, key_next = keys_of(jax.random.key(index))
        state, shown, reward, done = move(key_move, doomed(id, index, state), np.int32(action))
        np.testing.assert_allclose(
            taken.final_observation, np.ravel(shown).astype(np.float32), rtol=1e-6, atol=1e-6
        )
        np.testing.assert_allclose(taken.reward, reward, rtol=1e-6)
        assert bool(done) == bool(taken.terminated | taken.truncated), index
        if done:
            if case.bank:
                key_next = bank[used % case.bank]
            state, shown = begin(key_next)
            used += 1
            np.testing.assert_array_equal(taken.observation, np.ravel(shown).astype(np.float32))
        else:
            np.testing.assert_array_equal(taken.observation, taken.final_observation)


@extras
@each
def test_truncated_by_time_and_by_nothing_else(id):
    """Some episodes run into the limit, some end before; our own count of steps says which is which."""
    case, (_, seen) = CASES[id], whole(id)
    age, terminated = 0, 0
    for _, before, taken in seen:
        assert int(before.time) == age
        age += 1
        assert bool(taken.truncated) == (age == case.episode_length)
        terminated += int(taken.terminated)
        if taken.terminated | taken.truncated:
            age = 0
    assert any(taken.truncated and not taken.terminated for *_, taken in seen)
    assert any(taken.terminated and not taken.truncated for *_, taken in seen) == case.ends


@extras
@each
def test_episodes_begin_anew_and_keys_decide(id):
    case, (first, seen) = CASES[id], whole(id)
    starts = [tuple(np.asarray(first))] + [
        tuple(np.asarray(taken.observation)) for *_, taken in seen if taken.terminated | taken.truncated
    ]
    different = len(set(starts))
    assert different == 1 if id in SAME_START else different > 1
    if case.bank:
        assert different <= case.bank
        environment, *_ = jitted(id)
        assert environment.refresh is not None
        state = seen[-1][1]
        renewed = jax.jit(environment.refresh)(jax.random.key(1), state, ())
        assert not np.array_equal(renewed.bank[1], state.bank[1])
        jax.tree.map(np.testing.assert_array_equal, renewed.game, state.game)
    _, again = played(id, 10)
    for (*_, one), (*_, other) in zip(seen, again, strict=False):
        jax.tree.map(np.testing.assert_array_equal, one, other)


@extras
@each
def test_a_second_make_compiles_nothing(id):
    whole(id)
    case = CASES[id]
    environment, reset, step = jitted(id)
    assert make(id, {"bank": case.bank, "episode_length": case.episode_length}) is environment
    assert reset._cache_size() == step._cache_size() == 1


@extras
@pytest.mark.parametrize("family", FAMILY)
def test_the_catalog_is_what_there_is(family):
    ids = [id for id in known() if id.startswith(f"{family}/")]
    with pytest.raises(ValueError, match="no environment is called") as info:
        make(f"{family}/no-such-name")
    there = str(info.value).partition("there are: ")[2].split(", ")
    assert {f"{family}/{name}" for name in there if not name.startswith("XLand")} == set(ids)
    for id in ids:
        environment = make(id)
        shape, actions = shape_text(environment.observation_shape), actions_text(environment)
        assert [shape, actions, environment.horizon] == known()[id][:3], id


@extras
@pytest.mark.parametrize(
    "id",
    [
        "craftax/Craftax-Classic-Symbolic-v1",
        "jumanji/Snake-v1",
        "navix/Navix-Empty-Random-5x5-v0",
        "pgx/minatar-breakout",
        "xminigrid/MiniGrid-Empty-5x5",
    ],
)
def test_trains(id):
    """PPO, three updates; episodes are completed, and all is finite."""
    ppo = build("ppo")
    setup = Setup(id, 2, 8, 1, 1, (8,), curve_points=3, options={"episode_length": 4, "bank": 1})
    program = functools.partial(train, ppo, setup, complete(ppo, {}, {}))
    outcome = jax.jit(program)(jax.random.key(0), 3)
    assert outcome.curve.shape == (3,) and np.isfinite(outcome.curve).all()
    assert outcome.episodes.sum() >= 12 and np.isfinite(outcome.score)
    assert int(outcome.nonfinite_step) == -1


@extras
@pytest.mark.parametrize("id", ["pgx/minatar-freeway"])
def test_freeways_own_end_is_never_met(id):
    environment = make(id)
    step = jax.jit(environment.step)
    state, _ = environment.reset(jax.random.key(0), ())
    late = state.game.replace(_terminate_timer=jnp.int32(2))
    state = state._replace(game=late, time=jnp.int32(2498))
    for truncated in (False, True, False):
        state, taken = step(jax.random.key(0), state, jnp.int32(0), ())
        assert (bool(taken.terminated), bool(taken.truncated)) == (False, truncated)
    with pytest.raises(ValueError, match="at most 2500"):
        make(id, {"episode_length": 2501})


@extras
@pytest.mark.parametrize("id", ["xminigrid/XLand-MiniGrid-R1-9x9"])
def test_rulesets_are_levels(id, tmp_path):
    """Two rulesets, a ball or a key to pick up: each training has one of them, for all its episodes."""
    save = importlib.import_module("xminigrid.benchmarks").save_bz2_pickle
    rules = {
        "goals": jnp.array([[1, 3, 1, 0, 0], [1, 7, 2, 0, 0]], jnp.uint8),
        "rules": jnp.zeros((2, 1, 7), jnp.uint8),
        "init_tiles": jnp.array([[[3, 1], [7, 2]]] * 2, jnp.uint8),
        "num_rules": jnp.zeros(2, jnp.uint8),
    }
    path = tmp_path / "rulesets"
    save(rules, str(path))
    environment = make(id, {"rulesets": str(path)})
    drawn = [int(environment.sample_level(jax.random.key(seed)).goal[1]) for seed in range(20)]
    assert set(drawn) == {3, 7}
    setup = Setup(id, 2, options={"rulesets": str(path)})
    state = vector.reset(environment, setup, jax.random.key(0))
    assert int(state.env_state.game.state.goal_encoding[0][1]) == int(state.level.goal[1])
    with pytest.raises(ValueError, match="no goal"):
        make(id)
    with pytest.raises(ValueError, match="'nowhere'"):
        make(id, {"rulesets": "nowhere"})
    with pytest.raises(ValueError, match="rulesets"):
        make("xminigrid/MiniGrid-Empty-5x5", {"rulesets": str(path)})


@extras
@pytest.mark.parametrize("id", ["craftax/Craftax-Classic-Symbolic-v1"])
def test_craftax_varies(id):
    """Noon of a long day is lighter than night; what does not vary stays what it is."""
    environment = make(id, {}, {"day_length": (100.0, 300.0), "spawn_cow_chance": (0.0, 0.2)})
    level = environment.sample_level(jax.random.key(0))
    assert 100 <= level["day_length"] <= 300 and 0 <= level["spawn_cow_chance"] <= 0.2
    state, _ = jax.jit(environment.reset)(jax.random.key(0), level)
    step = jax.jit(environment.step)
    state = state._replace(game=state.game.replace(timestep=jnp.int32(150)))

    def light(day_length):
        now, _ = step(
            jax.random.key(0), state, jnp.int32(0), {**level, "day_length": jnp.float32(day_length)}
        )
        return float(now.game.light_level)

    assert light(300.0) != light(190.0)


@extras
@pytest.mark.parametrize(
    ("id", "options", "vary", "word"),
    [
        ("craftax/Craftax-Pixels-v1", {}, {}, "'craftax/Craftax-Pixels-v1'"),
        ("jumanji/Snake-v1", {"episode_length": 0}, {}, "episode_length .*got 0"),
        ("navix/Navix-Empty-5x5-v0", {"bank": -1}, {}, "bank .*got -1"),
        ("pgx/minatar-breakout", {}, {"speed": (1.0, 2.0)}, "'speed'"),
        ("craftax/Craftax-Symbolic-v1", {}, {"wind": (1.0, 2.0)}, "day_length"),
        ("xminigrid/MiniGrid-Playground", {}, {}, "'xminigrid/MiniGrid-Playground'"),
        ("navix/Navix-Empty-5x5-v0", {"backend": 1}, {}, "episode_length, bank"),
    ],
)
def test_what_there_is_not_is_refused(id, options, vary, word):
    with pytest.raises(ValueError, match=word):
        make(id, options, vary)


@pytest.mark.parametrize("family", FAMILY)
def test_what_is_not_installed_is_named_with_its_extra(family, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    name = next(id for id in known() if id.startswith(f"{family}/"))
    with pytest.raises(ValueError, match=rf"pip install 'rl-discovery\[{family}\]'"):
        make(name)
