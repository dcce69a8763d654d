"""The picture of an optimizer: its lines against OPEN, Adam and sign descent written once more in numpy."""

import copy
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from matplotlib.figure import Figure

from discovery.core.jobs import AlgorithmSpec
from discovery.display import plots
from discovery.inner.compile import build_algorithm
from discovery.results.learned import Learned, learned_of
from objectives.learned_optimizers.picture import LIFE, PASTS, optimizer_picture
from tests.display.test_plots import check_all_lines_are_inside, check_layout
from tests.objectives.open_by_hand import Open, Tensor

N = 21
SIGNS = (-1.0) ** np.arange(65)
OTHERS = 1e-3 * np.repeat(np.logspace(-1, 1, 32), 2) * SIGNS[:64]
OPEN = AlgorithmSpec("open", (("gru_width", 3), ("width", 4)))


def found(spec: AlgorithmSpec, scale: float, **numbers: float) -> Learned:
    """With random weights of that size."""
    shapes = jax.eval_shape(build_algorithm(spec).init, jax.random.key(0))
    rng = np.random.default_rng(1)
    weights = jax.tree.map(lambda leaf: rng.normal(0, scale, leaf.shape).astype("float32"), shapes)
    return learned_of(spec, weights, numbers, "found", N)


@pytest.fixture(scope="module")
def random_open() -> SimpleNamespace:
    one = found(OPEN, 0.7, learning_rate=0.01, anneal=0.5)
    return SimpleNamespace(found=one, figure=optimizer_picture(one, plots))


def curves(figure: Figure, panel: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients ``[G]``, Adam's steps and the found one's ``[3, G]``, in the order of `PASTS`."""
    drawn = figure.axes[panel].lines
    adam, mine = (np.array([line.get_ydata() for line in drawn[i::2]])[::-1] for i in (0, 1))
    return np.asarray(drawn[0].get_xdata(), np.float64), adam, mine


def tensor(gradient: float, actor: bool) -> Tensor:
    gradients = np.concatenate([[gradient], OTHERS])[:, None]
    return Tensor(0.1 * SIGNS[:, None], gradients, 0.5, actor, np.ones((1, 1)))


def lived(one: Learned, past: float, rollout: int, actor: bool = False):
    """OPEN after 100 steps in the second of three passes over a rollout; and its next step, a function."""
    weights = jax.tree.map(lambda w: np.asarray(w, np.float64), one.meta_params["optimizer"])
    raw = dict(one.spec.options).get("features") == "raw"
    rule, counts = Open(weights, 1e-3, "raw" if raw else slice(None)), (1000, 3, N)
    first = 3000 * rollout + 1000
    for k in range(first, first + 100):
        rule([tensor(past, actor)], k, counts, [np.zeros(65)])

    def step(gradient: float, noise: np.ndarray) -> float:
        (steps,) = copy.deepcopy(rule)([tensor(gradient, actor)], first + 100, counts, [noise])
        return float(steps[0, 0])

    return step


@pytest.mark.parametrize(("panel", "rollout"), [(0, 0), (2, 20)])
def test_open_is_its_formula(random_open: SimpleNamespace, panel: int, rollout: int) -> None:
    gradients, _, mine = curves(random_open.figure, panel)
    assert np.abs(np.diff(mine)).max() > 1e-6
    for row, (past, *_) in zip(mine, PASTS.values(), strict=True):
        step = lived(random_open.found, past, rollout)
        for index in (3, 46, 60, 90):
            expected = step(gradients[index], np.zeros(65))
            np.testing.assert_allclose(row[index], expected, rtol=2e-3, atol=2e-8)


def test_open_without_features_is_its_formula_and_has_no_noise() -> None:
    one = found(AlgorithmSpec("open", (("features", "raw"), ("gru_width", 0), ("width", 4))), 0.7)
    figure = optimizer_picture(one, plots)
    steps = [lived(one, past, 0) for past, *_ in PASTS.values()]
    for panel in range(3):  # the point of life is not seen
        gradients, _, mine = curves(figure, panel)
        assert np.abs(np.diff(mine)).max() > 1e-6
        for row, step in zip(mine, steps, strict=True):
            expected = [step(gradients[index], np.zeros(65)) for index in (3, 46, 60, 90)]
            np.testing.assert_allclose(row[[3, 46, 60, 90]], expected, rtol=2e-3, atol=2e-8)
    assert [text.get_text() for text in figure.axes[3].texts] == ["none"]


def test_lines_are_inside_and_adam_is_adam(random_open: SimpleNamespace) -> None:
    check_layout(random_open.figure)
    check_all_lines_are_inside(random_open.figure)
    for panel in range(3):
        gradients, drawn, _ = curves(random_open.figure, panel)
        rate = 0.01 * (1 - 0.5 * (N - 1) * panel / 2 / N)
        for row, (past, *_) in zip(drawn, PASTS.values(), strict=True):
            m = v = np.zeros_like(gradients)
            for k in range(101):
                g = past if k < 100 else gradients
                m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * np.square(g)
            m, v = m / (1 - 0.9**101), v / (1 - 0.999**101)
            np.testing.assert_allclose(row, -rate * m / (np.sqrt(v) + 1e-5), rtol=1e-3, atol=1e-7)


def test_noise_is_what_an_actors_parameter_gets(random_open: SimpleNamespace) -> None:
    axes = random_open.figure.axes[3]
    drawn = np.array([line.get_ydata() for line in axes.lines])[::-1]
    np.testing.assert_allclose(axes.lines[0].get_xdata(), LIFE)
    alone = np.eye(65)[0]
    for row, (past, *_) in zip(drawn, PASTS.values(), strict=True):
        for index, rollout in ((0, 0), (5, 10), (10, 20)):
            step = lived(random_open.found, past, rollout, actor=True)
            size = abs(step(past, alone) - step(past, np.zeros(65)))  # the others' noise is 64 of 65^2 parts
            assert row[index] == pytest.approx(size, rel=0.1)
            assert size > 1e-6


def test_optim4rl_of_zero_weights_is_sign_descent() -> None:
    one = found(AlgorithmSpec("optim4rl", (("width", 2),)), 0.0, learning_rate=0.02)
    figure = optimizer_picture(one, plots)
    for panel in range(3):
        gradients, _, mine = curves(figure, panel)
        expected = -0.02 * (1 - panel / 2 * (N - 1) / N) * np.sign(gradients)
        np.testing.assert_allclose(mine, np.stack([expected] * 3), rtol=1e-5, atol=1e-9)
