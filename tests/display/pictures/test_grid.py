"""A level's picture shows the level, and an agent's path is where the agent went."""

import functools
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.image
import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

import discovery
from discovery.app.command_line import main
from discovery.display.pictures.grid import BAD, GOOD, collected, visited
from discovery.display.plots import save
from discovery.inner.loops.on_policy import TrainingState, advance, complete, init, parts
from discovery.inner.play import Episode
from environments.gridworld import GridState, Level, observe
from environments.levelsets import SETS
from environments.task import Setup
from objectives import build
from objectives.known import TABULAR_A2C
from tests.inner.states import applied

A2C = build("a2c", {"optimizer": "sgd", "normalize_advantage": True})
SETUP = Setup("grid/small", 8, 20, 1, 1, hidden=(), normalize_observation=False)
NUMBERS = complete(A2C, TABULAR_A2C, {})
STEPS = 100

play = jax.jit(discovery.play, static_argnums=(0, 1, 5, 6))


@functools.cache
def trained(n_updates: int = 20) -> TrainingState:
    def live(key, n):
        return advance(A2C, SETUP, NUMBERS, init(A2C, SETUP, NUMBERS, key, 250), n)[0]

    return jax.jit(live)(jax.random.key(0), n_updates)


@functools.cache
def episode(greedy: bool = False, seed: int = 0) -> Episode:
    return play(A2C, SETUP, NUMBERS, trained(), jax.random.key(seed), STEPS, greedy)


def artists(figure: Figure, gid: str) -> list:
    return [each for each in figure.axes[0].get_children() if each.get_gid() == gid]


def hand_made() -> tuple[Level, Episode]:
    """3 cells in a row of a 3 x 3 grid; right, right (collects B, worth -0.5, which ends it)."""
    level = Level(
        walls=jnp.arange(9) >= 3,
        start=jnp.int32(0),
        present=jnp.array([True, True, False]),
        cell=jnp.array([1, 2, 8]),
        kind=jnp.arange(3),
        reward=jnp.array([1.0, -0.5, 9.0]),
        p_terminate=jnp.array([0.0, 1.0, 1.0]),
        p_respawn=jnp.array([1.0, 0.02, 1.0]),
        max_steps=jnp.int32(7),
    )
    exists = jnp.array([[True, True, False], [False, True, False], [True, True, False]])
    state = GridState(jnp.array([0, 1, 0]), exists, jnp.tile(level.cell, (3, 1)), jnp.arange(3))
    action, running = jnp.array([3, 3, 0]), jnp.array([True, True, False])
    reward = jnp.array([1.0, -0.5, 0.0])
    return level, Episode(level, state, action, reward, running, jnp.bool_(True), jnp.bool_(False))


def test_a_hand_made_level_and_path():
    level, walk = hand_made()
    assert visited(level, walk).tolist() == [0, 1, 2] and collected(level, walk).tolist() == [1, 1, 0]
    figure = discovery.draw_level(level, walk, title="mine")
    (path,) = artists(figure, "path")
    assert isinstance(path, LineCollection)
    np.testing.assert_array_equal(path.get_segments(), [[[0.5, 0.5], [1.5, 0.5]], [[1.5, 0.5], [2.5, 0.5]]])
    np.testing.assert_array_equal(path.get_array(), [1, 2])
    colors = [to_hex(disc.get_facecolor()).upper() for disc in artists(figure, "object")]
    assert colors == [GOOD, BAD]
    radii = [disc.get_radius() for disc in artists(figure, "object")]
    assert radii[0] > radii[1] > 0.2
    # Seven steps: A at once and whenever it is back, a step after it was taken: 1, 3, 5, 7.
    title, texts = figure.get_suptitle(), [text.get_text() for text in figure.legends[0].get_texts()]
    assert "mine" in title and "+0.50 in 2 of at most 7" in title and "+4.00" in title
    assert all(word in texts[2] for word in ("B:", "−0.50", "100%", "2%"))
    assert not artists(figure, "wall")  # the walls below are outside
    (end,) = artists(figure, "end")
    assert (end.get_x(), end.get_y()) == pytest.approx((2.04, 0.04))


def test_an_agents_episode_in_a_picture(tmp_path: Path):
    walk = episode()
    figure = discovery.draw_level(walk.level, walk)
    length = int(walk.running.sum())
    assert 1 < length <= STEPS and walk.terminated | walk.truncated
    size, walls = 6, np.asarray(walk.level.walls)
    points = artists(figure, "path")[0].get_segments()
    agent = np.asarray(walk.env_state.agent)
    for t, (begin, end) in enumerate(points):
        row, column = divmod(int(agent[t]), size)
        assert begin.tolist() == [column + 0.5, row + 0.5]
        assert np.abs(end - begin).sum() in (0.0, 1.0)
        assert not walls[int(end[1]) * size + int(end[0])]
    assert len(points) == length and agent[0] == int(walk.level.start)
    free = np.argwhere(~walls.reshape(size, size))
    rows, columns = free.max(0) + 1
    assert len(artists(figure, "wall")) == rows * columns - len(free)
    assert len(artists(figure, "object")) == int(walk.level.present.sum())
    total = float((np.asarray(walk.level.reward) * collected(walk.level, walk)).sum())
    assert float(walk.reward.sum()) == pytest.approx(total, abs=1e-5)
    assert matplotlib.image.imread(save(figure, tmp_path / "walk.png")).std() > 0.05


def test_play_is_sampled_or_greedy_and_leaves_the_training_alone():
    assert not np.array_equal(episode(False, 0).action, episode(False, 1).action)
    walk = episode(True, 0)
    network, state = parts(A2C, SETUP)[1], trained()

    @jax.jit
    def logits_of(params, level, states):
        seen = jax.vmap(lambda at: observe(SETS["small"].grid, at, level))(states)
        return applied(network, params, seen)[0]["logits"]

    logits = logits_of(state.params, walk.level, walk.env_state)
    length = int(walk.running.sum())
    assert logits.std() > 0
    np.testing.assert_array_equal(walk.action[:length], logits.argmax(-1)[:length])
    np.testing.assert_array_equal(walk.level.walls, state.environments.level.walls)


def test_play_normalizes_by_the_trainings_statistics():
    """Shifted statistics are another agent: with a huge variance it sees zeros and acts by its biases."""
    setup = replace(SETUP, normalize_observation=True, n_envs=4)
    state = jax.jit(init, static_argnums=(0, 1))(A2C, setup, NUMBERS, jax.random.key(0), 9)
    stats = state.environments.obs_stats
    blind = state.environments._replace(obs_stats=stats._replace(var=jnp.full_like(stats.var, 1e30)))
    bias = jnp.array([0.0, 0.0, 0.0, 1.0, 0.0])
    params = {**state.params, "actor": {"logits": {**state.params["actor"]["logits"], "bias": bias}}}
    walk = play(
        A2C, setup, NUMBERS, state._replace(params=params, environments=blind), jax.random.key(0), 9, True
    )
    assert (walk.action == 3).all()


def test_the_command_line_draws(tmp_path: Path, capsys: pytest.CaptureFixture):
    paths = [tmp_path / name for name in ("a.png", "b.png", "c.png")]
    for path, seed in zip(paths, ("1", "1", "2"), strict=True):
        assert main(["envs", "grid/sparse", "--picture", str(path), "--seed", seed]) == 0
    first, same, other = (path.read_bytes() for path in paths)
    assert first == same != other
    for arguments, word in (
        ("chain/short --picture x.png", "chain/short"),
        ("grid/smal --picture x.png", "grid/small"),
        ("grid/sparse --picture x.gif", ".png"),
        ("--picture x.png", "grid/small"),
    ):
        capsys.readouterr()
        assert main(["envs", *arguments.split()]) == 2
        assert word in capsys.readouterr().err
