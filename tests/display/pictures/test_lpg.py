"""The picture of learned targets: its curves against direct calls of the family, and A2C's closed forms."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.figure import Figure

from discovery.core.jobs import AlgorithmSpec
from discovery.display import plots
from discovery.inner.compile import build_algorithm
from discovery.results.learned import Learned, learned_of
from environments.chain import ChainLevel, from_chain
from objectives.base import Progress
from objectives.family import NothingToDraw
from objectives.lpg import picture as lpg
from objectives.lpg.algorithm import episode, recommended
from objectives.lpg.picture import LENGTH, chain_rewards, lpg_picture
from tests.display.test_plots import check_all_lines_are_inside, check_layout

N = 40
SIZE = 3


def found(temporal: bool) -> Learned:
    """With large random weights."""
    spec = AlgorithmSpec("lpg", (("targets", SIZE), ("temporal", temporal), ("width", 6)))
    shapes: Any = jax.eval_shape(build_algorithm(spec).init, jax.random.key(0))
    rng = np.random.default_rng(0)
    weights = jax.tree.map(lambda leaf: rng.normal(0, 0.8, leaf.shape).astype("float32"), shapes)
    return learned_of(spec, weights, {}, "found", N)


@pytest.fixture(scope="module")
def figure() -> Figure:
    """With two rounds of settling, which can be done by hand."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lpg, "ROUNDS", 2)
        return lpg_picture(found(True), plots)


def lines(figure: Figure, panel: int) -> tuple[np.ndarray, np.ndarray]:
    """What is known solid, and dashed before: each ``[good and bad, T]``."""
    drawn = [line.get_ydata() for line in figure.axes[panel].lines[:4]]
    return np.stack(drawn[::2]), np.stack(drawn[1::2])


@pytest.mark.parametrize("good", [True, False])
def test_rewards_are_those_of_the_environment(good: bool) -> None:
    chain, key = from_chain("short", {}), jax.random.key(0)
    level = ChainLevel(jnp.int32(LENGTH), jnp.int32(1))
    state, rewards = chain.reset(key, level)[0], []
    for step in range(LENGTH):
        state, said = chain.step(key, state, jnp.int32(good), level)
        rewards.append(float(said.reward))
        assert bool(said.terminated) == (step == LENGTH - 1)
    np.testing.assert_array_equal(chain_rewards(good), rewards)


@pytest.mark.parametrize(("panel", "update"), [(0, 0), (1, N // 2), (2, N)])
def test_targets_are_the_familys_own(figure: Figure, panel: int, update: int) -> None:
    one, settled = found(True), [np.full((LENGTH + 1, SIZE), 1 / SIZE) for _ in range(2)]
    rewards, half = np.eye(LENGTH)[-1], jnp.full(LENGTH, 0.5)
    wanted: list[np.ndarray] = []
    for _ in range(3):
        episodes = [
            episode(jnp.asarray(sign * rewards, float), half, jnp.asarray(y, float))
            for sign, y in zip((1, -1), settled, strict=True)
        ]
        said = [recommended(one.algorithm, one.meta_params, each, Progress(update, N)) for each in episodes]
        wanted.append(np.stack([each.pi_hat[:, 0] for each in said]))
        y_hat = [np.asarray(each.y_hat[:, 0], np.float64) for each in said]
        both = np.sqrt(y_hat[0][0] * y_hat[1][0])
        settled = [np.stack([both / both.sum(), *each[1:], np.full(SIZE, 1 / SIZE)]) for each in y_hat]
    known, before = lines(figure, panel)
    np.testing.assert_allclose(before, wanted[0], atol=1e-5)
    np.testing.assert_allclose(known, wanted[2], atol=1e-4)
    assert np.abs(wanted[0][0] - wanted[0][1]).max() > 0.01
    assert np.abs(wanted[2] - wanted[0]).max() > 1e-3


def test_a2c_is_a_closed_form(figure: Figure) -> None:
    known, before = lines(figure, 3)
    decay = (0.99 * 0.95) ** np.arange(LENGTH - 1, -1, -1)
    np.testing.assert_allclose(before, [decay, -decay], atol=1e-6)
    first = np.eye(LENGTH)[0] * 0.99 ** (LENGTH - 1)
    np.testing.assert_allclose(known, [first, -first], atol=1e-6)


def test_panels_do_not_overlap_and_targets_that_do_not_change_have_one(figure: Figure) -> None:
    check_layout(figure)
    check_all_lines_are_inside(figure)
    assert len(figure.axes) == 4
    assert [axes.get_title() for axes in lpg_picture(found(False), plots).axes] == ["found", "A2C"]
    with pytest.raises(NothingToDraw, match="ppo"):
        lpg_picture(learned_of(AlgorithmSpec("ppo")), plots)
