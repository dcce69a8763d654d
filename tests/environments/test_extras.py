"""The environments of other libraries, which `make test-extras` installs: the contract, and an oracle."""

import importlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from discovery.app.commands.catalog import actions_text, known, shape_text
from environments import vector
from environments.make import FAMILIES, make
from environments.task import Setup
from tests.contracts import test_environments as contract
from tests.environments.bare import bare, keys_of

pytestmark = pytest.mark.extras


class Case(NamedTuple):
    """What a random policy does: `n_steps` of it, with episodes so short that some are truncated.

    Attributes:
        bank: as the option of that name.
        ends: whether some episodes end by themselves.
        same: whether all episodes begin in the same way.
        doom: fields of the library's state that end the next episode but one, for a game that is long.
    """

    episode_length: int
    n_steps: int
    bank: int = 0
    ends: bool = True
    same: bool = False
    doom: dict[str, Any] | None = None


CASES = {
    "craftax/Craftax-Classic-Symbolic-v1": Case(5, 14, bank=2, doom={"player_health": 0}),
    "jumanji/Game2048-v1": Case(130, 700),
    "jumanji/Maze-v0": Case(200, 3000, bank=5),
    "jumanji/Snake-v1": Case(8, 100, bank=2),
    "navix/Navix-Dynamic-Obstacles-5x5-Random-v0": Case(9, 150),
    "navix/Navix-Empty-5x5-v0": Case(60, 1500, same=True),
    "pgx/minatar-breakout": Case(12, 100, bank=4),
    "pgx/minatar-freeway": Case(7, 20, ends=False),
    "xminigrid/MiniGrid-EmptyRandom-5x5": Case(60, 800, bank=2),
    "xminigrid/MiniGrid-MemoryS8": Case(80, 1200),
}

each = pytest.mark.parametrize(
    "id", [pytest.param(id, marks=pytest.mark.xdist_group(id)) for id in CASES]
)  # tests of one environment share what one process has compiled


@pytest.fixture(autouse=True)
def installed(request):
    """Skips the tests of a family that is not installed."""
    parameters = request.node.callspec.params
    name = parameters.get("id") or parameters["family"]
    pytest.importorskip(FAMILIES[name.partition("/")[0]].requires)


@each
def test_keeps_the_types_of_the_contract(id):
    contract.test_describes_itself(id)
    contract.test_types_and_shapes(id)
    contract.test_state_keeps_its_types(id)


@each
def test_is_the_bare_library(id):
    """Step by step for the same keys; where an episode ends, the next begins as the bare one does.

    Some episodes run into the limit, some end before; our own count of steps says which is which.
    """
    case = CASES[id]
    environment = make(id, {"episode_length": case.episode_length, "bank": case.bank})
    reset: Any = jax.jit(environment.reset)
    step: Any = jax.jit(environment.step)
    begin, move = (jax.jit(function) for function in bare(id, case.episode_length))
    key = jax.random.key_data(jax.random.key(7))
    bank = jax.random.split(key, case.bank) if case.bank else [key]
    ours, first = reset(jax.random.key(7), ())
    theirs, shown = begin(bank[0])
    starts, ends, age = [flat(shown)], set(), 0
    np.testing.assert_array_equal(first, starts[0])
    generator = np.random.default_rng(0)
    for index in range(case.n_steps):
        if case.doom and index == case.episode_length + 2:
            ours, theirs = ours._replace(game=doomed(ours.game, case.doom)), doomed(theirs, case.doom)
        action = np.int32(generator.integers(environment.n_actions))
        key_move, key_next = keys_of(jax.random.key(index))
        ours, taken = step(jax.random.key(index), ours, action, ())
        theirs, shown, reward, done = move(key_move, theirs, action)
        age += 1
        np.testing.assert_allclose(taken.final_observation, flat(shown), rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(taken.reward, reward, rtol=1e-6)
        assert bool(taken.truncated) == (age == case.episode_length), index
        assert bool(done) == bool(taken.terminated | taken.truncated), index
        if done:
            ends.add((bool(taken.terminated), bool(taken.truncated)))
            theirs, shown = begin(bank[len(starts) % case.bank] if case.bank else key_next)
            starts.append(flat(shown))
            age = 0
            np.testing.assert_array_equal(taken.observation, starts[-1])
        else:
            np.testing.assert_array_equal(taken.observation, taken.final_observation)
        assert int(ours.time) == age
    assert (False, True) in ends and ((True, False) in ends) == case.ends
    assert (len({tuple(start) for start in starts}) == 1) == case.same
    assert step._cache_size() == 1


def flat(shown):
    return np.ravel(shown).astype(np.float32)


def doomed(game, fields):
    """The library's state, about to end."""
    return game.replace(**{name: jnp.full_like(getattr(game, name), x) for name, x in fields.items()})


@pytest.mark.parametrize("family", ["craftax", "jumanji", "navix", "pgx", "xminigrid"])
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


@pytest.mark.parametrize("id", ["craftax/Craftax-Classic-Symbolic-v1"])
def test_craftax_varies(id):
    """Noon of a long day is lighter than night; what does not vary stays what it is."""
    environment = make(id, {}, {"day_length": (100.0, 300.0), "spawn_cow_chance": (0.0, 0.2)})
    level = environment.sample_level(jax.random.key(0))
    assert 100 <= level["day_length"] <= 300 and 0 <= level["spawn_cow_chance"] <= 0.2
    state, _ = jax.jit(environment.reset)(jax.random.key(0), level)
    state = state._replace(game=state.game.replace(timestep=jnp.int32(150)))
    step = jax.jit(environment.step)

    def light(day_length):
        changed = {**level, "day_length": jnp.float32(day_length)}
        return float(step(jax.random.key(0), state, jnp.int32(0), changed)[0].game.light_level)

    assert light(300.0) != light(190.0)


@pytest.mark.parametrize(
    ("id", "options", "vary", "word"),
    [
        ("jumanji/Snake-v1", {"episode_length": 0}, {}, "episode_length .*got 0"),
        ("navix/Navix-Empty-5x5-v0", {"bank": -1}, {}, "bank .*got -1"),
        ("pgx/minatar-breakout", {}, {"speed": (1.0, 2.0)}, "'speed'"),
        ("craftax/Craftax-Symbolic-v1", {}, {"wind": (1.0, 2.0)}, "day_length"),
    ],
)
def test_what_there_is_not_is_refused(id, options, vary, word):
    with pytest.raises(ValueError, match=word):
        make(id, options, vary)
