"""Figures render without warnings, hold what they should, and nothing in them is cut or overlaps."""

import itertools
from collections.abc import Callable

import matplotlib.pyplot
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


def drift(panels: int, reach: float) -> Figure:
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
    return plots.comparison(rows, title="held-out seeds", measures={"CartPole-v1": "mean return"})


FIGURES: dict[str, Callable[[], Figure]] = {
    "meta": meta,
    "curves": curves,
    "drift, six, wide": lambda: drift(6, 4.0),
    "drift, narrow": lambda: drift(2, 0.3),
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
    heads = [axes.title for axes in figure.axes if axes.get_title()]
    heads += [axes.xaxis.label for axes in figure.axes if axes.get_xlabel()]
    heads += [figure._suptitle] if figure.get_suptitle() else []  # type: ignore[attr-defined]
    groups["heads"] = [each.get_window_extent() for each in (*heads, *figure.legends)]
    for group in groups.values():
        assert not any(a.overlaps(b) for a, b in itertools.combinations(group, 2))
        for extent in group:
            assert figure.bbox.x0 <= extent.x0 < extent.x1 <= figure.bbox.x1
            assert figure.bbox.y0 <= extent.y0 < extent.y1 <= figure.bbox.y1


def check_all_lines_are_inside(figure: Figure) -> None:
    """No point of a line is above or below its panel."""
    for axes in figure.axes:
        low, high = axes.get_ylim()
        for line in axes.lines:
            values = np.asarray(line.get_ydata(), float)
            assert low <= values.min() <= values.max() <= high


@pytest.mark.parametrize("suffix", [".svg", ".pdf"])
def test_equal_data_give_equal_files(tmp_path, suffix):
    first = plots.save(compared(), tmp_path / "new folder" / f"a{suffix}")
    second = plots.save(compared(), str(tmp_path / f"b{suffix}"))
    assert first.read_bytes() == second.read_bytes()
    assert {path.name for path in tmp_path.rglob("*")} == {"new folder", f"a{suffix}", f"b{suffix}"}
    assert matplotlib.pyplot.get_fignums() == []  # none is left to pyplot


def test_what_cannot_be_drawn_is_refused(tmp_path):
    none, flat = np.zeros((0, 1)), np.zeros((2, 3))
    for draw, word in (
        (lambda: plots.save(meta(), tmp_path / "picture.jpg"), "picture.jpg"),
        (lambda: plots.meta_learning_curve(np.arange(3), np.zeros((2, 8)), np.array([]), none), r"\[2, 8\]"),
        (lambda: plots.meta_learning_curve(np.arange(0), np.zeros((0, 8)), np.array([]), none), "generation"),
        (lambda: plots.learning_curves(np.arange(5), {"PPO": np.ones((4, 3))}), "PPO"),
        (lambda: plots.comparison([]), "nothing"),
        (lambda: drift_picture(np.arange(3), np.arange(2), [("tall", flat.T, flat)]), "tall"),
    ):
        with pytest.raises(BadInput, match=word):
            draw()


# --- meta-learning curve


def test_meta_learning_curve_shows_population_mean_baselines_and_failures():
    figure = meta()
    main, strip = figure.axes
    assert "failed" in strip.get_ylabel()
    shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert shown[4:] == ["PPO", "DPO", plots.in_lines(LONG)]
    assert "1 of 48 failed" in shown[3]
    average, best = (np.asarray(line.get_ydata()) for line in main.lines[:2])
    assert np.isnan([average[7], best[7]]).all()
    assert (np.delete(best, 7) > np.delete(average, 7)).all()
    assert len(meta(failures=False, baselines=False).axes) == 1


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


# --- learning curves


@pytest.mark.parametrize(("seeds", "bands", "lines"), [(10, 1, 1), (9, 0, 10), (1, 0, 1)])
def test_few_seeds_are_drawn_one_by_one(seeds, bands, lines):
    values = np.random.default_rng(0).normal(size=(seeds, 5))
    axes = plots.learning_curves(np.arange(5), {"PPO": values}).axes[0]
    assert (len(axes.collections), len(axes.lines)) == (bands, lines)
    for line, seed in zip(axes.lines[1:], values if lines > 1 else (), strict=True):
        np.testing.assert_array_equal(line.get_ydata(), seed)
        assert (line.get_color(), line.get_linestyle()) == plots.style(0)


# --- comparison


def test_comparison_writes_scores_and_failures():
    figure = compared()
    texts = [[text.get_text().replace("\N{MINUS SIGN}", "-") for text in axes.texts] for axes in figure.axes]
    assert texts[0][0] == "-85.3 [-89.3, -81.3]"
    assert "2 failed" in texts[1][0] and "n = 1" in texts[2][0] and "failed" in texts[3][0]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["PPO", "DPO"]
