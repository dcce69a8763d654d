"""Figures render without warnings, hold what they should, and nothing in them is cut or overlaps."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from discovery.core.errors import BadInput
from discovery.display import plots
from discovery.display.pictures.drift import drift_picture
from discovery.statistics import Interval, interval

NAN = np.nan


def score(estimate: float, half: float = 1.0, n: int = 16, failed: int = 0) -> Interval:
    return Interval(estimate, estimate - half, estimate + half, 0.95, n, failed)


LONG = f"a2c[{','.join(f'number_{number}=0.{number}' for number in range(12))}]"


def meta(failures: bool = True, baselines: bool = True) -> Figure:
    generator = np.random.default_rng(0)
    scores = np.arange(30)[:, None] + generator.normal(size=(30, 8))
    mean_scores = np.arange(0, 30, 10)[:, None] + generator.normal(size=(3, 16))
    if failures:
        scores[3, :2], scores[7], mean_scores[1, 4] = NAN, NAN, NAN
    known = {"PPO": score(20), "DPO": interval([22.0]), LONG: score(18)} if baselines else None
    return plots.meta_learning_curve(
        np.arange(30), scores, np.arange(0, 30, 10), mean_scores, known, ylabel="return", title="quickstart"
    )


def curves() -> Figure:
    generator = np.random.default_rng(0)
    values = {name: generator.normal(size=(16, 20)).cumsum(1) for name in ("PPO", "DPO", "found")}
    values["PPO"][:, :3], values["DPO"][2, 5:], values["found"][:5, :2] = NAN, NAN, NAN
    values["a name that is long enough to need a row of the legend for itself, or nearly"] = np.ones((1, 20))
    values["all failed"] = np.full((3, 20), NAN)
    values["four"] = generator.normal(size=(4, 20))
    return plots.learning_curves(np.linspace(0, 5e5, 20), values, title="CartPole-v1")


def drift(panels: int = 3, reach: float = 1.5) -> Figure:
    log_ratio, advantage = np.linspace(-reach, reach, 41), np.linspace(-3, 3, 31)
    value = np.abs(log_ratio) * advantage[:, None] ** 2
    slope = np.broadcast_to(advantage[:, None], value.shape)
    value[0, 0] = NAN
    titles = [f"algorithm {index}" for index in range(panels)]
    return drift_picture(log_ratio, advantage, [(title, value, slope) for title in titles])


def compared(*others: str) -> Figure:
    tasks = ["CartPole-v1", "Acrobot-v1", "Pendulum-v1", "Breakout-MinAtar"]
    rows = [(name, task, score(-85.3, 4)) for name in ("PPO", "DPO", *others) for task in tasks]
    rows[1] = ("PPO", "Acrobot-v1", score(123.4, 12, failed=2))
    rows[2] = ("PPO", "Pendulum-v1", interval([1.0]))
    rows[3] = ("PPO", "Breakout-MinAtar", interval([NAN, NAN], failures="drop"))
    measures = {"CartPole-v1": "mean return, last fifth of training", "Acrobot-v1": "mean return"}
    return plots.comparison(rows, title="held-out seeds", measures=measures)


FIGURES: dict[str, Callable[[], Figure]] = {
    "meta": meta,
    "curves": curves,
    "drift": drift,
    "drift, six, wide": lambda: drift(6, 4.0),
    "drift, narrow": lambda: drift(2, 0.3),
    "comparison": compared,
    "comparison, a long name": lambda: compared(LONG),
}


def boxes(figure: Figure) -> dict[str, list]:
    """Extents of the tick labels of each axis, and of the notes in all panels, in pixels after drawing."""
    FigureCanvasAgg(figure).draw()
    found = {"notes": [text.get_window_extent() for axes in figure.axes for text in axes.texts]}
    for side in [side for axes in figure.axes for side in (axes, *axes.child_axes)]:
        for axis in (side.xaxis, side.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
            labels = [label for tick in ticks for label in (tick.label1, tick.label2)]
            shown = [label for label in labels if label.get_visible() and label.get_text()]
            found[f"{id(axis)}"] = [label.get_window_extent() for label in shown]
    return found


@pytest.mark.parametrize("name", FIGURES)
def test_nothing_overlaps_or_is_cut(name):
    check_layout(FIGURES[name]())


def check_layout(figure: Figure) -> None:
    """Nothing in the figure overlaps or is cut."""
    groups = boxes(figure)
    assert any(groups.values())
    for group in groups.values():
        assert not any(a.overlaps(b) for a, b in itertools.combinations(group, 2))
    for extent in [*itertools.chain(*groups.values()), *(key.get_window_extent() for key in figure.legends)]:
        assert figure.bbox.x0 <= extent.x0 < extent.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= extent.y0 < extent.y1 <= figure.bbox.y1


def check_all_lines_are_inside(figure: Figure) -> None:
    """No point of a line is above or below its panel."""
    for axes in figure.axes:
        low, high = axes.get_ylim()
        for line in axes.lines:
            values = np.asarray(line.get_ydata(), float)
            assert low <= values.min() <= values.max() <= high


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_equal_data_give_equal_files(tmp_path, suffix):
    first = plots.save(compared(), tmp_path / "new folder" / f"a{suffix}")
    second = plots.save(compared(), str(tmp_path / f"b{suffix}"))
    assert first.read_bytes() == second.read_bytes()
    assert first.stat().st_size > 2000
    assert {path.name for path in tmp_path.rglob("*")} == {"new folder", f"a{suffix}", f"b{suffix}"}


def test_save_refuses_an_unknown_format(tmp_path):
    with pytest.raises(BadInput, match=r"'picture.jpg'; end the name in .png, .svg, .pdf"):
        plots.save(meta(), tmp_path / "picture.jpg")


# --- meta-learning curve -----------------------------------------------------------------------


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_meta_learning_curve_shows_population_mean_baselines_and_failures():
    figure = meta()
    main, strip = figure.axes
    assert (main.get_ylabel(), main.get_title(), strip.get_xlabel()) == ("return", "quickstart", "generation")
    assert strip.get_ylabel() == "failed, %"
    assert legend(figure) == [
        "population, 10% to 90%",
        "population, mean",
        "population, best",
        "search mean on selection seeds, 95% (1 of 48 failed)",
        "PPO",
        "DPO",
        plots.in_lines(LONG),
    ]
    average, best = (np.asarray(line.get_ydata()) for line in main.lines[:2])
    assert np.isnan([average[7], best[7]]).all()
    assert (np.delete(best, 7) > np.delete(average, 7)).all()


def test_meta_learning_curve_draws_quantiles_and_best():
    scores = np.array([[0.0, 5.0, 10.0, NAN, 1.0, 2.0, 3.0, 4.0, 6.0, 7.0, 8.0, 9.0]])
    figure = plots.meta_learning_curve(np.array([4]), scores, np.array([]), np.zeros((0, 16)))
    main = figure.axes[0]
    low, high = main.collections[0].get_datalim(main.transData).intervaly
    assert (low, high) == pytest.approx((1.0, 9.0))
    assert [np.asarray(line.get_ydata())[0] for line in main.lines] == [5.0, 10.0]
    FigureCanvasAgg(figure).draw()
    low, high = main.get_xlim()
    assert [tick for tick in figure.axes[-1].get_xticks() if low <= tick <= high] == [4]


@pytest.mark.parametrize(
    ("generations", "scores", "message"),
    [
        (3, (2, 8), r"scores .*generations x proposals, 3 x any, not of shape \[2, 8\]"),
        (0, (0, 8), "no generation"),
    ],
)
def test_meta_learning_curve_refuses(generations, scores, message):
    with pytest.raises(BadInput, match=message):
        plots.meta_learning_curve(np.arange(generations), np.zeros(scores), np.array([]), np.zeros((0, 1)))


# --- learning curves ---------------------------------------------------------------------------


def test_learning_curves():
    figure = curves()
    (axes,) = figure.axes
    assert axes.get_title() == "CartPole-v1"
    notes = "(bands: 95% interval of the mean; thin lines: single seeds)"
    assert axes.get_xlabel() == f"environment steps {notes}"
    labels = legend(figure)
    assert labels[:3] == ["PPO (16 seeds)", "DPO (16 seeds)", "found (16 seeds)"]
    assert labels[3].endswith("(1 seed)")
    assert len({line.get_color() for line in axes.lines}) == 6


@pytest.mark.parametrize(
    ("seeds", "bands", "lines", "note"),
    [
        (16, 1, 1, " (bands: 95% interval of the mean)"),
        (10, 1, 1, " (bands: 95% interval of the mean)"),
        (9, 0, 10, " (thin lines: single seeds)"),
        (1, 0, 1, ""),
    ],
)
def test_few_seeds_are_drawn_one_by_one(seeds, bands, lines, note):
    values = np.random.default_rng(0).normal(size=(seeds, 5))
    axes = plots.learning_curves(np.arange(5), {"PPO": values}).axes[0]
    assert (len(axes.collections), len(axes.lines)) == (bands, lines)
    assert axes.get_xlabel() == "environment steps" + note
    for line, seed in zip(axes.lines[1:], values, strict=True) if note and not bands else ():
        np.testing.assert_array_equal(line.get_ydata(), seed)
        assert (line.get_color(), line.get_linestyle()) == plots.style(0)
        assert line.get_linewidth() < 1


def test_learning_curves_refuse_other_lengths():
    with pytest.raises(BadInput, match=r"curves\['PPO'\] .*seeds x steps, any x 5, not of shape \[4, 3\]"):
        plots.learning_curves(np.arange(5), {"PPO": np.ones((4, 3))})


# --- comparison --------------------------------------------------------------------------------


def test_comparison():
    figure = compared()
    assert [axes.get_title() for axes in figure.axes] == [
        "CartPole-v1",
        "Acrobot-v1",
        "Pendulum-v1",
        "Breakout-MinAtar",
    ]
    texts = [[text.get_text() for text in axes.texts] for axes in figure.axes]
    minus = "\N{MINUS SIGN}"
    other = f"{minus}85.3 [{minus}89.3, {minus}81.3]"
    assert texts[0] == [other, other, "mean return, last fifth of training"]
    assert texts[1] == ["123 [111, 135], 2 failed", other, "mean return"]
    assert texts[2] == ["1 (n = 1)", other]
    assert texts[3] == ["all failed", other]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["PPO", "DPO"]


def test_comparison_refuses_nothing():
    with pytest.raises(BadInput, match="nothing to compare"):
        plots.comparison([])


# --- drift picture -----------------------------------------------------------------------------


def test_drift_picture():
    figure = drift()
    maps = [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]
    bars = [axes for axes in figure.axes if axes.get_label() == "<colorbar>"]
    assert (len(maps), len(bars)) == (6, 2)
    assert [axes.get_title() for axes in maps[:3]] == ["algorithm 0", "algorithm 1", "algorithm 2"]
    assert [axes.get_xlabel() for axes in maps[3:]] == ["log r"] * 3
    assert [maps[0].get_ylabel(), maps[3].get_ylabel()] == ["advantage A"] * 2
    assert bars[0].get_ylabel() == "drift f\n(ends at the 98th percentile)"
    assert bars[1].get_ylabel() == "slope d(r A \N{MINUS SIGN} f) / dr"
    (top,) = maps[0].child_axes
    labels = {
        label.get_text(): place for label, place in zip(top.get_xticklabels(), top.get_xticks(), strict=True)
    }
    assert labels["1"] == 0
    assert labels["2"] == pytest.approx(np.log(2))


def test_drift_picture_refuses():
    with pytest.raises(BadInput, match="nothing to draw"):
        drift_picture(np.arange(3), np.arange(2), [])
    with pytest.raises(BadInput, match=r"tall .*advantages x log-ratios, 2 x 3, not of shape \[3, 2\]"):
        drift_picture(np.arange(3), np.arange(2), [("tall", np.zeros((3, 2)), np.zeros((2, 3)))])
