"""The found objective in numbers: against known algorithms; and the formula against the loss it describes."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from discovery.app.loaded import LoadedRun, load_run
from discovery.core.jobs import AlgorithmSpec
from discovery.display.pictures.loss import ADVANTAGE, LOG_RATIO
from discovery.display.report import shape
from discovery.display.report.formula import Formula
from discovery.display.report.shape import Found, found_objective
from discovery.results.objective import Objective, objective_of
from tests.display.report.fabricated import CONFIG, begin, search


def of(name: str, **numbers: float) -> Objective:
    return objective_of(AlgorithmSpec(name), numbers=numbers)


def test_ppo_against_itself_and_the_policy_gradient() -> None:
    """f = relu((r - clip(r)) A) with clip 0.2, worked out in numpy."""
    one = shape._shape(of("ppo"), {"ppo": of("ppo"), "policy_gradient": of("policy_gradient")}, None)
    ratio, advantage = np.exp(LOG_RATIO), ADVANTAGE[:, None]
    f = np.maximum(0, (ratio - np.clip(ratio, 0.8, 1.2)) * advantage)
    nearest, other = one.distances
    assert (nearest.algorithm, nearest.drift, nearest.slope) == ("ppo", 0, 0)
    assert other.drift == pytest.approx(np.sqrt(np.mean(f**2)), rel=1e-5)
    assert one.largest == pytest.approx(f.max(), rel=1e-5)
    assert one.is_drift
    good = f[ADVANTAGE > 0][:, LOG_RATIO > 0]
    quadrant = {each.name: each for each in one.quadrants}["A > 0, r > 1"]
    assert quadrant.drift["found"] == pytest.approx(good.mean(), rel=1e-5)
    assert quadrant.rising["found"] == 1
    assert quadrant.halted["found"] == pytest.approx(np.mean(ratio[LOG_RATIO > 0] > 1.2))
    assert {each.name: each for each in one.quadrants}["A > 0, r < 1"].halted["found"] == 0


def test_losses_that_are_no_drift() -> None:
    """A2C at an old probability of 1: -log(r) A, whose slope at r = 1 is A, but whose drift falls below 0."""
    one = shape._shape(of("a2c"), {}, None)
    assert one.at_one == pytest.approx(np.abs(ADVANTAGE).max())
    assert one.slope_at_one == pytest.approx(0, abs=1e-6)
    assert not one.is_drift
    assert shape._shape(of("dpo"), {}, None).is_drift
    bonus = shape._shape(of("ppo_kl", kl_coef=-2.0), {}, None)  # of twice the KL term: it turns negative
    assert bonus.at_one == 0 and bonus.least < -0.1 and not bonus.is_drift


@pytest.fixture(scope="module", params=[{}, {"anchored": True, "temporal": True}], ids=["plain", "both"])
def found(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[LoadedRun, Found]:
    config = replace(CONFIG, algorithm_options={"width": 3, **request.param})
    with begin(config, tmp_path_factory.mktemp("found")) as made:
        search(made)
    run = load_run(made.folder)
    return run, found_objective(run)


def evaluated(formula: Formula, r: np.ndarray, A: np.ndarray, p: float) -> Any:
    """The page's formula, line by line, as Python."""
    arrays = {name: np.array(array) for name, array in formula.weights.items()}
    known: dict[str, Any] = {"r": r, "A": A, "p": p, "c": 0.2}
    known |= {"W_in": arrays["w_in"], "w_out": arrays["w_out"]}
    known |= {"clip": np.clip, "log": np.log, "exp": np.exp, "tanh": np.tanh, "max": np.maximum}
    for name, line in formula.lines.items():
        text = line.replace("²", "**2").replace(" · ", " @ ").replace("x W_in", "W_in.T @ x")
        for pair in ("p A u", "p u", "A u", "r A"):
            text = text.replace(pair, "*".join(pair.split()))
        text = re.sub(r"\) A\)", ")*A)", text)
        if name in ("u", "x"):
            text = f"np.{'stack' if name == 'u' else 'concatenate'}({text})"
        known[name] = eval(text, {"np": np, **known})
    return known["loss"]


@pytest.mark.parametrize("fraction", [0.0, 0.67])
def test_the_formula_is_the_loss(found: tuple[LoadedRun, Found], fraction: float) -> None:
    run, one = found
    assert one.formula is not None
    points = np.random.default_rng(0)
    log_ratio, advantage = points.uniform(-4, 4, 200), points.normal(size=200)
    said = evaluated(one.formula, np.exp(log_ratio), advantage, fraction)
    trained = run.objective()(log_ratio, 0.0, advantage, fraction)
    np.testing.assert_allclose(said, trained, rtol=2e-4, atol=2e-4)


def test_what_zero_weights_are_and_shapes_over_a_training(
    found: tuple[LoadedRun, Found],
) -> None:
    run, one = found
    options = dict(run.spec.options)
    assert one.formula is not None and one.reduced is not None
    assert one.formula.zero.startswith("PPO" if options.get("anchored") else "the policy")
    assert one.reduced <= 1.1e-4  # xi
    temporal = options.get("temporal", False)
    assert [each.fraction for each in one.shapes] == ([0.0, 0.33, 0.67, 0.99] if temporal else [None])
    assert all(each.is_drift for each in one.shapes)
    totals: dict[str, float] = {}
    for distance in (distance for each in one.shapes for distance in each.distances):
        totals[distance.algorithm] = totals.get(distance.algorithm, 0.0) + distance.drift
    assert one.nearest == min(totals, key=lambda name: totals[name])
