"""Pictures of programs: what each panel shows is what the program computes, next to the start's."""

from collections.abc import Iterator
from typing import Any

import jaxtyping
import numpy as np
import pytest

from discovery.core.jobs import AlgorithmSpec
from discovery.display.pictures.found import LOSS, draw, pictures_of
from discovery.display.pictures.loss import grids
from discovery.results.learned import Learned, learned_of
from discovery.results.objective import objective_in
from objectives.programs.algorithm import size_in
from objectives.programs.code import Size, encode
from objectives.programs.picture import PICTURES, Panel, panels_of
from objectives.programs.slots import slot_of
from objectives.programs.source import parse


@pytest.fixture(scope="module", autouse=True)
def _unchecked() -> Iterator[None]:
    """Without the checks of annotations, which take most of the time."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def learned(slot: str, result: str, **options: Any) -> Learned:
    """A found program whose result is an expression."""
    arguments = ", ".join(slot_of(slot).names)
    program = parse(f"def found({arguments}):\n    return {result}\n", slot)
    size = Size(24, 8, 1)
    options |= {"slots": slot, **size._asdict()}
    spec = AlgorithmSpec("programs", tuple(sorted(options.items())))
    return learned_of(spec, {slot: encode(program, size_in(slot, size))}, label="found")


def panels(slot: str, result: str, **options: Any) -> tuple[tuple[str, ...], dict[tuple[int, str], Panel]]:
    cases, found = panels_of(slot_of(slot), learned(slot, result, **options))
    return cases, {(panel.output, panel.varied.name): panel for panel in found}


def test_an_optimizer_is_drawn_with_the_means_of_a_constant_gradient() -> None:
    found = learned("optimizer", "learning_rate * mean_9 * (1 - progress)")
    cases, shown = panels_of(slot_of("optimizer"), found)
    assert cases == ("progress",) and [panel.varied.name for panel in shown] == [
        "gradient", "learning_rate", "progress",
    ]  # fmt: skip
    x = shown[0].x
    np.testing.assert_allclose(shown[0].found[0.5,], 1e-3 * 0.5 * x, rtol=1e-5)
    adam = 1e-3 * x / (np.abs(x) + 1e-5)  # the default start
    np.testing.assert_allclose(shown[0].start[0.5,], adam, rtol=1e-4)
    np.testing.assert_allclose(shown[2].found[0.0,], 1e-3 * 0.01 * (1 - shown[2].x), rtol=1e-5, atol=1e-12)
    figure = draw(pictures_of(found)["optimizer"], found)
    assert [len(axes.get_lines()) for axes in figure.axes] == [6, 6, 2], "found and start, for each progress"
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["found", "start", "progress 0", "progress 0.5", "progress 1"]


def test_a_policy_loss_is_drawn_as_other_families_are() -> None:
    assert pictures_of(learned("policy_loss", "-log_ratio * advantage")) == {"policy_loss": LOSS}
    names = {picture.name for picture in PICTURES.values()}
    assert len(names) == len(PICTURES) and "program-trace" in names


@pytest.mark.slow
def test_every_slot_of_an_agent_is_drawn() -> None:
    cases, shown = panels("trace", "jax.nn.sigmoid(delta_size * delta_sign), 2.0 * entropy")
    assert cases == ("delta_sign",) and list(shown) == [
        (0, "delta_size"), (0, "entropy"), (1, "delta_size"), (1, "entropy"),
    ]  # fmt: skip
    trace = shown[0, "delta_size"]
    np.testing.assert_allclose(trace.found[-1.0,], 1 / (1 + np.exp(trace.x)), rtol=1e-5)
    np.testing.assert_allclose(trace.start[1.0,], 0.95, rtol=1e-6)
    assert shown[1, "entropy"].found[1.0,].max() == 1.0, "as it takes effect: clipped"

    _, shown = panels("schedule", "jnp.where(kl > 0.01, -1.0, 1 - progress)")
    assert shown[0, "kl"].found[0.0,].min() == pytest.approx(1e-8) and shown[0, "kl"].found[0.0,].max() == 1.0

    cases, shown = panels("loss", "log_prob * advantage + jnp.square(value - target)")
    loss = shown[0, "log_ratio"]
    assert cases == ("advantage",) and set(shown) == {
        (0, "log_ratio"), (0, "advantage"), (0, "value"), (0, "target"),
    }  # fmt: skip
    np.testing.assert_allclose(loss.found[-1.0,], 1 - loss.x, rtol=1e-5)  # old_log_prob is -1
    for slot in ("trace", "schedule", "loss"):
        found = learned(slot, "0.5, 0.5" if slot == "trace" else "0.5")
        assert draw(pictures_of(found)[slot], found).axes


@pytest.mark.slow
def test_a_sample_is_drawn_among_others_where_a_program_reduces_over_them() -> None:
    _, shown = panels("advantage", "(gae - jnp.mean(gae)) * 2")
    one = shown[0, "gae"]
    slope = np.diff(one.found[()]) / np.diff(one.x)
    np.testing.assert_allclose(slope, 2 * 63 / 64, rtol=1e-3)
    np.testing.assert_allclose(one.start[()], one.x, atol=1e-6)


@pytest.mark.slow
def test_under_the_condition_a_drift_is_drawn() -> None:
    found = learned("policy_loss", "jnp.tanh(log_ratio) * advantage", condition="drift")
    drift, _ = grids(objective_in(found), 0.0)
    assert drift.min() > -1e-6 and drift.max() > 1 and np.abs(drift[:, 60]).max() < 1e-6
    assert draw(pictures_of(found)["policy_loss"], found).axes
    free = learned("policy_loss", "-jnp.exp(log_ratio) * advantage")
    assert np.abs(grids(objective_in(free), 0.0)[0]).max() < 1e-5, "the policy gradient has no drift"
