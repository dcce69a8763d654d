"""Distances between programs, by hand and of known algorithms."""

import numpy as np

from objectives.programs.code import Size
from objectives.programs.distance import distance, distances, quantities
from objectives.programs.known import known
from objectives.programs.source import parse

SIZE = Size(24, 8)


def test_distances_by_hand() -> None:
    """A quantity that is zero in both programs does not count."""
    x, y = np.array([[3.0, 4.0], [0.0, 0.0], [1.0, 1.0]]), np.array([[4.0, 3.0], [0.0, 0.0], [1.0, 1.0]])
    assert distance(x, x) == 0.0
    assert np.isclose(distance(x, y), np.sqrt((2 / 50 + 0) / 2))
    assert np.isclose(distance(x, -x), np.sqrt(2)) and np.isclose(distance(x, 0 * x), 1.0)
    assert distance(0 * x, 0 * x) == 0.0


def test_a_variant_of_ppo_is_nearest_to_ppo() -> None:
    text = "def f(log_ratio, advantage):\n    r = jnp.exp(log_ratio)\n"
    text += "    return -jnp.minimum(r * advantage, jnp.clip(r, 0.75, 1.25) * advantage)"
    found = distances(parse(text, "policy_loss"), SIZE)
    assert [*found][:2] == ["ppo", "dpo"] and 0 < found["ppo"] < 0.02 < found["dpo"]
    assert sorted(found.values()) == list(found.values())
    assert distances(known("policy_loss", "dpo"), SIZE)["dpo"] == 0.0


def test_quantities_are_results_and_derivatives() -> None:
    """Of the policy gradient -r A: itself, once more by the log-ratio, -r by the advantage, 0 by the time."""
    loss, by_log_ratio, by_advantage, by_progress = quantities(known("policy_loss", "policy_gradient"), SIZE)
    np.testing.assert_allclose(loss, by_log_ratio, rtol=1e-6)
    assert (by_advantage < 0).all() and not by_progress.any()
