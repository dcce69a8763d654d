"""The picture of a mirror map: its curves against closed forms, its formula, and a slow projection."""

import jax
import numpy as np
import pytest
from matplotlib.figure import Figure

from discovery.core.jobs import AlgorithmSpec
from discovery.display import plots
from discovery.results.learned import Learned, learned_of
from objectives.family import NothingToDraw
from objectives.mirror_map.learned_potential import LOG_SHIFT
from objectives.mirror_map.picture import FIXED, mirror_picture
from tests.display.test_plots import check_layout
from tests.objectives.maps import slow_projection


def drawn_numbers() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    shapes = {"w_out": (6, 1), "w_in": (6, 1), "bias": (6, 1), "terms": (2,)}
    start, change = (
        {name: rng.normal(0.3, 0.4, shape).astype("float32") for name, shape in shapes.items()}
        for _ in range(2)
    )
    return start, change


def found(temporal: bool) -> Learned:
    spec = AlgorithmSpec("ampo", (("temporal", temporal), ("units", 6)))
    start, change = drawn_numbers()
    numbers = {"start": start, "change": change} if temporal else start
    return learned_of(spec, {"potential": numbers}, {"eta": 2.0}, "found", 50)


@pytest.fixture(scope="module")
def figure() -> Figure:
    return mirror_picture(found(True), plots)


def lines(figure: Figure, panel: int, row: int = 0) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The curves of a panel, by label above and by number below."""
    names = [line.get_label() for line in figure.subfigs[0].axes[0].lines]
    drawn = figure.subfigs[row].axes[panel].lines
    labels = names if row == 0 else range(len(drawn))
    points = (np.asarray(line.get_data(), np.float64) for line in drawn)
    return {str(label): (x, y) for label, (x, y) in zip(labels, points, strict=True)}


def by_hand(fraction: float, y: np.ndarray) -> np.ndarray:
    """phi^{-1} of the temporal map as the sheet writes it, up to a constant, in double precision."""
    start, change = drawn_numbers()
    numbers = {name: start[name].astype(float) + fraction * change[name] for name in start}
    a, c = np.maximum(numbers["terms"] + [0, 1], 0)
    v, w, b = (np.maximum(numbers[name][:, 0], 0) for name in ("w_out", "w_in", "bias"))
    z = y[..., None] * w + b
    g = [z[..., 0] ** 3, z[..., 1] ** 2, z[..., 2] ** 0.5, z[..., 3] ** (1 / 3)]
    g += [np.log(z[..., 4] + LOG_SHIFT), np.exp(z[..., 5])]
    return (np.stack(g, -1) * v / 6).sum(-1) + a * y + c * np.log(y)


def test_known_maps_are_closed_forms(figure: Figure) -> None:
    inverse, phi, slope = (lines(figure, panel) for panel in range(3))
    y, x = inverse["l2"][0], phi["l2"][0]
    np.testing.assert_allclose(inverse["negative entropy"][1], 1 + np.log(y), atol=1e-5)
    np.testing.assert_allclose(phi["negative entropy"][1], np.exp(x - 1), atol=1e-6)
    np.testing.assert_allclose(slope["negative entropy"][1], np.exp(x - 1), rtol=1e-5)
    np.testing.assert_allclose(inverse["l2"][1], y, atol=1e-6)
    np.testing.assert_allclose(phi["l2"][1], np.maximum(x, 0), atol=1e-6)
    root = np.maximum(1 + 0.5 * (x - 1) / 1.5, 0)
    np.testing.assert_allclose(inverse["Tsallis 1.5"][1], 1 + 3 * (y**0.5 - 1), atol=1e-5)
    np.testing.assert_allclose(phi["Tsallis 1.5"][1], root**2, atol=1e-6)
    inside = root > 0.01
    np.testing.assert_allclose(slope["Tsallis 1.5"][1][inside], 2 / 3 * root[inside], rtol=1e-4)


def test_the_found_map_is_the_sheets_formula(figure: Figure) -> None:
    inverse, phi, slope = (lines(figure, panel) for panel in range(3))
    for fraction in (0.0, 0.5, 1.0):
        name = f"found, n/N = {fraction:g}"
        y, drawn = inverse[name]
        top = by_hand(fraction, np.ones(()))
        np.testing.assert_allclose(drawn, by_hand(fraction, y) - top + 1, atol=1e-4)
        fine = np.geomspace(1e-7, 1, 4000)
        x, drawn = phi[name]
        back = np.interp(x, by_hand(fraction, fine) - top + 1, fine)
        np.testing.assert_allclose(drawn, back, atol=1e-4)
        np.testing.assert_allclose(slope[name][1][5:-5], np.gradient(drawn, x)[5:-5], atol=5e-3)
    assert np.abs(phi["found, n/N = 0"][1] - phi["found, n/N = 1"][1]).max() > 0.02


def test_policies_are_the_projections_of_the_scores(figure: Figure) -> None:
    inverses = [lambda y, f=f: float(by_hand(f, np.asarray(y))) for f in (0.0, 0.5, 1.0)]
    inverses += [lambda y: 1 + np.log(y), lambda y: y, lambda y: 3 * y**0.5]
    for panel, inverse in enumerate(inverses):
        drawn = lines(figure, panel, row=1)
        scores, policy = drawn["0"][0], np.stack([drawn[key][1] for key in "012"], -1)
        np.testing.assert_allclose(policy.sum(-1), 1, atol=1e-5)
        for index in (130,) if panel < 3 else (10, 110, 130, 200):
            expected = slow_projection(inverse, [scores[index], *FIXED])
            np.testing.assert_allclose(policy[index], expected, atol=2e-4)


def test_panels_do_not_overlap_and_a_map_that_does_not_change_is_drawn_once(figure: Figure) -> None:
    check_layout(figure)
    still = found(False)
    titles = [axes.get_title() for axes in mirror_picture(still, plots).subfigs[1].axes]
    assert titles[:2] == ["found", "negative entropy"]
    broken = jax.tree.map(lambda x: np.full_like(x, np.nan), still.meta_params["potential"])
    blank = mirror_picture(learned_of(still.spec, {"potential": broken}), plots)
    assert np.isnan(lines(blank, 1)["ampo"][1]).all()
    with pytest.raises(NothingToDraw, match="ppo"):
        mirror_picture(learned_of(AlgorithmSpec("ppo")), plots)
